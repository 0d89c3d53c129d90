"""How much memory a batch of decompositions takes, before it is run, and how much is free."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.errors import InputError

SHARE = 0.5
"""Of what is free: an estimate is not a measurement, and others want memory too."""

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a run of a text takes: once, and for each row of a batch."""

    once: int
    row: int

    @classmethod
    def of(cls, anatomy: Anatomy, length: int, n_blocks: int) -> "Footprint":
        """The estimate for a text of `length` tokens through the first blocks.

        Once: what `frozen.freeze` keeps. For each row: two parts of the residual stream and of one block's
        activations, of which the MLP's and the attention scores are the largest.
        """
        attention, mlp = anatomy.blocks[0].attn, anatomy.blocks[0].mlp
        d_mlp = mlp.up.weight.shape[0]
        heads = attention.n_heads * attention.head_dim
        scores = attention.n_heads * length * length
        kept = length * (5 * anatomy.d_model + 4 * heads + 2 * d_mlp) + scores
        row = length * (8 * anatomy.d_model + 6 * heads + 8 * d_mlp) + 5 * scores
        size = torch.empty(0, dtype=anatomy.dtype).element_size()
        return cls(n_blocks * kept * size, row * size)

    def rows_in(self, n_bytes: int, length: int) -> int:
        """How many rows a batch may have.

        Raises:
            InputError: not even one fits.
        """
        rows = (n_bytes - self.once) // self.row
        if rows < 1:
            raise InputError(
                f"expected a text that fits into {n_bytes / 1e6:.0f} MB, got {length} tokens, which take "
                f"{(self.once + self.row) / 1e6:.0f} MB; use a shorter text"
            )
        return rows


def free_bytes(device: torch.device) -> int:
    """What a decomposition may take: a share of what the device has free."""
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    return int(SHARE * _free_main_memory())


def ensure_fits(anatomy: Anatomy, length: int, n_blocks: int) -> None:
    """Said before anything is run: a text of `length` tokens through the first blocks fits into memory.

    Raises:
        InputError: it does not.
    """
    footprint = Footprint.of(anatomy, length, n_blocks)
    needed, free = footprint.once + footprint.row, free_bytes(anatomy.device)
    if needed > free:
        raise InputError(
            f"the scope is too long to be explained here: {length:,} tokens up to the place take about"
            f" {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB may be used; shorten the function, or free"
            " some memory"
        )


def batches(n: int, size: int) -> list[range]:
    """Rows in order, at most `size` together."""
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def _free_main_memory() -> int:
    """Linux says what it could free; elsewhere half of what there is counts as free."""
    try:
        lines: Sequence[str] = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 4 * 2**30
