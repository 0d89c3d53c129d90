"""The only place that knows lines and UTF-8/16/32.

The engine counts code points; editors count lines and code units of the encoding that was agreed on in
`initialize`. A line ends at `\\n`, `\\r\\n` or `\\r` and nowhere else (LSP 3.18, "Text Documents"): a form
feed or U+2028 is an ordinary character. Positions come from outside and are never trusted: each is clamped to
the text, and one that points into the middle of a character means that character's start.
"""

import re
from bisect import bisect_right
from functools import cached_property

from lsprotocol import types

from ace_analysis.source.document import TextSpan

_EOL = re.compile(r"\r\n|\r|\n")

Encoding = types.PositionEncodingKind


def units_of(text: str, encoding: Encoding) -> int:
    """Length of `text` in code units; a lone surrogate counts as what it would be encoded to."""
    if encoding == Encoding.Utf32 or text.isascii():
        return len(text)
    if encoding == Encoding.Utf8:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text) + sum(char > "\uffff" for char in text)


def code_points_of(text: str, units: int, encoding: Encoding) -> int:
    """How many whole characters of `text` fit into `units` code units."""
    if encoding == Encoding.Utf32 or text.isascii():
        return min(units, len(text))
    used = 0
    for index, char in enumerate(text):
        used += units_of(char, encoding)
        if used > units:
            return index
    return len(text)


class LineIndex:
    """One version of one text, addressed by the positions of one client."""

    def __init__(self, text: str, encoding: Encoding = Encoding.Utf16) -> None:
        self.text = text
        self.encoding = encoding

    @cached_property
    def starts(self) -> list[int]:
        """Offset of each line's first code point; behind a line ending is always a line, empty or not."""
        return [0, *(match.end() for match in _EOL.finditer(self.text))]

    def __len__(self) -> int:
        return len(self.starts)

    def line_text(self, line: int) -> str:
        """The 0-based line without its line ending; empty beyond the last one."""
        if not 0 <= line < len(self.starts):
            return ""
        end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.text)
        return self.text[self.starts[line] : end].rstrip("\r\n")

    def line_at(self, offset: int) -> int:
        return bisect_right(self.starts, max(0, min(offset, len(self.text)))) - 1

    def offset_at(self, position: types.Position) -> int:
        if position.line >= len(self.starts):
            return len(self.text)
        body = self.line_text(position.line)
        return self.starts[position.line] + code_points_of(body, position.character, self.encoding)

    def position_at(self, offset: int) -> types.Position:
        offset = max(0, min(offset, len(self.text)))
        line = self.line_at(offset)
        before = self.text[self.starts[line] : offset].rstrip("\r\n")
        return types.Position(line=line, character=units_of(before, self.encoding))

    def range_of(self, span: TextSpan) -> types.Range:
        return types.Range(start=self.position_at(span.start), end=self.position_at(span.end))

    def span_of(self, where: types.Range) -> TextSpan:
        """A range whose ends are the wrong way round is read as the range between them."""
        first, second = self.offset_at(where.start), self.offset_at(where.end)
        return TextSpan(min(first, second), max(first, second))
