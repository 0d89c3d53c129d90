"""How unexpected a site's token is to the whole model: the baseline that needs no training.

The trees of a harvest are run again, through all blocks, with the same masks; a shard keeps the clean
function's tokens, from which its tree is rebuilt and compared with what the shard has. Scores are of the last
token of a site, given all before it, the site's own first tokens included. Logits are made where sites are,
and nowhere else.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from ace_analysis.errors import InputError, ModelError
from ace_analysis.features.examples import Tree, TreeOptions, batch_of, batches, tree_of
from ace_analysis.features.harvest import Progress, Shard, read_shard
from ace_analysis.model.devices import chosen_device, chosen_dtype
from ace_analysis.model.info import ModelInfo
from ace_analysis.model.quiet import quiet_transformers
from ace_analysis.model.scan import ResidualScanner, never
from ace_analysis.model.store import resolve_model
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator

FloatArray = NDArray[np.float64]
_VOCABULARY_CHUNK = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class SurprisalOptions:
    """`functions` at most, drawn by `seed` from all shards; None: all of them. `token_budget` of one pass."""

    functions: int | None = None
    token_budget: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Surprisal:
    """Per row in nats, nan where it was not run; `margin`: surprisal minus that of the best other token."""

    surprisal: FloatArray
    margin: FloatArray
    functions: int
    left_out: int
    """Functions whose trees could not be rebuilt."""


class LanguageModel:
    """A whole model, whose logits are made at chosen tokens only."""

    def __init__(self, plain: Any, scanner: ResidualScanner) -> None:
        self.scanner = scanner
        self._norm = getattr(plain.base_model, "norm", None)
        head = plain.get_output_embeddings()
        if not isinstance(self._norm, nn.Module) or not isinstance(head, nn.Linear) or head.bias is not None:
            raise ModelError(
                f"expected a final `norm` and an unembedding without a bias in {scanner.info.name};"
                " its surprisal can't be measured"
            )
        self._weight = head.weight
        self._cap = getattr(plain.config, "final_logit_softcapping", None)

    @classmethod
    def load(cls, name: str, device: str = "auto", dtype: str = "auto") -> "LanguageModel":
        """All of a model, by the names that `load_scanner` takes."""
        from transformers import AutoModelForCausalLM

        stored = resolve_model(name)
        on = chosen_device(device)
        number = chosen_dtype(dtype, on)
        with quiet_transformers():
            plain: Any = AutoModelForCausalLM.from_pretrained(
                stored.folder, dtype=number, local_files_only=True
            )
        plain = plain.eval().to(on)
        info = ModelInfo(
            name=stored.name,
            fingerprint=stored.fingerprint,
            folder=stored.folder,
            device=on,
            dtype=number,
            n_layers=plain.config.num_hidden_layers,
            d_model=plain.config.hidden_size,
        )
        return cls(plain, ResidualScanner(plain.base_model, CodeTokenizer.from_folder(stored.folder), info))

    def token_surprisal(
        self, resid: Float[Tensor, "token d_model"], targets: Int[Tensor, " token"]
    ) -> tuple[Float[Tensor, " token"], Float[Tensor, " token"]]:
        """Surprisal of each target behind a residual stream, and its margin over the best other token."""
        with torch.no_grad():
            hidden = self._norm(resid).float()  # pyright: ignore[reportOptionalCall]
            targets = targets.to(hidden.device)
            wanted = self._capped((hidden * self._weight[targets].float()).sum(-1))
            total = torch.full_like(wanted, -torch.inf)
            other = total.clone()
            for start in range(0, len(self._weight), _VOCABULARY_CHUNK):
                part = self._weight[start : start + _VOCABULARY_CHUNK].float()
                logits = self._capped(hidden @ part.T)
                total = torch.logaddexp(total, logits.logsumexp(-1))
                here = (targets >= start) & (targets < start + len(part))
                logits[here, targets[here] - start] = -torch.inf
                other = torch.maximum(other, logits.amax(-1))
        return (total - wanted).cpu(), (other - wanted).cpu()

    def _capped(self, logits: Tensor) -> Tensor:
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)


def measure_surprisal(
    shards: Sequence[Path],
    model: LanguageModel,
    tree: TreeOptions,
    options: SurprisalOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Surprisal:
    """Surprisal of the rows of some shards, in the order of a table of them.

    `model` and `tree` are what the harvest was made with.

    Raises:
        InputError: no tree of the shards could be rebuilt.
        Cancelled: the caller asked to stop.
    """
    options = options or SurprisalOptions()
    places = [(path, index) for path in shards for index in range(len(read_shard(path).trees))]
    count = len(places) if options.functions is None else min(options.functions, len(places))
    chosen = set(random.Random(options.seed).sample(places, count))
    parts: list[FloatArray] = []
    run = 0
    for path in shards:
        shard = read_shard(path)
        values = np.full((2, len(shard.row_kind)), np.nan)
        wanted = [index for index in range(len(shard.trees)) if (path, index) in chosen]
        trees = {i: each for i in wanted if (each := rebuilt_tree(shard, i, model.scanner.tokenizer, tree))}
        for index, found in _read_trees(trees, model, options, cancelled):
            values[:, shard.row_tree.numpy() == index] = found
            run += 1
            if progress is not None:
                progress(f"surprisal: {run} of {count} functions", run / count)
        parts.append(values)
    if not run:
        raise InputError(
            f"none of {count} functions of the harvest is as this version makes it; harvest again"
        )
    surprisal, margin = np.concatenate(parts, axis=1)
    return Surprisal(surprisal=surprisal, margin=margin, functions=run, left_out=count - run)


def rebuilt_tree(shard: Shard, index: int, tokenizer: CodeTokenizer, options: TreeOptions) -> Tree | None:
    """The tree of one of a shard's functions; None unless tokens and rows are exactly the shard's."""
    first, last = _bounds(shard)[index]
    about = shard.trees[index]
    clean = shard.ids[first:last][shard.clean[first:last]]
    lines = tokenizer.decode(clean.tolist()).split("\n")
    header = "".join(f"{line}\n" for line in lines[: -about["lines"]])
    text = "\n".join(lines[-about["lines"] :])
    function = CodeFunction(project=about["project"], path=about["name"], text=text, header=header)
    tree = tree_of(function, MutationGenerator(options.seed), tokenizer.encode, options)
    rows = shard.row_slots[shard.row_tree == index] - first
    if tree is None or list(tree.ids) != shard.ids[first:last].tolist():
        return None
    return tree if [list(row.positions) for row in tree.rows] == rows.tolist() else None


def _bounds(shard: Shard) -> list[tuple[int, int]]:
    """First token and end of each tree: a tree begins where clean tokens follow a branch's."""
    clean = shard.clean.numpy()
    starts = np.flatnonzero(clean & ~np.concatenate([[False], clean[:-1]])).tolist()
    if len(starts) != len(shard.trees):
        raise InputError(f"a shard of {len(shard.trees)} functions has {len(starts)} runs of clean tokens")
    return list(zip(starts, [*starts[1:], len(clean)], strict=True))


def _read_trees(
    trees: Mapping[int, Tree], model: LanguageModel, options: SurprisalOptions, cancelled: Callable[[], bool]
) -> Iterator[tuple[int, FloatArray]]:
    index_of = {id(tree): index for index, tree in trees.items()}
    for group in batches(trees.values(), options.token_budget):
        batch = batch_of(group)
        resid = model.scanner.resid_post(
            batch.ids,
            model.scanner.info.n_layers - 1,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            cancelled=cancelled,
        )
        for tree, values in zip(group, resid, strict=True):
            yield index_of[id(tree)], _row_values(tree, values, model)


def _row_values(tree: Tree, resid: Tensor, model: LanguageModel) -> FloatArray:
    """[surprisal and margin, row]; a token that several rows point to is read once."""
    tokens = [row.positions[0] for row in tree.rows]
    places, row_of = np.unique(tokens, return_inverse=True)
    before = torch.tensor([_before(tree, place) for place in places.tolist()], device=resid.device)
    targets = torch.tensor([tree.ids[place] for place in places.tolist()])
    found = model.token_surprisal(resid[before], targets)
    return np.stack([each.double().numpy()[row_of] for each in found])


def _before(tree: Tree, place: int) -> int:
    """The token before one: a branch's first follows the last clean token that it shares."""
    begins = tree.branch[place] != tree.branch[place - 1]
    return tree.parents[place] - 1 if begins else place - 1
