"""Foreign text made harmless for a web page: source code may hold markup, control codes and turned text.

Escaping alone is not enough: code points that turn the direction of what follows can make code read as
another (Boucher and Anderson 2021, arXiv:2111.00169, "Trojan Source"), and some may not stand in a page at
all. They are shown by name.
"""

import re
from html import escape

_TURNING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SHOWN_BY_NAME = re.compile(f"[{_TURNING}\u2028\u2029\ufeff\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FIRST_PICTURE = 0x2400


def visible(text: str) -> str:
    """Text whose code points are all seen and none of which acts; tabs and line ends stay."""
    pictured = _CONTROL.sub(lambda match: chr(_FIRST_PICTURE + ord(match[0])), text)
    return _SHOWN_BY_NAME.sub(lambda match: f"<U+{ord(match[0]):04X}>", pictured)


def escaped(text: str) -> str:
    """Text for an element's content or a quoted attribute."""
    return escape(visible(text), quote=True)


def one_line(text: str) -> str:
    """The text with its line ends and tabs as blanks."""
    return " ".join(text.split()) if text.split() else ""
