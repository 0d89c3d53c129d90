"""Python source from bytes, as Python itself would read it (PEP 263), with every code point kept.

Line endings stay as they are, so that an offset in the text is one in the file. What can't be read says why
in one sentence and costs that file alone.
"""

import codecs
import contextlib
import io
import re
import stat
import tokenize
from pathlib import Path
from typing import BinaryIO

from ace_analysis.errors import InputError

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDE_MARKS = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}


def read_source(path: Path, max_bytes: int) -> str:
    """The text of a file without its byte order mark; InputError says why there is none."""
    return decode_source(read_bytes(path, max_bytes))


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """A file's bytes; InputError says why there are none."""
    try:
        # Asked before it is opened: a named pipe would wait for its other end, and a device may never end.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"expected a file, got {_what(mode)}; a text from a pipe goes in as -")
        with path.open("rb") as file:
            return read_at_most(file, max_bytes)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"can't be read: {reason or error}") from error


def read_at_most(source: BinaryIO, max_bytes: int) -> bytes:
    data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputError(
            f"expected at most {max_bytes:,} bytes, got more; raise check.max_file_bytes to have it checked"
        )
    return data


def decode_source(data: bytes) -> str:
    """Text of Python source; a lone surrogate, which no tokeniser takes, becomes U+FFFD."""
    for name, marks in _WIDE_MARKS.items():
        if data.startswith(marks):
            raise InputError(f"expected UTF-8, got {name}, which Python can't run; convert the file")
    if (zero := data.find(b"\0")) >= 0:
        raise InputError(f"expected Python source, got binary data: a zero byte at offset {zero:,}")
    try:
        encoding = encoding_of(data)
        return _LONE_SURROGATE.sub("\ufffd", data.decode(encoding))
    except UnicodeDecodeError as error:
        raise InputError(_undecodable(data, error)) from error
    except (LookupError, UnicodeError) as error:
        raise InputError(f"the encoding that it declares can't be used: {error}") from error


def encode_source(text: str) -> bytes:
    """A text as the bytes of its file: in the encoding that it declares, if that has all of it."""
    data = text.encode("utf-8")
    with contextlib.suppress(LookupError, UnicodeError):
        encoding = encoding_of(data)
        return data if encoding.startswith("utf-8") else text.encode(encoding)
    return data


def encoding_of(data: bytes) -> str:
    """By byte order mark or coding comment, else UTF-8."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        data.decode("utf-8-sig")
        raise LookupError(error.msg) from error
    return encoding


def _undecodable(data: bytes, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    what = f"expected {error.encoding.upper()}, got byte 0x{error.object[error.start]:02x} on line {line:,}"
    return f"{what}; convert the file, or declare its encoding on line 1: # -*- coding: latin-1 -*-"


def _what(mode: int) -> str:
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")
