"""The smallest part of a scope that is worth writing anew: an expression, a line, a statement or a block.

Less to write is less to get wrong, and what is around it is what the model writes it from. A line that is
part of a longer simple statement brings the statement with it: half of one seldom makes sense alone.
"""

from dataclasses import dataclass
from enum import StrEnum

from ace_analysis.errors import InputError
from ace_analysis.source.document import TextSpan, line_starts_of
from ace_analysis.source.mutation.tree import CodeNode, CodeTree
from ace_analysis.steering.edits import EXPRESSIONS


class Level(StrEnum):
    EXPRESSION = "expression"
    LINE = "line"
    STATEMENT = "statement"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Region:
    """What is replaced, in the scope's code points, without the indentation in front and the line's end."""

    span: TextSpan
    level: Level

    def source(self, text: str) -> str:
        return text[self.span.start : self.span.end]


_COMPOUND = frozenset(
    {"if_statement", "for_statement", "while_statement", "try_statement", "with_statement", "match_statement"}
    | {"function_definition", "class_definition", "elif_clause", "else_clause", "except_clause"}
    | {"finally_clause", "decorated_definition"}
)


def region_of(text: str, span: TextSpan, level: Level | None = None) -> Region:
    """The smallest region that holds the span; by default its line, or the statement that goes on over it.

    Raises:
        InputError: the span is outside the text, or on nothing but white space, or, but for a block, a
            comment or a docstring.
    """
    if span.end > len(text):
        raise InputError(f"expected a span within {len(text)} code points, got {span.start}..{span.end}")
    lines = _lines_of(text, span)
    if not len(lines):
        raise InputError("expected a place with code on it, got an empty line; name another line")
    nodes = _around(text, TextSpan(max(span.start, lines.start), max(min(span.end, lines.end), lines.start)))
    if level is not Level.BLOCK:
        _check_code(text, lines)
    if level is Level.EXPRESSION:
        found = next((node for node in nodes if node.type in EXPRESSIONS), None)
        if found is not None:
            return Region(TextSpan(found.start, found.end), level)
    if level is Level.BLOCK:
        found = next((node for node in nodes if node.type in _COMPOUND), None)
        if found is not None:
            return Region(TextSpan(found.start, found.end), level)
    whole = next((node for node in _around(text, lines) if _is_simple(node)), None)
    if level is not Level.LINE and whole is not None and "\n" in text[whole.start : whole.end]:
        return Region(TextSpan(whole.start, whole.end), Level.STATEMENT)
    if "\n" in text[lines.start : lines.end]:
        return Region(lines, Level.BLOCK)
    return Region(lines, Level.LINE)


def _check_code(text: str, lines: TextSpan) -> None:
    """Comments and docstrings say nothing that a test or an error score could tell right from wrong."""
    kinds = [node.type for node in _around(text, lines)]
    is_docstring = "string" in kinds and kinds[kinds.index("string") + 1] == "expression_statement"
    if kinds[0] == "comment" or is_docstring:
        kind = "a docstring" if is_docstring else "a comment"
        raise InputError(f"expected a place with code on it, got {kind}; name another line")


def _lines_of(text: str, span: TextSpan) -> TextSpan:
    """The lines that a span touches, from the first one's indentation on; empty where they are blank."""
    starts = line_starts_of(text)
    first = max(start for start in starts if start <= span.start)
    last = max(span.start, span.end - 1)
    behind = next((start for start in starts if start > last), len(text))
    content = text[first:behind]
    stripped = content.strip()
    start = first + len(content) - len(content.lstrip())
    return TextSpan(start, start + len(stripped))


def _around(text: str, span: TextSpan) -> list[CodeNode]:
    """The nodes that hold a span, innermost first."""
    node, found = CodeTree(text).root, []
    while True:
        found.append(node)
        inner = next(
            (each for each in node.children if each.start <= span.start and span.end <= each.end), None
        )
        if inner is None:
            return found[::-1]
        node = inner


def _is_simple(node: CodeNode) -> bool:
    return node.type.endswith("_statement") and node.type not in _COMPOUND
