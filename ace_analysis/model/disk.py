"""Files that are whole or not there, checksums, and a full disk told as such.

A download that stops half-way and a conversion that runs out of disk must leave nothing that looks finished.
"""

import errno
import hashlib
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ace_analysis.errors import StorageError

Progress = Callable[[str, float | None], None]
"""Gets what is being done and the fraction that is done, or None where that is not known."""

CHUNK = 1 << 20

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_BROKEN = frozenset(
    {
        *(errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
        *(errno.ENAMETOOLONG, errno.EFBIG, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENODEV),
        *(errno.ENXIO, errno.ELOOP, errno.ESTALE, errno.EXDEV, errno.EINVAL),
    }
)


def silent(message: str, fraction: float | None) -> None:
    """The progress callback of a caller that wants none."""


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


@contextmanager
def storing(folder: Path, needed: int, elsewhere: str = "set ACE_CACHE_DIR to a folder") -> Iterator[None]:
    """Turns a disk that is full or not writable into one error that says how much is needed, and where.

    `elsewhere`: how another folder is chosen.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise StorageError(
                f"expected {megabytes(needed)} free in {folder}, got {megabytes(free)};"
                f" make room there, or {elsewhere} on another disk"
            )
        yield
    except Exception as error:
        if _is_full(error):
            raise StorageError(
                f"the disk became full: {megabytes(needed)} are needed in {folder};"
                f" make room there, or {elsewhere} on another disk"
            ) from error
        if isinstance(error, OSError) and _disk_errno(error) in _FORBIDDEN:
            raise StorageError(
                f"expected to be allowed to write in {folder}, got {error.strerror} for {error.filename};"
                f" change its owner, or {elsewhere} of yours"
            ) from error
        raise


@contextmanager
def one_at_a_time(path: Path, others: str, progress: Progress, needed: int = 0) -> Iterator[None]:
    """One process at a time, by a lock at `path`; the others wait, and say what for (`others`)."""
    with storing(path.parent, needed):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress(f"waiting for another process that {others}", None)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_of_disk(error: Exception) -> bool:
    """Whether this machine's disk failed, not a connection or a server: those are mostly OSErrors too."""
    return _is_full(error) or _disk_errno(error) in _FULL | _FORBIDDEN | _BROKEN


def _is_full(error: Exception) -> bool:
    """safetensors writes with code of its own, and tells the system's words in an error of its own."""
    return getattr(error, "errno", None) in _FULL or os.strerror(errno.ENOSPC) in str(error)


def _disk_errno(error: Exception) -> int | None:
    """The system's error number, which those of TLS and of name look-ups are not: TLS's 1 reads as EPERM."""
    if not isinstance(error, OSError) or isinstance(error, (ssl.SSLError, socket.gaierror, socket.herror)):
        return None
    return error.errno


def sha256_of(path: Path, progress: Progress = silent, message: str = "") -> str:
    """The checksum of a file, read in pieces."""
    digest, done, size = hashlib.sha256(), 0, max(1, path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if message:
                progress(message, done / size)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what vanishes meanwhile counts nothing."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if not each.is_dir()]
    total = 0
    for file in files:
        try:
            total += file.lstat().st_size
        except FileNotFoundError:
            continue
    return total


def remove(path: Path) -> int:
    """Delete a file or a folder; tells how many bytes that were."""
    size = size_of(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return size
