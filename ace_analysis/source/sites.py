"""Candidate sites: the tokens that can be wrong in a program that parses.

Scoring only these is what makes a finding possible: over all tokens, rare names and strings drown every bug.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tree_sitter import Node

from ace_analysis.source.document import TextSpan
from ace_analysis.source.parsing import ParsedText, parse


class SiteKind(StrEnum):
    COMPARISON = "comparison"
    ARITHMETIC = "arithmetic"
    BOOLEAN = "boolean"
    CONSTANT = "constant"
    NUMBER = "number"
    NAME = "name"
    ATTRIBUTE = "attribute"
    KEYWORD = "keyword"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class CandidateSite:
    """One token that may be wrong. `text` is what stands there."""

    span: TextSpan
    kind: SiteKind
    text: str


_COMPARISONS = frozenset({"<", ">", "<=", ">=", "==", "!=", "is", "in", "is not", "not in"})
_ARITHMETIC = frozenset(
    {"+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"}
    | {"+=", "-=", "*=", "/=", "//=", "%=", "**=", "&=", "|=", "^=", "<<=", ">>="}
)
_STATEMENTS = frozenset(
    {"if", "elif", "while", "for", "return", "raise", "with", "assert", "del", "break", "continue"}
)
_SKIPPED = frozenset(
    {"type", "decorator", "import_statement", "import_from_statement", "future_import_statement", "comment"}
    | {"string_content", "string_start", "string_end", "ERROR", "case_pattern", "as_pattern_target"}
)
_BINDING = {
    "parameters",
    "lambda_parameters",
    "default_parameter",
    "typed_parameter",
    "typed_default_parameter",
}
_STARRED = frozenset({"list_splat", "dictionary_splat", "list_splat_pattern", "dictionary_splat_pattern"})
_SELF = frozenset({"self", "cls"})
_LONGEST_NUMBER = 6


def candidate_sites(text: str, span: TextSpan | None = None) -> tuple[CandidateSite, ...]:
    """The candidate sites of `text`, or of one `span` of it (a scope's), in source order.

    A span is parsed alone, so that its sites depend on nothing else. What binds names holds none (parameters,
    targets, imports, patterns), nor do decorators, annotations, comments and strings; code in f-strings does.
    """
    part = text if span is None else text[span.start : span.end]
    shift = 0 if span is None else span.start
    tree = parse(part)
    return tuple(
        CandidateSite(TextSpan(start + shift, end + shift), kind, part[start:end])
        for start, end, kind in _sites(tree)
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A node with the way to it: asking a node for its parent walks down from the root each time."""

    node: Node
    field: str
    above: "_Place | None"

    @property
    def type_above(self) -> str:
        return self.above.node.type if self.above else ""


def _sites(tree: ParsedText) -> Iterator[tuple[int, int, SiteKind]]:
    stack = [_Place(tree.root, "", None)]
    while stack:
        place = stack.pop()
        node = place.node
        if node.type in _SKIPPED or node.is_missing:
            continue
        kind = _kind(tree, place)
        if kind is not None:
            span = tree.span(node)
            if len(span):
                yield span.start, span.end, kind
        if kind is None or node.type not in _COMPARISONS:
            children = enumerate(node.children)
            below = [_Place(child, node.field_name_for_child(at) or "", place) for at, child in children]
            stack.extend(reversed(below))


def _kind(tree: ParsedText, place: _Place) -> SiteKind | None:
    node, above = place.node, place.type_above
    if node.type == "identifier":
        return _kind_of_identifier(tree.source(node), place)
    if node.type in ("integer", "float"):
        return SiteKind.NUMBER if node.end_byte - node.start_byte <= _LONGEST_NUMBER else None
    if node.type in ("true", "false", "none"):
        return SiteKind.CONSTANT
    if node.type in ("and", "or", "not"):
        return SiteKind.BOOLEAN
    if node.type in _COMPARISONS:
        return SiteKind.COMPARISON if above == "comparison_operator" else None
    if node.type in _ARITHMETIC:
        return SiteKind.ARITHMETIC if above not in _STARRED and place.field == "operator" else None
    return SiteKind.STATEMENT if node.type in _STATEMENTS and _starts(place) else None


def _starts(place: _Place) -> bool:
    if place.above is None or not place.type_above.endswith(("_statement", "_clause")):
        return False
    parent = place.above.node
    first = parent.child(0)
    return (parent.child(1) if first.type == "async" else first) == place.node


def _kind_of_identifier(name: str, place: _Place) -> SiteKind | None:
    above, field = place.type_above, place.field
    if above == "attribute" and field == "attribute":
        return None if place.above is None or _is_target(place.above) else SiteKind.ATTRIBUTE
    if above == "keyword_argument" and field == "name":
        return SiteKind.KEYWORD
    if name in _SELF or (above in _BINDING and field != "value"):
        return None
    if above in ("function_definition", "class_definition", "named_expression") and field == "name":
        return None
    if above in ("global_statement", "nonlocal_statement", "as_pattern_target", "dictionary_splat_pattern"):
        return None
    return None if _binds(above, field) else SiteKind.NAME


def _binds(above: str, field: str) -> bool:
    """Whether an identifier in this place is stored to, not loaded."""
    if above in ("assignment", "for_statement", "for_in_clause") and field == "left":
        return True
    return above in ("pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern")


def _is_target(attribute: _Place) -> bool:
    above = attribute.type_above
    return above == "pattern_list" or (above == "assignment" and attribute.field == "left")
