"""What is said on stderr, and how foreign text is made harmless for a terminal."""

import os
import re
import sys

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def tell(text: str) -> None:
    """One line to a person, beside the results."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command line speaks


def tell_error(text: str) -> None:
    tell(f"ace: error: {text}")


def tell_note(text: str) -> None:
    tell(f"ace: note: {text}")


def printable(text: str) -> str:
    """Text whose characters that move a terminal's cursor or turn its direction became \\x1b and so on.

    Source code and file names are foreign text; an escape sequence in them must not reach the terminal.
    """
    return _CONTROL.sub(lambda match: _escaped(match[0]), text)


def printable_path(path: str | os.PathLike[str]) -> str:
    """A path as text; bytes of it that are no text become \\xff and so on."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
