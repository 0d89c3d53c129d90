"""Which place of a document an offset means, and where in the document a place of a prompt lies.

A prompt is a scope's header and its text, so most of it has one place in the document: the text as it stands,
each line of the header where that line is written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ace_analysis.errors import InputError
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.syntax import Scope, scopes_of


@dataclass(frozen=True)
class Place:
    """An offset of a document and the scope that holds it."""

    document: CodeDocument
    offset: int
    scope: Scope

    @property
    def text(self) -> str:
        """The scope's own text."""
        return self.document.text[self.scope.span.start : self.scope.span.end]

    @property
    def in_prompt(self) -> int:
        """The offset, counted from the start of the prompt."""
        return self.offset - self.scope.span.start + len(self.scope.header)

    def in_document(self, span: TextSpan) -> TextSpan | None:
        """Where a span of the prompt lies in the document; None where it lies nowhere.

        A token that joins the end of the header with the scope's indentation lies in the scope.
        """
        header = len(self.scope.header)
        if span.end > header or not header:
            start = max(span.start, header)
            return TextSpan(start, max(start, span.end)).shifted(self.scope.span.start - header)
        for start, end, at in self._header_lines:
            if start <= span.start < end:
                last = min(span.end, end) - start
                return TextSpan(at + span.start - start, at + max(last, span.start - start))
        return None

    @cached_property
    def _header_lines(self) -> tuple[tuple[int, int, int], ...]:
        """Start and end in the header, and start in the document, of each line that is found there."""
        return tuple(self._found_lines())

    def _found_lines(self) -> Iterator[tuple[int, int, int]]:
        start = 0
        for line in self.scope.header.splitlines(keepends=True):
            bare = line.rstrip("\r\n")
            found = re.search(rf"^[ \t]*{re.escape(bare)}", self.document.text, re.MULTILINE)
            if bare and found is not None:
                yield start, start + len(line), found.end() - len(bare)
            start += len(line)


def place_at(document: CodeDocument, offset: int) -> Place:
    """The scope at an offset.

    Raises:
        InputError: the offset is outside the text, on white space, or on what no scope holds.
    """
    length = len(document)
    if not 0 <= offset < length:
        raise InputError(
            f"expected a place in the text, an offset from 0 to {length - 1}, got {offset}"
            if length
            else "expected a text with a place to explain, got an empty one"
        )
    line, column = document.line_column(offset)
    if document.text[offset].isspace():
        raise InputError(f"expected a place on code, got white space at line {line}, column {column}")
    scope = next((each for each in scopes_of(document.text) if offset in _range(each.span)), None)
    if scope is None:
        raise InputError(
            f"expected a place in a function, a method or a statement, got line {line}, column {column}:"
            " imports, class lines and comments between definitions are read as context only"
        )
    return Place(document, offset, scope)


def _range(span: TextSpan) -> range:
    return range(span.start, span.end)
