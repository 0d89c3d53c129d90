"""An edited model as a folder of its own, for everything that knows nothing of ACE."""

import contextlib
import glob
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ace_analysis.editing.ledger import EditLedger
from ace_analysis.editing.receipt import receipt_to_json
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.causal import load_causal
from ace_analysis.model.conversions import DESCRIPTION
from ace_analysis.model.disk import Progress, one_at_a_time, silent, size_of, storing
from ace_analysis.model.edits import edits_dir
from ace_analysis.model.quiet import quiet_transformers
from ace_analysis.model.scan import never
from ace_analysis.model.store import StoredModel, resolve_model

RECEIPTS = "ace-edits.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".index.json")
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def export(
    name: str, folder: Path, dtype: str = "float32", progress: Progress = silent, cancelled: Any = never
) -> Path:
    """Write the whole model in Hugging Face's format: weights with the edits in them, tokenizer, receipts.

    Args:
        name: of an edited model.
        folder: is made; may exist if it is empty.
        dtype: of the weights. "float32" has the logits that the edited model has here; narrower ones round.

    Raises:
        InputError: a folder that holds something, or an unknown dtype.
        ModelNotFound: no such edited model.
        StorageError: not enough room; nothing is left behind.
    """
    entry = EditLedger().show(name)
    stored = resolve_model(name, progress)
    if dtype not in _BYTES:
        raise InputError(f"expected a dtype among {', '.join(_BYTES)}, got {dtype!r}")
    folder = folder.expanduser().absolute()
    with (
        _alone_in(folder, progress),
        storing(folder.parent, size_of(stored.folder) * _BYTES[dtype] // 2, "name a folder"),
        _in_one_step(folder) as made,
    ):
        progress(f"loading {name}", None)
        receipts = [receipt_to_json(each) for each in entry.edits]
        _write(stored, made, dtype, progress)
        about = {"name": name, "base": entry.base, "fingerprint": entry.fingerprint, "edits": receipts}
        (made / RECEIPTS).write_text(json.dumps(about, indent=1), encoding="utf-8")
        if cancelled():
            raise Cancelled("the export was cancelled; nothing was written")
    return folder


@contextlib.contextmanager
def _in_one_step(folder: Path) -> Iterator[Path]:
    """A folder beside it that gets its name at the end, and is removed where something fails."""
    prefix = f".unfinished-{folder.name}-"
    for left in folder.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield made
        if folder.exists():
            folder.rmdir()
        made.chmod(0o755)
        made.replace(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


@contextlib.contextmanager
def _alone_in(folder: Path, progress: Progress) -> Iterator[None]:
    """One export at a time goes to a folder, which has to be new or empty."""
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    lock = edits_dir() / f".export-{name}.lock"
    with one_at_a_time(lock, "exports to the same folder", progress):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"expected a folder that is new or empty, got {folder}")
        yield


def _write(stored: StoredModel, made: Path, dtype: str, progress: Progress) -> None:
    causal = load_causal(stored.name, "cpu", dtype)
    progress(f"writing {stored.name}", None)
    with quiet_transformers():
        causal.model.save_pretrained(made)
    for path in sorted(stored.folder.iterdir()):
        kept = path.is_file() and not path.name.endswith(_WEIGHTS) and path.name != DESCRIPTION
        if kept and not (made / path.name).exists():
            shutil.copyfile(path, made / path.name)
