"""Bytes that weights and the process really hold.

Parameters share storages (tied tables, memory maps) and allocators keep what was freed, so bytes are counted
by walking storages, and what the system sees is asked of the system.
"""

import ctypes
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

_STATUS = Path("/proc/self/status")


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all storages behind a module's parameters and buffers, each counted once."""
    return storage_bytes(chain(module.parameters(), module.buffers()))


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind some tensors, each counted once; a view counts what it keeps alive."""
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


def resident_bytes() -> int | None:
    """Private memory of this process that is in RAM; None where the system does not tell.

    Without pages of files: those of a model's file are in memory as long as nobody else needs the room.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), None)


def device_bytes(device: torch.device) -> int | None:
    """Bytes that tensors hold on a CUDA device; None for another."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def release() -> None:
    """Give freed memory back to the system, where its allocator would keep it for the next use."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others give back by themselves
        if trim is not None:
            trim(0)
