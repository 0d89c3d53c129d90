"""Which folder a model's name means, and how it gets there.

A name is, in this order: a model of the catalogue, an edited model (see edits.py), an alias, a folder in the
Hugging Face format, a GGUF file, or a hub name that is in the hub's cache on this machine. Resolving a name
never uses the network; `pull_model` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ace_analysis.errors import ChecksumError, FingerprintError, ModelError, ModelNotFound
from ace_analysis.model.aliases import unaliased
from ace_analysis.model.catalogue import KNOWN, KnownModel, known_by_sha256
from ace_analysis.model.conversions import (
    Conversion,
    Original,
    convert,
    downloads_dir,
    folder_of,
    intact_conversion,
    locked,
    read_conversion,
)
from ace_analysis.model.disk import Progress, silent
from ace_analysis.model.edits import EditedModel, check_files, edited_model
from ace_analysis.model.fingerprints import fingerprint_of_folder, kept_sha256_of
from ace_analysis.model.hub import cached_model, download_model
from ace_analysis.model.sources import fetch

__all__ = ["Progress", "StoredModel", "pull_model", "resolve_model"]

_MAGIC = b"GGUF"
OWNERS_LICENCE = "as its owner says"

_BF16_PER_GGUF_BYTE = 4
"""A 4-bit file becomes about four times as large; what is asked for is checked before it is written."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that is on this machine, ready to be loaded."""

    name: str
    folder: Path
    fingerprint: str
    source: str
    licence: str
    edit: EditedModel | None = None
    """What is changed after the weights of `folder` were read, if anything is."""


def resolve_model(name: str, progress: Progress | None = None) -> StoredModel:
    """The folder that a name means. Local only; a GGUF file is converted the first time.

    Raises:
        ModelNotFound: nothing of that name is here; the message says how to get it.
    """
    progress = progress or silent
    known = KNOWN.get(name.lower())
    if known is not None:
        conversion = _whole(name, folder_of(known.sha256))
        if conversion is None:
            raise ModelNotFound(
                f"expected the weights of {name} on this machine, got none; run: ace model pull {name}"
            )
        return _stored(known.name, folder_of(known.sha256), conversion)
    if (edited := edited_model(name)) is not None:
        return _edited(edited, progress)
    meant = unaliased(name)
    path = Path(meant).expanduser()
    if path.is_dir():
        return _folder(name, path, progress)
    if path.is_file():
        return _gguf(path, progress)
    folder = cached_model(meant) if is_hub_name(meant) else None
    if folder is not None:
        fingerprint = fingerprint_of_folder(folder, progress)
        return StoredModel(name, folder, fingerprint, f"https://huggingface.co/{meant}", OWNERS_LICENCE)
    raise ModelNotFound(_not_found(name, meant))


def pull_model(name: str, progress: Progress | None = None) -> StoredModel:
    """Get a model's weights unless they are here, verified and converted, whichever process asks first."""
    progress = progress or silent
    known = KNOWN.get(name.lower())
    if known is not None:
        return _pull_known(known, progress)
    try:
        return resolve_model(name, progress)
    except ModelNotFound:
        meant = unaliased(name)
        if not is_hub_name(meant):
            raise
    download_model(meant, progress)
    return resolve_model(name, progress)


def is_hub_name(name: str) -> bool:
    """Whether a name looks like `organisation/model`."""
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and "\\" not in name


def _pull_known(known: KnownModel, progress: Progress) -> StoredModel:
    def fetched() -> Original:
        gguf, source = fetch(known, downloads_dir(), progress)
        return _original(gguf, known.sha256, known, source)

    conversion = _converted(known.sha256, fetched, progress)
    # Only now: an interrupted conversion finds the download again.
    (downloads_dir() / known.file).unlink(missing_ok=True)
    return _stored(known.name, folder_of(known.sha256), conversion)


def _converted(sha256: str, original: Callable[[], Original], progress: Progress) -> Conversion:
    """The conversion of a GGUF file, made by one process if it is not there or is damaged."""
    folder = folder_of(sha256)
    conversion = intact_conversion(folder)
    if conversion is None:
        with locked(folder.name, progress):
            conversion = intact_conversion(folder)
            if conversion is None:
                conversion = convert(original(), progress)
    return conversion


def _original(gguf: Path, sha256: str, known: KnownModel | None, source: str) -> Original:
    return Original(
        gguf=gguf,
        sha256=sha256,
        name=known.name if known else gguf.stem,
        source=source,
        licence=known.licence if known else OWNERS_LICENCE,
        tied=known.tied if known else False,
        converted_size=known.converted_size if known else gguf.stat().st_size * _BF16_PER_GGUF_BYTE,
    )


def _stored(name: str, folder: Path, conversion: Conversion) -> StoredModel:
    return StoredModel(name, folder, conversion.fingerprint, conversion.source, conversion.licence)


def _edited(edited: EditedModel, progress: Progress) -> StoredModel:
    base = resolve_model(edited.base, progress)
    if base.fingerprint != edited.base_fingerprint:
        raise FingerprintError(
            f"{edited.name} was edited from {edited.base} with fingerprint {edited.base_fingerprint[:16]},"
            f" the weights here have {base.fingerprint[:16]}; get the same again, or undo the edits:"
            f" ace edit undo {edited.name}"
        )
    check_files(edited, progress)
    source = f"edited from {base.name}"
    return StoredModel(edited.name, base.folder, edited.fingerprint, source, base.licence, edited)


def _whole(name: str, folder: Path) -> Conversion | None:
    """The conversion in a folder, or None where none is; never one whose bytes have changed."""
    conversion = read_conversion(folder)
    if conversion is not None and intact_conversion(folder) is None:
        raise ChecksumError(
            f"expected the files in {folder} as they were converted, got others; nothing of them was used."
            f" Make them again: ace model pull {name}"
        )
    return conversion


def _folder(name: str, folder: Path, progress: Progress) -> StoredModel:
    if not (folder / "config.json").is_file():
        raise ModelError(f"expected a model in the Hugging Face format in {folder}, got no config.json there")
    conversion = read_conversion(folder)
    if conversion is not None:
        _whole(conversion.name, folder)
        return _stored(conversion.name, folder.absolute(), conversion)
    fingerprint = fingerprint_of_folder(folder, progress)
    return StoredModel(name, folder.absolute(), fingerprint, str(folder.absolute()), OWNERS_LICENCE)


def _gguf(path: Path, progress: Progress) -> StoredModel:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ModelError(f"expected a folder or a GGUF file, got {path}, which is neither")
    sha256 = kept_sha256_of(path, progress)
    known = known_by_sha256(sha256)
    conversion = _converted(sha256, lambda: _original(path, sha256, known, str(path.absolute())), progress)
    return _stored(conversion.name, folder_of(sha256), conversion)


def _not_found(name: str, meant: str) -> str:
    if is_hub_name(meant):
        alias = "" if meant == name else f" (that is {meant})"
        return f"expected the weights of {name}{alias} on this machine, got none; run: ace model pull {name}"
    known = ", ".join(KNOWN)
    return (
        f"expected a known model ({known}), a hub name such as org/model, a folder or a GGUF file,"
        f" got {name!r}: nothing of that name is here; run: ace model list, then: ace model pull NAME"
    )
