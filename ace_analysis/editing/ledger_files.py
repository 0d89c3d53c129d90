"""Files of the ledger: each is whole or not there, whenever the process ends.

What is written goes beside its place, is forced to the disk, and gets its name in one step. The step that
counts is the naming of `model.json`: changes that no `model.json` names are not there for anybody, and the
next writer clears them away.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.model.disk import Progress, one_at_a_time, storing
from ace_analysis.model.edits import DESCRIPTION, FORMAT, METADATA, edits_dir

_UNFINISHED = ".unfinished-"
_ROOM = 1 << 20
"""Bytes for descriptions, beside the changes themselves."""


def ledger_locked(progress: Progress) -> contextlib.AbstractContextManager[None]:
    """One writer at a time, whichever process; the others wait and then see what it did."""
    return one_at_a_time(edits_dir() / ".lock", "edits a model", progress, _ROOM)


def bytes_of(deltas: Sequence[RowDelta], fingerprint: str) -> bytes:
    """The file of an edit: safetensors, with what the matrices change and the model before it as metadata."""
    import torch

    tensors, about = {}, []
    for at, delta in enumerate(deltas):
        tensors[f"{at}.left"] = delta.left.detach().cpu().contiguous().clone()
        tensors[f"{at}.right"] = delta.right.detach().cpu().contiguous().clone()
        if delta.rows is not None:
            tensors[f"{at}.rows"] = torch.tensor(delta.rows, dtype=torch.int64)
        about.append({"layer": delta.layer, "module": delta.module, "all_rows": delta.rows is None})
    # One entry: safetensors writes several in any order, and equal edits shall be equal files.
    described = {"format": FORMAT, "fingerprint_before": fingerprint, "deltas": about}
    return save(tensors, {METADATA: json.dumps(described)})


def sha256_of_content(content: bytes) -> str:
    """What an edit's file is called, and its receipt is known by."""
    return hashlib.sha256(content).hexdigest()


def write_changes(folder: Path, content: bytes) -> str:
    """Write an edit's file; its sha256, which is its name."""
    sha256 = sha256_of_content(content)
    with storing(folder, len(content) + _ROOM):
        _write(folder / f"{sha256}.safetensors", content)
    return sha256


def write_description(folder: Path, described: Mapping[str, Any]) -> None:
    """Put a new `model.json` in the place of the one before, with a checksum of what it says."""
    body = {"format": FORMAT, **described, "receipts_sha256": receipts_sha256(described)}
    content = json.dumps(body, indent=1).encode()
    with storing(folder, len(content) + _ROOM):
        _write(folder / DESCRIPTION, content)


def receipts_sha256(described: Mapping[str, Any]) -> str:
    """Over all that a description says, but for this checksum."""
    left_out = {"receipts_sha256", "format"}
    said = {name: value for name, value in described.items() if name not in left_out}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def clear_unnamed(folder: Path, named: Sequence[str]) -> None:
    """Remove what interrupted writers left: the caller holds the lock and says which checksums are named."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        left.unlink(missing_ok=True)
    for path in folder.glob("*.safetensors"):
        if path.stem not in named:
            path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
