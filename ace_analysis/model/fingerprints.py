"""What a model's weights are, in one string that everything stored for a model carries.

    known models and GGUF files   sha256 of the file, and the version of the conversion's recipe: the same on
                                  every machine, so that a bundle made on one fits every other
    folders                       sha256 over the checksums of the weights files

A folder's files are read once; the result is kept by path, size and time of the last change.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ace_analysis.errors import ModelError
from ace_analysis.model.disk import Progress, sha256_of, silent
from ace_analysis.settings import cache_dir

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")


def fingerprint_of_gguf(sha256: str, recipe: int) -> str:
    return f"{sha256}-r{recipe}"


def fingerprint_of_folder(folder: Path, progress: Progress = silent, *, anew: bool = False) -> str:
    """One checksum over a folder's weights, whatever the files are called; `anew`: every byte is read."""
    for pattern in WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            break
    else:
        raise ModelError(
            f"expected weights ({', '.join(WEIGHTS)}) in {folder}, got none; get the model again"
        )
    checksums = sorted(
        sha256_of(file, progress, f"reading {file.name}") if anew else kept_sha256_of(file, progress)
        for file in files
    )
    return checksums[0] if len(checksums) == 1 else hashlib.sha256("\n".join(checksums).encode()).hexdigest()


def kept_sha256_of(path: Path, progress: Progress = silent) -> str:
    """The checksum of a file, read again only when its size or its time has changed."""
    status = path.stat()
    key = str(path.resolve())
    stamp = [status.st_size, status.st_mtime_ns]
    entry = _read_kept().get(key)
    if isinstance(entry, dict) and entry.get("stamp") == stamp and isinstance(entry.get("sha256"), str):
        return entry["sha256"]
    found = sha256_of(path, progress, f"reading {path.name} once, for its checksum")
    # Where nothing can be written, the file is read again the next time: slower, and as right.
    with contextlib.suppress(OSError):
        _keep(key, {"stamp": stamp, "sha256": found})
    return found


def _path() -> Path:
    return cache_dir() / "models" / "checksums.json"


def _read_kept() -> dict[str, Any]:
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(key: str, entry: dict[str, Any]) -> None:
    """Add an entry by replacing the file in one step; entries of files that are gone are dropped."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: each for name, each in _read_kept().items() if Path(name).exists()}
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".checksums-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({**kept, key: entry}, file, indent=1)
    Path(temporary).replace(path)
