"""Latents at every token of many inputs: a model's activations, encoded, kept sparse."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ace_analysis.errors import InputError
from ace_analysis.features.matrices import FloatArray, column_mean, firing, indicator, shape_of
from ace_analysis.features.positions import sink_mask
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.scan import ResidualScanner

BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reading:
    """All tokens of all inputs, one after the other.

    `latents` `[token, latent]` is 0 at position 0 and at attention sinks, where `kept` is False.
    `rows` is the input that a token belongs to, `starts` where each input begins.
    """

    latents: sparse.csr_array
    tokens: NDArray[np.integer]
    kept: NDArray[np.bool_]
    rows: NDArray[np.integer]
    starts: NDArray[np.integer]

    def __len__(self) -> int:
        """How many inputs."""
        return len(self.starts)

    def maximum(self, tokens: NDArray[np.integer], groups: NDArray[np.integer], n: int) -> sparse.csr_array:
        """Each latent's largest activation over the tokens of each of n groups."""
        part = sparse.coo_array(self.latents[tokens])
        row, column = part.coords
        width = shape_of(self.latents)[1]
        keys = groups[row].astype(np.int64) * width + column
        order = np.argsort(keys, kind="stable")
        found, starts = np.unique(keys[order], return_index=True)
        data = np.maximum.reduceat(part.data[order], starts) if len(starts) else part.data
        return sparse.csr_array((data, (found // width, found % width)), shape=(n, width))

    def mean(self, tokens: NDArray[np.integer], groups: NDArray[np.integer], n: int) -> sparse.csr_array:
        """Each latent's mean activation over the tokens of each of n groups."""
        sums = indicator(groups, n) @ self.latents[tokens]
        counts = np.maximum(np.bincount(groups, minlength=n), 1)
        return sparse.csr_array(sparse.diags_array(1.0 / counts) @ sums)

    def density(self, tokens: NDArray[np.integer]) -> FloatArray:
        """Share of these tokens on which each latent fires."""
        return column_mean(firing(self.latents[tokens]))

    def group_of_each(self) -> NDArray[np.intp]:
        """A number per input, the same for equal ones."""
        names: dict[bytes, int] = {}
        rows = np.split(self.tokens, self.starts[1:])
        return np.array([names.setdefault(row.tobytes(), len(names)) for row in rows])


def read_latents(model: Any, coder: SparseCoder, inputs: Sequence[Sequence[int]]) -> Reading:
    """Run a model up to the coder's layer: a ResidualScanner, or anything with `run_with_cache`.

    Inputs of one length are run together, so that there is no padding whatever the model does with it.
    """
    parts: list[sparse.csr_array] = [sparse.csr_array((0, coder.d_sae))] * len(inputs)
    kept: list[NDArray[np.bool_]] = [np.zeros(0, dtype=bool)] * len(inputs)
    for batch in _batches([len(row) for row in inputs]):
        ids = torch.tensor([list(inputs[index]) for index in batch])
        for index, activations in zip(batch, _activations(model, coder, ids), strict=True):
            keep = sink_mask(activations)
            latents = coder.encode(activations) * keep.to(activations.device).unsqueeze(1)
            parts[index], kept[index] = sparse.csr_array(latents.float().cpu().numpy()), keep.cpu().numpy()
    lengths = np.array([len(row) for row in inputs], dtype=np.intp)
    return Reading(
        latents=sparse.csr_array(sparse.vstack(parts, format="csr")),
        tokens=np.concatenate([np.asarray(row, dtype=np.int64) for row in inputs]),
        kept=np.concatenate(kept),
        rows=np.arange(len(inputs)).repeat(lengths),
        starts=np.cumsum(lengths) - lengths,
    )


def device_of(model: Any) -> torch.device:
    return model.info.device if isinstance(model, ResidualScanner) else next(model.parameters()).device


def width_of(model: Any) -> int:
    """d_model."""
    return model.info.d_model if isinstance(model, ResidualScanner) else model.cfg.d_model


def _activations(model: Any, coder: SparseCoder, ids: Tensor) -> Tensor:
    """`[batch, pos, d_model]` at the coder's site."""
    site = coder.site
    ids = ids.to(device_of(model))
    if isinstance(model, ResidualScanner):
        if site.stream != "resid_post":
            raise InputError(f"a scanner reads resid_post, not {site.stream}: use load_hooked_model")
        return model.resid_post(ids, site.layer).to(coder.device)
    with torch.no_grad():
        _, cache = model.run_with_cache(ids, names_filter=site.hook_name, stop_at_layer=site.layer + 1)
    found = cache[site.hook_name]
    found = found if site.head is None else found[:, :, site.head]
    return found.to(coder.device)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of inputs of one length, at most BATCH_TOKENS tokens at a time."""
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    for length, indices in by_length.items():
        size = max(BATCH_TOKENS // length, 1)
        yield from (indices[start : start + size] for start in range(0, len(indices), size))
