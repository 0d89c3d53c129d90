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


def _sites(tree: ParsedText) -> Iterator[tuple[int, int, SiteKind]]:
    stack: list[tuple[Node, str]] = [(tree.root, "")]
    while stack:
        node, field = stack.pop()
        if node.type in _SKIPPED or node.is_missing:
            continue
        kind = _kind(tree, node, field)
        if kind is not None:
            place = tree.span(node)
            if len(place):
                yield place.start, place.end, kind
        if kind is None or node.type not in _COMPARISONS:
            children = node.children
            fields = [node.field_name_for_child(index) or "" for index in range(len(children))]
            stack.extend(reversed(list(zip(children, fields, strict=True))))


def _kind(tree: ParsedText, node: Node, field: str) -> SiteKind | None:
    parent = node.parent
    above = parent.type if parent else ""
    if node.type == "identifier":
        return _kind_of_identifier(tree.source(node), above, field, parent)
    if node.type in ("integer", "float"):
        return SiteKind.NUMBER if node.end_byte - node.start_byte <= _LONGEST_NUMBER else None
    if node.type in ("true", "false", "none"):
        return SiteKind.CONSTANT
    if node.type in ("and", "or", "not"):
        return SiteKind.BOOLEAN
    if node.type in _COMPARISONS:
        return SiteKind.COMPARISON if above == "comparison_operator" else None
    if node.type in _ARITHMETIC:
        return SiteKind.ARITHMETIC if above not in _STARRED and field == "operator" else None
    return SiteKind.STATEMENT if node.type in _STATEMENTS and _starts(node, parent) else None


def _starts(node: Node, parent: Node | None) -> bool:
    if parent is None or not parent.type.endswith(("_statement", "_clause")):
        return False
    first = parent.children[0]
    return first == node or (first.type == "async" and parent.children[1] == node)


def _kind_of_identifier(name: str, above: str, field: str, parent: Node | None) -> SiteKind | None:
    if above == "attribute" and field == "attribute":
        return SiteKind.ATTRIBUTE if parent is not None and not _is_target(parent) else None
    if above == "keyword_argument" and field == "name":
        return SiteKind.KEYWORD
    if name in _SELF or (above in _BINDING and field != "value"):
        return None
    if above in ("function_definition", "class_definition", "named_expression") and field == "name":
        return None
    if above in ("global_statement", "nonlocal_statement", "as_pattern_target", "dictionary_splat_pattern"):
        return None
    return None if parent is not None and _binds(above, field, parent) else SiteKind.NAME


def _binds(above: str, field: str, parent: Node) -> bool:
    """Whether an identifier below `parent` is stored to, not loaded."""
    if above in ("assignment", "for_statement", "for_in_clause") and field == "left":
        return True
    return above in ("pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern")


def _is_target(attribute: Node) -> bool:
    parent = attribute.parent
    if parent is None:
        return False
    first = parent.child_by_field_name("left")
    return parent.type == "pattern_list" or (parent.type == "assignment" and first == attribute)
