"""What an edit of a line is, and the line's syntax tree with the names that may be written there."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from ace_analysis.errors import InputError
from ace_analysis.source.document import TextSpan
from ace_analysis.source.mutation.tree import CodeNode, CodeTree

EXPRESSIONS = frozenset(
    {"identifier", "attribute", "call", "subscript", "binary_operator", "unary_operator", "integer", "float"}
    | {"string", "true", "false", "none", "list", "tuple", "dictionary", "set", "list_comprehension"}
    | {"boolean_operator", "comparison_operator", "not_operator", "conditional_expression"}
    | {"parenthesized_expression", "generator_expression", "expression_list"}
)
MARKS = frozenset({"(", ")", "[", "]", "{", "}", ",", ":", "comment", "if", "else", "for", "in"})
_DEFINITIONS = frozenset({("function_definition", "name"), ("class_definition", "name")})
_NO_VARIABLES = frozenset({("attribute", "attribute"), ("keyword_argument", "name"), ("call", "function")})


class EditKind(StrEnum):
    """What an edit does; the ranking has a prior for each."""

    COMPARISON = "comparison"
    ARITHMETIC = "arithmetic"
    BOOLEAN = "boolean"
    CONSTANT = "constant"
    NAME = "name"
    FUNCTION = "function"
    ATTRIBUTE = "attribute"
    SWAP = "swap"
    OFF_BY_ONE = "off_by_one"
    TERM = "term"
    UNWRAP = "unwrap"
    WRAP = "wrap"
    CONDITION = "condition"
    SLICE = "slice"
    REPLACE = "replace"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class LineEdit:
    """Replace the code points `start..end` of a text by `replacement`, all on one line."""

    kind: EditKind
    start: int
    end: int
    replacement: str

    def applied_to(self, text: str) -> str:
        return text[: self.start] + self.replacement + text[self.end :]


class LineTree:
    """The nodes of one line of a text, and the names, functions and attributes that the text uses."""

    def __init__(self, text: str, line: TextSpan) -> None:
        self.tree = CodeTree(text)
        self.text = text
        self.line = line
        self.nodes = [
            node
            for node in self.tree.root.below()
            if line.start <= node.start < node.end <= line.end and node.parent is not None
        ]

    def source(self, node: CodeNode) -> str:
        return self.tree.source(node)

    def all_of(self, *types: str) -> Iterator[CodeNode]:
        return (node for node in self.nodes if node.type in types)

    @cached_property
    def expressions(self) -> list[CodeNode]:
        """The values on the line, callees and names of attributes and keywords left out."""
        return [
            node
            for node in self.nodes
            if node.type in EXPRESSIONS
            and (node.parent.type if node.parent else "", node.role) not in _NO_VARIABLES
        ]

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names that the text binds or reads, the most frequent first; what is only called is not there."""
        counts: dict[str, int] = {}
        for node in self.tree.root.below():
            if node.type == "identifier" and _place(node) not in _NO_VARIABLES | _DEFINITIONS:
                name = self.source(node)
                counts[name] = counts.get(name, 0) + 1
        names = (name for name in counts if name not in ("self", "cls", "_"))
        return tuple(sorted(names, key=lambda name: (-counts[name], name)))

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """What the text calls by a plain name."""
        calls = (node.child("function") for node in self.tree.all_of("call"))
        return tuple(dict.fromkeys(self.source(n) for n in calls if n is not None and n.type == "identifier"))

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of attributes that the text reads; method names are in `methods`."""
        return tuple(dict.fromkeys(self._attribute_names(called=False)))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._attribute_names(called=True)))

    def _attribute_names(self, *, called: bool) -> Iterator[str]:
        for node in self.tree.all_of("attribute"):
            name = node.child("attribute")
            if name is not None and (node.role == "function") == called:
                yield self.source(name)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.source(node) for node in self.tree.all_of("integer")))

    @cached_property
    def strings(self) -> tuple[str, ...]:
        found = dict.fromkeys(self.source(node) for node in self.tree.all_of("string"))
        return tuple(text for text in found if len(text) <= 12 and "\n" not in text)

    @cached_property
    def is_tight(self) -> bool:
        """Whether operators on this line stand without spaces around them."""
        signs = [
            (node, node.parent)
            for node in self.nodes
            if node.role == "operator" and node.parent is not None and node.parent.type == "binary_operator"
        ]
        return bool(signs) and not any(self.text[node.start - 1] == " " for node, _ in signs)

    def replace(self, kind: EditKind, node: CodeNode, replacement: str) -> LineEdit:
        return LineEdit(kind, node.start, node.end, replacement)

    def sign(self, operator: str) -> str:
        return operator if self.is_tight else f" {operator} "


def _place(node: CodeNode) -> tuple[str, str]:
    return (node.parent.type if node.parent else "", node.role)


def line_span(text: str, line: int) -> TextSpan:
    """The code points of a line (0-based) without its indentation and its end.

    Raises InputError for a line that the text does not have.
    """
    lines = text.split("\n")
    if not 0 <= line < len(lines):
        raise InputError(f"expected a line of 0..{len(lines) - 1}, got {line}; lines are counted from 0")
    start = sum(len(each) + 1 for each in lines[:line])
    content = lines[line].rstrip("\r")
    first = start + len(content) - len(content.lstrip())
    return TextSpan(first, max(first, start + len(content.rstrip())))
