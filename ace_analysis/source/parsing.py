"""One place that calls tree-sitter: text in, nodes with code-point offsets out.

tree-sitter counts UTF-8 bytes and never fails: broken syntax becomes ERROR nodes inside a whole tree.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import tree_sitter_python
from tree_sitter import Language, Node, Parser

from ace_analysis.source.document import TextSpan

_PYTHON = Language(tree_sitter_python.language())
_LONE_CR = re.compile(r"\r(?!\n)")


@dataclass(frozen=True, slots=True, eq=False)
class ParsedText:
    """A text with its syntax tree."""

    text: str
    root: Node
    offset_of: Callable[[int], int]

    def span(self, node: Node) -> TextSpan:
        """The node's place in code points."""
        return TextSpan(self.offset_of(node.start_byte), self.offset_of(node.end_byte))

    def source(self, node: Node) -> str:
        """The node's own text."""
        return self.text[self.offset_of(node.start_byte) : self.offset_of(node.end_byte)]


@lru_cache(maxsize=16)
def parse(text: str) -> ParsedText:
    """Parse Python. A lone surrogate is read as U+FFFD, a lone \\r as \\n; offsets stay those of the text."""
    read = _LONE_CR.sub("\n", text) if "\r" in text else text
    if text.isascii():
        return ParsedText(text, Parser(_PYTHON).parse(read.encode()).root_node, lambda byte: byte)
    data, widths = _utf8(read)
    table = [0] * (len(data) + 1)
    start = 0
    for index, end in enumerate(accumulate(widths)):
        table[start:end] = [index] * (end - start)
        start = end
    table[len(data)] = len(text)
    return ParsedText(text, Parser(_PYTHON).parse(data).root_node, table.__getitem__)


def _utf8(text: str) -> tuple[bytes, list[int]]:
    pieces = [(char if not "\ud800" <= char <= "\udfff" else "\ufffd").encode() for char in text]
    return b"".join(pieces), [len(piece) for piece in pieces]


def descendants(node: Node, *, skip: frozenset[str] = frozenset()) -> Iterator[Node]:
    """All nodes below and including `node`, in source order, without entering those of a `skip` type.

    Iterative, because generated code nests deeper than Python recurses.
    """
    stack = [node]
    while stack:
        current = stack.pop()
        if current.type in skip:
            continue
        yield current
        stack.extend(reversed(current.children))
