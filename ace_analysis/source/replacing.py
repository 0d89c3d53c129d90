"""A changed text written back to its file: same encoding, byte order mark and line ends, whole or not at all.

An editor, a formatter or a person may have saved the file since it was read. So its bytes are compared once
more before they are replaced, and a file that was changed meanwhile is refused instead of overwritten.
"""

import codecs
import contextlib
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ace_analysis.errors import InputError, StorageError
from ace_analysis.source.reading import decode_source, encoding_of, read_bytes

ANYONE_WRITES = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def check_writable(path: Path) -> None:
    """Raises StorageError for a file that is marked as read-only; OSError for one that is not there."""
    if not path.resolve().stat().st_mode & ANYONE_WRITES:
        raise StorageError(f"{path}: is read-only, nothing was written; make it writable first")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was read: its bytes, and the text that they are (without a byte order mark)."""

    path: Path
    data: bytes
    text: str

    @classmethod
    def read(cls, path: Path, max_bytes: int) -> "SourceFile":
        """Raises InputError for what can't be read as Python source."""
        data = read_bytes(path, max_bytes)
        return cls(path, data, decode_source(data))

    def replace(self, text: str) -> None:
        """Write a new text, unless the file was changed since it was read.

        Raises:
            InputError: the file was changed or removed meanwhile, or its encoding lacks a character.
            StorageError: the file can't be written, or is marked as read-only.
        """
        new = self.encoded(text)
        target = self.path.resolve()
        part = ""
        try:
            # To replace a file takes the right to write to its folder alone; the file's own mark counts here.
            check_writable(self.path)
            descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            with os.fdopen(descriptor, "wb") as file:
                file.write(new)
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(target, part)
            if target.read_bytes() != self.data:
                raise InputError(
                    f"{self.path}: was changed since it was read, nothing was written; run it again"
                )
            Path(part).replace(target)
        except FileNotFoundError as error:
            raise InputError(f"{self.path}: is gone since it was read, nothing was written") from error
        except OSError as error:
            raise StorageError(f"{self.path}: can't be written ({error.strerror or error})") from error
        finally:
            if part:
                with contextlib.suppress(OSError):
                    Path(part).unlink()

    def encoded(self, text: str) -> bytes:
        """A text as this file would hold it.

        Raises:
            InputError: the file's encoding lacks a character of the text.
        """
        encoding = encoding_of(self.data)
        try:
            data = text.encode("utf-8" if encoding == "utf-8-sig" else encoding)
        except UnicodeEncodeError as error:
            lacking = error.object[error.start : error.end]
            raise InputError(
                f"{self.path}: expected characters that {encoding} has, got {lacking!r}; nothing was written"
            ) from error
        return codecs.BOM_UTF8 + data if self.data.startswith(codecs.BOM_UTF8) else data


def with_line_ends_of(text: str, replacement: str) -> str:
    """A replacement with the line ends that a text has most of."""
    ends = re.findall(r"\r\n|\n|\r", text)
    end = max(("\n", "\r\n", "\r"), key=ends.count)
    return re.sub(r"\r\n|\n|\r", end, replacement)
