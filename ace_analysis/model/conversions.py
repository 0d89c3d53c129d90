"""Converted models in the user's cache: made once, whole or not there, safe when two processes start at once.

    models/<first 16 digits of the GGUF's sha256>-r<recipe>/   config, weights, tokenizer, ace-model.json
    models/downloads/                                          GGUF files, until they are converted

Folder names are neutral on purpose (see convert.py). `ace-model.json` is written last and the folder renamed
in one step, so a folder that has its final name is complete.
"""

import contextlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ace_analysis.model.convert import RECIPE, convert_gguf
from ace_analysis.model.disk import Progress, one_at_a_time, remove, sha256_of, silent, storing
from ace_analysis.model.fingerprints import fingerprint_of_gguf, kept_sha256_of
from ace_analysis.settings import cache_dir

DESCRIPTION = "ace-model.json"
FORMAT = 1
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What `ace-model.json` says: what was converted, and what became of it."""

    name: str
    gguf_sha256: str
    recipe: int
    source: str
    licence: str
    files: dict[str, dict[str, Any]]
    """File name to size and sha256."""

    @property
    def fingerprint(self) -> str:
        return fingerprint_of_gguf(self.gguf_sha256, self.recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A verified GGUF file, and what is known of it."""

    gguf: Path
    sha256: str
    name: str
    source: str
    licence: str
    tied: bool
    converted_size: int


def models_dir() -> Path:
    return cache_dir() / "models"


def downloads_dir() -> Path:
    return models_dir() / "downloads"


def folder_of(gguf_sha256: str) -> Path:
    """Where the conversion of a GGUF file is, or would be."""
    return models_dir() / f"{gguf_sha256[:16]}-r{RECIPE}"


def read_conversion(folder: Path) -> Conversion | None:
    """A folder's description, or None where there is no complete conversion."""
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if described.pop("format") != FORMAT:
            return None
        conversion = Conversion(**described)
        sizes = {name: (folder / name).stat().st_size for name in conversion.files}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return conversion if all(sizes[name] == kept["size"] for name, kept in conversion.files.items()) else None


def conversions() -> dict[Path, Conversion]:
    """All complete conversions, by folder."""
    found = {folder: read_conversion(folder) for folder in sorted(models_dir().glob("*-r*"))}
    return {folder: conversion for folder, conversion in found.items() if conversion is not None}


def intact_conversion(folder: Path) -> Conversion | None:
    """A folder's description, if its files are there with the bytes that were written.

    A file is read again only when its size or its time has changed since the last look.
    """
    conversion = read_conversion(folder)
    if conversion is None:
        return None
    kept = conversion.files.items()
    return conversion if all(kept_sha256_of(folder / n) == f["sha256"] for n, f in kept) else None


def locked(name: str, progress: Progress) -> contextlib.AbstractContextManager[None]:
    """One process at a time; the others wait, and then find the work done."""
    return one_at_a_time(models_dir() / f".{name}.lock", "is getting the same model", progress)


def convert(original: Original, progress: Progress) -> Conversion:
    """Convert a GGUF file into its folder. The caller holds the lock and has seen that it is not there."""
    folder = folder_of(original.sha256)
    progress(f"converting {original.name}: about a minute, once", None)
    with storing(models_dir(), original.converted_size):
        clear_unfinished(folder.name)
        made = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{folder.name}-", dir=models_dir()))
        try:
            convert_gguf(original.gguf, made, name=original.name, tied=original.tied)
            conversion = _described(made, original)
            if folder.exists():
                remove(folder)
            made.replace(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return conversion


def clear_unfinished(name: str) -> None:
    """Remove what a process that was killed has left behind; the caller holds that folder's lock."""
    for left in models_dir().glob(f"{_UNFINISHED}{name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def remove_conversion(folder: Path) -> int:
    """Delete a conversion once no other process is making it; tells how many bytes that were."""
    with locked(folder.name, silent):
        clear_unfinished(folder.name)
        return remove(folder)


def _described(folder: Path, original: Original) -> Conversion:
    """Write `ace-model.json` beside the files that it describes."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
    }
    conversion = Conversion(
        name=original.name,
        gguf_sha256=original.sha256,
        recipe=RECIPE,
        source=original.source,
        licence=original.licence,
        files=files,
    )
    text = json.dumps({"format": FORMAT, **asdict(conversion)}, indent=1)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return conversion
