"""How well a sparse coder stands for the activations that it reads, on functions it was not trained on.

Measured on tokens of clean code, without attention sinks and without the first positions of a function: the
variance there is tens of times that of ordinary tokens, and a coder that gets nothing else right would shine.

Source: explained variance, L0 and density as in SAEBench, Karvonen et al. 2025 (arXiv:2503.09532).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.harvest import Progress, Shard, read_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.scan import never

FIRST_POSITION = 4
_CHUNK = 2048


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CoderQuality:
    """`l0` is how many latents fire on a token, `density` on which share of tokens each latent fires."""

    explained_variance: float
    l0: float
    density: NDArray[np.float64]
    tokens: int

    @property
    def dead(self) -> int:
        """How many latents never fired."""
        return int((self.density == 0).sum())


def coder_quality(
    paths: Sequence[Path],
    coder: SparseCoder,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> CoderQuality:
    """Measure a coder on a harvest's shards.

    Raises:
        InputError: the shards hold no token to measure on.
        Cancelled: the caller asked to stop.
    """
    sums = _Sums.empty(coder)
    for number, path in enumerate(paths):
        if cancelled():
            raise Cancelled("measuring the sparse coder was stopped by the caller; nothing was kept")
        if progress is not None:
            progress(f"measuring the sparse coder: shard {number + 1} of {len(paths)}", number / len(paths))
        shard = read_shard(path)
        for part in shard.resid[ordinary_clean(shard)].split(_CHUNK):
            sums.add(part.float(), coder)
    return sums.quality()


def ordinary_clean(shard: Shard) -> Bool[Tensor, " token"]:
    """Tokens of clean functions from position FIRST_POSITION on, without attention sinks."""
    return shard.clean & shard.keep & (clean_positions(shard) >= FIRST_POSITION)


def clean_positions(shard: Shard) -> Int[Tensor, " token"]:
    """Each clean token's position in its function; -1 for the tokens of branches.

    Clean functions start with the model's prefix token, which occurs nowhere else.
    """
    order = torch.arange(len(shard.ids))
    if not len(order):
        return order
    starts = torch.where(shard.clean & (shard.ids == shard.ids[0]), order, -1).cummax(0).values
    return torch.where(shard.clean, order - starts, -1)


@dataclass(slots=True)
class _Sums:
    total: Float[Tensor, " d_model"]
    squares: float
    errors: float
    fired: Float[Tensor, " d_sae"]
    tokens: int

    @classmethod
    def empty(cls, coder: SparseCoder) -> "_Sums":
        total, fired = (torch.zeros(n, dtype=torch.float64) for n in (coder.d_model, coder.d_sae))
        return cls(total, 0.0, 0.0, fired, 0)

    def add(self, x: Float[Tensor, "token d_model"], coder: SparseCoder) -> None:
        latents = coder.encode(x.to(coder.device))
        self.errors += float((x - coder.decode(latents).cpu()).double().pow(2).sum())
        self.fired += (latents > 0).sum(dim=0).double().cpu()
        self.total += x.double().sum(dim=0)
        self.squares += float(x.double().pow(2).sum())
        self.tokens += len(x)

    def quality(self) -> CoderQuality:
        if not self.tokens:
            raise InputError(
                f"expected clean tokens from position {FIRST_POSITION} on, got none; harvest more functions"
            )
        variance = self.squares - float(self.total.pow(2).sum()) / self.tokens
        density = (self.fired / self.tokens).numpy()
        return CoderQuality(
            explained_variance=1 - self.errors / variance if variance > 0 else float("nan"),
            l0=float(density.sum()),
            density=density,
            tokens=self.tokens,
        )
