"""A Python text and places in it.

The engine has one unit of text: the code point. Lines, columns and UTF-16 exist only where an editor or a
terminal is spoken to, so a position can't be read in the wrong unit in between.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True, order=True)
class TextSpan:
    """A half-open range of code points: `start <= offset < end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span needs 0 <= start <= end, got {self.start}..{self.end}")

    def __len__(self) -> int:
        return self.end - self.start

    def overlaps(self, other: "TextSpan") -> bool:
        return self.start < other.end and other.start < self.end

    def shifted(self, by: int) -> "TextSpan":
        return TextSpan(self.start + by, self.end + by)


@dataclass(frozen=True, kw_only=True)
class CodeDocument:
    """One version of one text. `uri` names it in messages; nothing is read from there."""

    uri: str
    text: str
    version: int = 0

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """Offset of the first code point of each line; lines end at \\n, \\r\\n or \\r only."""
        return line_starts_of(self.text)

    def line_column(self, offset: int) -> tuple[int, int]:
        """1-based line and 0-based column, in code points."""
        if not 0 <= offset <= len(self.text):
            raise ValueError(f"offset {offset} is outside the text of {len(self.text)} code points")
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1]

    def line_text(self, line: int) -> str:
        """The 1-based line without its line ending."""
        start = self.line_starts[line - 1]
        end = self.line_starts[line] if line < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


def line_starts_of(text: str) -> tuple[int, ...]:
    """Line starts by the three line endings that Python source and LSP share."""
    starts = [0]
    for index, char in enumerate(text):
        if char == "\n" or (char == "\r" and text[index + 1 : index + 2] != "\n"):
            starts.append(index + 1)
    return tuple(starts)
