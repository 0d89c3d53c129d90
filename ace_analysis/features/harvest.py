"""Activations of labelled trees, run once and kept on disk for coder, contrast and readout.

A harvest is a folder of shards, each the trees of a few dozen functions. A shard appears only when it is
complete, so a harvest that was stopped goes on where it was; the same functions and options give the same
shards.

    harvest.json          what it was made with; another model, layer or option is refused
    shard-00000.safetensors
        resid [token, d_model] bf16     the residual stream of every token, branches included
        ids, keep, clean [token]        token id; not a sink; in a clean function
        row_* [row]                     the sites, see features.examples.Row; slots are token indices
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError, StorageError
from ace_analysis.features.claims import claim
from ace_analysis.features.examples import Tree, TreeOptions, batch_of, batches, tree_of
from ace_analysis.features.positions import SINK_FACTOR
from ace_analysis.model.scan import ResidualScanner, never
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator, MutationType
from ace_analysis.source.sites import SiteKind

ABOUT = "harvest.json"
KINDS = tuple(SiteKind)
TYPES = ("clean", *MutationType)
Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestOptions:
    """`functions` per shard; `token_budget` of one forward pass."""

    layer: int
    tree: TreeOptions = field(default_factory=TreeOptions)
    functions: int = 64
    token_budget: int = 4096


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shard:
    """What one file holds. `row_slots` are indices into the shard's tokens, `row_origin` into its rows."""

    resid: Float[Tensor, "token d_model"]
    ids: Int[Tensor, " token"]
    keep: Bool[Tensor, " token"]
    clean: Bool[Tensor, " token"]
    row_slots: Int[Tensor, "row slot"]
    row_kind: Int[Tensor, " row"]
    row_label: Int[Tensor, " row"]
    row_variant: Int[Tensor, " row"]
    row_tree: Int[Tensor, " row"]
    row_origin: Int[Tensor, " row"]
    row_type: Int[Tensor, " row"]
    trees: tuple[Mapping[str, Any], ...]
    """`project`, `name` and `lines` of each function."""


def harvest(
    functions: Sequence[CodeFunction],
    scanner: ResidualScanner,
    folder: Path,
    options: HarvestOptions,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> int:
    """Run all functions and their mutants; returns how many shards the folder holds for them.

    Raises:
        FingerprintError: the folder holds a harvest of another model or with other options.
        StorageError: the disk is full or not writable.
        Cancelled: the caller asked to stop; complete shards are kept.
    """
    about = {"fingerprint": scanner.info.fingerprint, "model": scanner.info.name, **asdict(options)}
    claim(folder / ABOUT, about, "name a new folder or clear it")
    generator = MutationGenerator(options.tree.seed)
    parts = [functions[at : at + options.functions] for at in range(0, len(functions), options.functions)]
    for number, part in enumerate(parts):
        path = folder / f"shard-{number:05}.safetensors"
        if progress is not None:
            progress(f"harvesting shard {number + 1} of {len(parts)}", number / len(parts))
        if path.exists():
            continue
        if cancelled():
            raise Cancelled(f"the harvest was stopped; {number} of {len(parts)} shards are complete")
        found = (tree_of(each, generator, scanner.tokenizer.encode, options.tree) for each in part)
        write_shard(path, run_trees([tree for tree in found if tree], scanner, options, cancelled))
    return len(parts)


def run_trees(
    trees: Sequence[Tree],
    scanner: ResidualScanner,
    options: HarvestOptions,
    cancelled: Callable[[], bool] = never,
) -> Shard:
    """The activations of all tokens of some trees, with their rows."""
    resid: dict[int, Tensor] = {}
    place = {id(tree): index for index, tree in enumerate(trees)}
    for group in batches(trees, options.token_budget):
        batch = batch_of(group)
        output = scanner.resid_post(
            batch.ids,
            options.layer,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            cancelled=cancelled,
        )
        for tree, values in zip(group, output, strict=True):
            resid[place[id(tree)]] = values[: len(tree)].float().cpu()
    return _packed(trees, [resid[index] for index in range(len(trees))], scanner.info.d_model)


def _packed(trees: Sequence[Tree], resid: Sequence[Tensor], d_model: int) -> Shard:
    rows: dict[str, list[Any]] = {
        name: [] for name in ("slots", "kind", "label", "variant", "tree", "origin")
    }
    rows["type"] = []
    start = 0
    for index, tree in enumerate(trees):
        first = len(rows["kind"])
        for row in tree.rows:
            rows["slots"].append([position + start for position in row.positions])
            rows["kind"].append(KINDS.index(SiteKind(row.kind)))
            rows["label"].append(row.label)
            rows["variant"].append(row.variant)
            rows["tree"].append(index)
            rows["origin"].append(first + row.origin if row.origin >= 0 else -1)
            rows["type"].append(TYPES.index(row.mutation))
        start += len(tree)
    clean = [torch.tensor(tree.branch) == 0 for tree in trees]
    return Shard(
        resid=torch.cat([each.bfloat16() for each in resid]) if resid else torch.zeros(0, d_model).bfloat16(),
        ids=torch.tensor([token for tree in trees for token in tree.ids], dtype=torch.int32),
        keep=torch.cat([_kept(r, c) for r, c in zip(resid, clean, strict=True)] or [torch.zeros(0).bool()]),
        clean=torch.cat(clean or [torch.zeros(0).bool()]),
        **{f"row_{name}": torch.tensor(values, dtype=torch.int32) for name, values in rows.items()},
        trees=tuple({"project": t.project, "name": t.name, "lines": t.lines} for t in trees),
    )


def _kept(resid: Float[Tensor, "pos d_model"], clean: Bool[Tensor, " pos"]) -> Bool[Tensor, " pos"]:
    """As features.positions.sink_mask, with the median of the clean function's own tokens."""
    norms = resid.norm(dim=-1)
    keep = norms < SINK_FACTOR * norms[clean][1:].median()
    keep[0] = False
    return keep


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard; the file appears only when it is complete."""
    names = [name for name in Shard.__slots__ if name != "trees"]
    partial = path.with_name(f".{path.name}.part")
    try:
        save_file({name: getattr(shard, name) for name in names}, partial, {"trees": json.dumps(shard.trees)})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"{path}: the shard can't be written ({error}); what is complete is kept"
        ) from error


def read_shard(path: Path) -> Shard:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        trees = json.loads((file.metadata() or {}).get("trees", "[]"))
    return Shard(**tensors, trees=tuple(trees))


def read_trees(path: Path) -> list[dict[str, Any]]:
    """`project`, `name` and `lines` of each function of a shard, without its activations."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("trees", "[]"))


def drop_projects(shard: Shard, projects: Collection[str]) -> Shard:
    """The shard without the trees of some projects, as if these had never been in it."""
    return keep_trees(shard, [tree["project"] not in projects for tree in shard.trees])


def keep_trees(shard: Shard, kept: Sequence[bool]) -> Shard:
    """The shard with some of its trees; slots, rows, origins and trees are counted anew.

    Raises InputError where `kept` does not name each tree, or the tokens don't show where trees begin.
    """
    trees = torch.tensor(kept, dtype=torch.bool)
    own = tree_of_tokens(shard)
    if len(trees) != len(shard.trees):
        raise InputError(f"expected one choice for each of {len(shard.trees)} trees, got {len(trees)}")
    tokens, rows = trees[own], trees[shard.row_tree.long()]
    token_at, row_at, tree_at = (each.cumsum(0).int() - 1 for each in (tokens, rows, trees))
    origin = shard.row_origin[rows].long()
    return Shard(
        resid=shard.resid[tokens],
        ids=shard.ids[tokens],
        keep=shard.keep[tokens],
        clean=shard.clean[tokens],
        row_slots=token_at[shard.row_slots[rows].long()],
        row_kind=shard.row_kind[rows],
        row_label=shard.row_label[rows],
        row_variant=shard.row_variant[rows],
        row_tree=tree_at[shard.row_tree[rows].long()],
        row_origin=torch.where(origin < 0, -1, row_at[origin]).int(),
        row_type=shard.row_type[rows],
        trees=tuple(tree for tree, stays in zip(shard.trees, kept, strict=True) if stays),
    )


def tree_of_tokens(shard: Shard) -> Int[Tensor, " token"]:
    """The index of each token's tree: a tree's clean tokens come first, and each has branches behind them."""
    before = torch.cat([torch.zeros(1, dtype=torch.bool), shard.clean[:-1]])
    own = (shard.clean & ~before).long().cumsum(0) - 1
    found = int(own[-1]) + 1 if len(own) else 0
    if found != len(shard.trees):
        raise InputError(
            f"expected a shard of {len(shard.trees)} trees, got tokens of {found}; harvest again"
        )
    return own
