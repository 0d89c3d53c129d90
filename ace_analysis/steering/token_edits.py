"""Edits of one token: an operator, a number, a constant, a name."""

from collections.abc import Callable, Iterator

from ace_analysis.source.mutation.tree import CodeNode
from ace_analysis.steering.edits import EditKind, LineEdit, LineTree

_ORDERS = ("<", "<=", ">", ">=", "==", "!=")
_COMPARISONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_ORDERS, _ORDERS),
    "in": ("not in",),
    "not in": ("in",),
    "is": ("is not", "=="),
    "is not": ("is", "!="),
}
_ARITHMETIC = ("+", "-", "*", "/", "//", "%", "**")
_BITWISE = ("&", "|", "^", "<<", ">>")
_CONSTANTS = ("True", "False", "None")
_TEXTS = ("''", "' '", '""', '" "')
_FUNCTION_SETS = (
    ("any", "all"),
    ("min", "max", "sum", "len"),
    ("sorted", "reversed", "list", "set", "tuple"),
    ("int", "float", "str", "round", "abs", "type", "len"),
    ("ord", "chr"),
    ("filter", "map"),
    ("range", "enumerate", "len"),
)
_METHOD_SETS = (
    ("append", "extend", "add", "update", "insert"),
    ("appendleft", "append"),
    ("pop", "popleft", "remove"),
    ("startswith", "endswith"),
    ("lstrip", "rstrip", "strip"),
    ("upper", "lower", "isupper", "islower"),
    ("keys", "values", "items"),
    ("union", "intersection", "difference"),
    ("issubset", "issuperset"),
    ("find", "index", "rfind", "count"),
    ("heappush", "heappop", "heapify", "heappushpop"),
    ("nlargest", "nsmallest"),
    ("ceil", "floor", "sqrt"),
    ("bisect_left", "bisect_right", "bisect"),
    ("left", "right"),
    ("match", "search", "fullmatch", "findall"),
)
_MOST_DIGITS = 6
_JUMPS = ("break", "continue", "return", "pass")


def comparisons(line: LineTree) -> Iterator[LineEdit]:
    """Another comparison."""
    for node in line.all_of("comparison_operator"):
        for sign in node.children:
            if sign.role == "operators":
                old = " ".join(line.source(sign).split())
                for new in _COMPARISONS.get(old, ()):
                    yield line.replace(EditKind.COMPARISON, sign, new)


def arithmetic(line: LineTree) -> Iterator[LineEdit]:
    """Another arithmetic operator, in place or not; an assignment that adds, or no longer does."""
    for node in line.all_of("binary_operator", "augmented_assignment"):
        sign = node.child("operator")
        if sign is None:
            continue
        old = line.source(sign)
        tail = "=" if node.type == "augmented_assignment" else ""
        family = _BITWISE if old.removesuffix("=") in _BITWISE else _ARITHMETIC
        for new in family:
            yield line.replace(EditKind.ARITHMETIC, sign, new + tail)
        if tail:
            yield line.replace(EditKind.STATEMENT, sign, "=")
    for node in line.all_of("assignment"):
        left = node.child("left")
        equals = next((child for child in node.children if child.type == "="), None)
        if equals is not None and left is not None and left.type in ("identifier", "subscript", "attribute"):
            for new in ("+=", "-=", "*="):
                yield line.replace(EditKind.STATEMENT, equals, new)


def booleans(line: LineTree) -> Iterator[LineEdit]:
    """`and` for `or`, and back."""
    for node in line.all_of("boolean_operator"):
        sign = node.child("operator")
        if sign is not None:
            yield line.replace(EditKind.BOOLEAN, sign, "or" if line.source(sign) == "and" else "and")


def constants(line: LineTree) -> Iterator[LineEdit]:
    """Another number near it or used elsewhere, another constant, another short text."""
    for node in line.all_of("integer"):
        text = line.source(node)
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            continue
        near = [str(int(text) + step) for step in (1, -1)]
        for new in near:
            yield line.replace(EditKind.OFF_BY_ONE, node, new)
        for new in dict.fromkeys((*line.numbers, "0", "1", "2")):
            if new not in near:
                yield line.replace(EditKind.CONSTANT, node, new)
    for node in line.all_of("unary_operator"):
        text = line.source(node)
        if text[1:].isdecimal() and len(text) <= _MOST_DIGITS:
            for new in (1 - int(text[1:]), -1 - int(text[1:])):
                yield line.replace(EditKind.OFF_BY_ONE, node, str(new))
    for node in line.all_of("true", "false", "none"):
        for new in _CONSTANTS:
            yield line.replace(EditKind.CONSTANT, node, new)
    for node in line.all_of("string"):
        for new in (*line.strings, *_TEXTS):
            yield line.replace(EditKind.CONSTANT, node, new)


def names(line: LineTree) -> Iterator[LineEdit]:
    """Another name that the text knows, in place of a name."""
    for node in line.all_of("identifier"):
        holder = node.parent
        if holder is None:
            continue
        place = (holder.type, node.role)
        if place == ("call", "function"):
            yield from _others(line, node, EditKind.FUNCTION, _FUNCTION_SETS, line.functions)
        elif place == ("attribute", "attribute"):
            known = line.methods if holder.role == "function" else line.attributes
            yield from _others(line, node, EditKind.ATTRIBUTE, _METHOD_SETS, known)
        elif place not in {("keyword_argument", "name"), ("function_definition", "name")}:
            for name in line.variables:
                yield line.replace(EditKind.NAME, node, name)


def _others(
    line: LineTree,
    node: CodeNode,
    kind: EditKind,
    sets: tuple[tuple[str, ...], ...],
    known: tuple[str, ...],
) -> Iterator[LineEdit]:
    old = line.source(node)
    likely = (name for family in sets if old in family for name in family)
    for name in dict.fromkeys((*likely, *known)):
        yield line.replace(kind, node, name)


def keywords(line: LineTree) -> Iterator[LineEdit]:
    """Another statement: a jump for a jump, `while` for `if`, `yield` for `return`."""
    for node in line.all_of("break_statement", "continue_statement", "pass_statement"):
        for new in _JUMPS:
            yield line.replace(EditKind.STATEMENT, node, new)
    other = {"if": ("while", "elif"), "elif": ("if",), "while": ("if",), "return": ("yield", "yield from")}
    for node in line.nodes:
        if node.type in other and node.start == line.line.start:
            for new in other[node.type]:
                yield line.replace(EditKind.STATEMENT, node, new)
    for node in line.all_of("expression_statement"):
        if node.start == line.line.start and node.children and node.children[0].type != "string":
            yield line.replace(EditKind.STATEMENT, node, f"return {line.source(node)}")
    for node in line.all_of("yield"):
        if node.start == line.line.start and len(node.children) == 2:
            value = line.source(node.children[1])
            for new in (f"yield from {value}", f"return {value}"):
                yield line.replace(EditKind.STATEMENT, node, new)


RULES: tuple[Callable[[LineTree], Iterator[LineEdit]], ...] = (
    comparisons,
    arithmetic,
    booleans,
    constants,
    names,
    keywords,
)
