"""A harvest seen through a sparse coder: one row per candidate site, with the latents that it is read at.

What the contrast, the readout and the benchmark share, so that all three count the same sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ace_analysis.errors import InputError
from ace_analysis.features.examples import BUG, CLEAN
from ace_analysis.features.harvest import KINDS, TYPES, Progress, Shard, read_shard
from ace_analysis.features.sparse_coder import SparseCoder

IntArray = NDArray[np.int64]
_CHUNK = 2048


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SiteTable:
    """Rows of many functions.

    `latents[slot]` is [row, latent]; masked tokens have none. `function` indexes `projects`, `names` and
    `lines`; `text` numbers the variants of all functions, `line` the lines that sites stand in: sites of one
    line share their last slot, its end. `origin` is the row of the same site in the clean function, or -1;
    `token` is the id of the site's last token.
    """

    latents: tuple[sparse.csr_array, ...]
    label: IntArray
    kind: IntArray
    mutation: IntArray
    function: IntArray
    text: IntArray
    line: IntArray
    origin: IntArray
    token: IntArray
    projects: NDArray[np.str_]
    names: NDArray[np.str_]
    lines: IntArray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def bugs(self) -> IntArray:
        return np.flatnonzero(self.label == BUG)

    @property
    def clean(self) -> IntArray:
        return np.flatnonzero(self.label == CLEAN)

    @property
    def kinds(self) -> NDArray[np.str_]:
        return np.array(KINDS)[self.kind]

    @property
    def mutations(self) -> NDArray[np.str_]:
        return np.array(TYPES)[self.mutation]

    @property
    def row_projects(self) -> NDArray[np.str_]:
        return self.projects[self.function]

    def design(self, rows: IntArray | None = None) -> sparse.csr_array:
        """[row, slot * latent]: the slots side by side."""
        parts = self.latents if rows is None else [each[rows] for each in self.latents]
        return sparse.csr_array(sparse.hstack(list(parts), format="csr"))


def site_table(paths: Sequence[Path], coder: SparseCoder, *, progress: Progress | None = None) -> SiteTable:
    """Encode a harvest's shards. Token latents are made once, rows only point to them."""
    if not paths:
        raise InputError("expected a harvest with at least one shard; run `ace train harvest` first")
    parts: list[SiteTable] = []
    for number, path in enumerate(paths):
        if progress is not None:
            progress(f"encoding shard {number + 1} of {len(paths)}", number / len(paths))
        shard = read_shard(path)
        parts.append(_table_of(shard, token_latents(shard, coder)))
    return joined(parts)


def token_latents(shard: Shard, coder: SparseCoder) -> sparse.csr_array:
    """Latents of a shard's tokens, [token, latent]; none at sinks and at position 0."""
    found = [_sparse(coder.encode(part.float())) for part in shard.resid.split(_CHUNK)]
    latents = sparse.csr_array(sparse.vstack(found, format="csr"))
    keep = sparse.diags_array(shard.keep.numpy().astype(np.float32))
    latents = sparse.csr_array(keep @ latents)
    latents.eliminate_zeros()
    return latents


def _sparse(latents: Float[Tensor, "token latent"]) -> sparse.csr_array:
    return sparse.csr_array(latents.detach().float().cpu().numpy())


def _table_of(shard: Shard, latents: sparse.csr_array) -> SiteTable:
    slots = shard.row_slots.numpy().astype(np.int64)
    function = shard.row_tree.numpy().astype(np.int64)
    variant = shard.row_variant.numpy().astype(np.int64)
    return SiteTable(
        latents=tuple(sparse.csr_array(latents[slots[:, slot]]) for slot in range(slots.shape[1])),
        label=shard.row_label.numpy().astype(np.int64),
        kind=shard.row_kind.numpy().astype(np.int64),
        mutation=shard.row_type.numpy().astype(np.int64),
        function=function,
        text=_numbered(function * (variant.max(initial=0) + 1) + variant),
        line=_numbered(slots[:, -1]),
        origin=shard.row_origin.numpy().astype(np.int64),
        token=shard.ids.numpy()[slots[:, 0]].astype(np.int64),
        projects=np.array([tree["project"] for tree in shard.trees], dtype=str),
        names=np.array([tree["name"] for tree in shard.trees], dtype=str),
        lines=np.array([tree["lines"] for tree in shard.trees], dtype=np.int64),
    )


def _numbered(keys: IntArray) -> IntArray:
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


_SHIFTED = ("function", "text", "line", "origin")
"""Columns that count something, from 0 in each part."""


def joined(parts: Sequence[SiteTable]) -> SiteTable:
    """One table of many; what counts functions, texts, lines and rows is counted on."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, list[NDArray]] = {
        each.name: [] for each in fields(SiteTable) if each.name != "latents"
    }
    offset = dict.fromkeys(_SHIFTED, 0)
    for part in parts:
        for name, column in columns.items():
            values = getattr(part, name)
            shifted = values + offset.get(name, 0) if name in _SHIFTED else values
            column.append(np.where(values < 0, values, shifted) if name in _SHIFTED else values)
        offset["function"] += len(part.projects)
        offset["origin"] += len(part)
        for name in ("text", "line"):
            offset[name] += int(getattr(part, name).max(initial=-1)) + 1
    slots = range(len(parts[0].latents))
    stacked = [sparse.vstack([part.latents[slot] for part in parts], format="csr") for slot in slots]
    return SiteTable(
        latents=tuple(sparse.csr_array(each) for each in stacked),
        **{name: np.concatenate(column) for name, column in columns.items()},
    )
