"""The files of a bundle, and that they are the ones that were written.

A bundle is copied, packed into wheels and fetched over networks; a file that changed on the way would give
other findings without a word. So `bundle.json` names each file's SHA-256, which is compared whenever the
bundle is read. Bundles of the time before that name none, and are read unchecked.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ace_analysis.errors import BundleError
from ace_analysis.features.labels import LABELS_FILE
from ace_analysis.features.storage import CODER_FILE

BUNDLE_FILE, READOUT_FILE, CATALOG_FILE, CARD_FILE = (
    "bundle.json",
    "readout.safetensors",
    "catalog.json",
    "card.md",
)
CORPUS_FILE = "corpus.json.gz"
"""The functions that it was made of, see evaluation.made_of."""

PROBE_FILE = "probe.safetensors"
"""A dense probe to compare with, see evaluation.probe_file. No score of a scan depends on it."""

EXTRAS = (CORPUS_FILE, PROBE_FILE)
SUMS = "sha256"
_SUMMED = (CODER_FILE, READOUT_FILE, CATALOG_FILE, CARD_FILE, LABELS_FILE, *EXTRAS)


def write_extras(folder: Path, extras: Mapping[str, bytes]) -> None:
    """Write the files that no scan needs; those of an earlier bundle in the same folder go.

    Raises OSError.
    """
    for name in EXTRAS:
        path = folder / name
        if name in extras:
            part = path.with_name(f".{name}.part")
            part.write_bytes(extras[name])
            part.replace(path)
        else:
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people too, whole or not at all; raises OSError."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def sums_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a bundle but `bundle.json`, which will hold them."""
    return {name: _sum_of(folder / name) for name in _SUMMED if (folder / name).is_file()}


def check_sums(folder: Path, about: Mapping[str, Any]) -> None:
    """Compare the files with the sums in `bundle.json`, where it has some.

    Raises BundleError where a file is missing or another than was written.
    """
    sums = about.get(SUMS, {})
    if not isinstance(sums, dict) or not all(name in _SUMMED for name in sums):
        raise BundleError(
            f"{folder / BUNDLE_FILE}: expected {SUMS} of some of {', '.join(_SUMMED)}, got {sums!r}"
        )
    for name, expected in sums.items():
        path = folder / name
        try:
            got = _sum_of(path)
        except FileNotFoundError:
            raise BundleError(f"{path}: this file of the bundle is missing; {_WHAT_TO_DO}") from None
        except OSError as error:
            raise BundleError(f"{path}: this file of the bundle can't be read ({error})") from error
        if got != expected:
            raise BundleError(
                f"{path}: damaged, expected the SHA-256 {str(expected)[:16]}…, got {got[:16]}…; {_WHAT_TO_DO}"
            )


_WHAT_TO_DO = "install ace-lsp again, or make the bundle again with `ace train bundle`"


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
