"""Weights that lie in a file: read into this process page by page, and let go of again.

safetensors maps a file instead of reading it, so each page that is touched stays in the process' memory until
the last weight of that file is gone. Widening bf16 weights to fp32 touches all of them, and a process would
hold a model once and a half. The pages are the file's own and come back by themselves, so they can be let go
of in between; where the system has no such call, nothing happens and more memory is used.
"""

import contextlib
import ctypes
import re
from pathlib import Path

MAPS = Path("/proc/self/maps")
_MAPPED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) +(/.*)")
_MADV_DONTNEED = 4


def let_go_of(folder: Path) -> int:
    """Give back the pages of all files of a folder that are mapped here; tells how many bytes are mapped.

    Only for weights that have not been changed in place: a change of a mapped weight lives in its pages.
    """
    total = 0
    for start, size in _ranges(folder.resolve()):
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_DONTNEED)
        total += size
    return total


def _ranges(folder: Path) -> list[tuple[int, int]]:
    """Where files of a folder are mapped, and how long each piece is."""
    try:
        lines = MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    inside = {str(path.resolve()) for path in folder.iterdir()} if folder.is_dir() else set[str]()
    for line in lines:
        mapped = _MAPPED.fullmatch(line)
        if mapped is not None and mapped[5] in inside:
            start, end = int(mapped[1], 16), int(mapped[2], 16)
            found.append((start, end - start))
    return found
