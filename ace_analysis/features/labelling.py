"""Top-activating tokens of latents, from a harvest of ordinary code.

A latent's strongest activations are gathered over all clean tokens, and its tokens ranked by how much of
them each holds: one rare outlier does not name a latent, nor does a token that fires it often but weakly.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ace_analysis.errors import Cancelled
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.harvest import Progress, Shard, read_shard
from ace_analysis.features.labels import Labels
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.table import token_latents
from ace_analysis.model.scan import never

STRONGEST = 40
"""Activations of a latent that name it."""

TOKENS = 6
"""Tokens that a label holds at most."""

_SMALLEST_SHARE = 0.02
"""A token with less than this of the strongest activations says nothing about the latent."""


class _Strongest:
    """The strongest activations of some latents so far, with the ids of their tokens."""

    def __init__(self, latents: Sequence[int]) -> None:
        self._latents = np.asarray(latents, dtype=np.int64)
        self._values = np.zeros((len(latents), STRONGEST), dtype=np.float32)
        self._tokens = np.zeros((len(latents), STRONGEST), dtype=np.int64)

    def add(self, activations: sparse.csr_array, tokens: NDArray[np.integer]) -> None:
        columns = sparse.csc_array(activations[:, self._latents])
        for row in np.flatnonzero(np.diff(columns.indptr)):
            part = slice(columns.indptr[row], columns.indptr[row + 1])
            values = np.concatenate([self._values[row], np.asarray(columns.data[part], dtype=np.float32)])
            ids = np.concatenate([self._tokens[row], tokens[columns.indices[part]]])
            best = np.argsort(-1.0 * values, kind="stable")[:STRONGEST]
            self._values[row], self._tokens[row] = values[best], ids[best]

    def named(self) -> Iterable[tuple[int, list[int]]]:
        """Each latent that fired, with its tokens, strongest first."""
        for latent, values, tokens in zip(self._latents, self._values, self._tokens, strict=True):
            ids, place = np.unique(tokens[values > 0], return_inverse=True)
            mass = np.bincount(place, weights=values[values > 0], minlength=len(ids))
            ranked = np.argsort(-1.0 * mass, kind="stable")[:TOKENS]
            if len(ids):
                yield int(latent), [int(ids[at]) for at in ranked if mass[at] >= _SMALLEST_SHARE * mass.sum()]


def top_tokens(
    paths: Sequence[Path],
    coder: SparseCoder,
    latents: Sequence[int],
    spell: Callable[[int], str],
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Labels:
    """Tokens that make each latent fire most, on the clean functions of a harvest's shards.

    Args:
        paths: shards.
        coder: what the latents are of.
        latents: those wanted; one that never fires has no label.
        spell: from a token id to its text.

    Raises:
        Cancelled: the caller asked to stop.
    """
    strongest = _Strongest(latents)
    for number, path in enumerate(paths):
        if cancelled():
            raise Cancelled("naming the latents was stopped by the caller; nothing was kept")
        if progress is not None:
            progress(f"naming latents: shard {number + 1} of {len(paths)}", number / len(paths))
        shard = _clean_part(read_shard(path))
        strongest.add(token_latents(shard, coder), shard.ids.numpy())
    spelt = ((latent, dict.fromkeys(map(spell, ids))) for latent, ids in strongest.named())
    return {latent: tuple(texts) for latent, texts in spelt}


def latents_to_name(bundle: Bundle) -> list[int]:
    """What an explanation can show: the latents that the readout weighs, and the error features."""
    weighed = (bundle.readout.weights != 0).any(dim=0).nonzero().flatten().tolist()
    return sorted({*weighed, *(feature.feature_idx for feature in bundle.catalog)})


def _clean_part(shard: Shard) -> Shard:
    """The tokens of clean functions alone; rows, which point to tokens, are not used here."""
    at = shard.clean
    return replace(
        shard, resid=shard.resid[at], ids=shard.ids[at], keep=shard.keep[at], clean=shard.clean[at]
    )
