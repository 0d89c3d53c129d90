"""Mistakes in one operator or one constant."""

from collections.abc import Iterator

from ace_analysis.source.mutation.equivalence import (
    is_same_arithmetic,
    is_same_comparison,
    is_same_length_test,
)
from ace_analysis.source.mutation.pair import Edit, MutationType
from ace_analysis.source.mutation.tree import CodeNode, CodeTree

_COMPARISONS = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "in": ("not in",),
    "not in": ("in",),
    "is": ("is not",),
    "is not": ("is",),
}
_ARITHMETIC = {
    "+": ("-",),
    "-": ("+",),
    "*": ("+", "/"),
    "/": ("*", "//"),
    "//": ("/", "%"),
    "%": ("//",),
    "**": ("*",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("&",),
}
_SEQUENCES = frozenset(
    {"string", "concatenated_string", "list", "tuple", "list_comprehension", "dictionary", "set"}
)
_DIVISIONS = frozenset({"/", "//", "%"})
_SHIFTS = frozenset({"<<", ">>"})
_MOST_DIGITS = 4


def comparisons(tree: CodeTree) -> Iterator[Edit]:
    """One comparison operator for another."""
    for node in tree.all_of("comparison_operator"):
        for sign in node.children:
            old = " ".join(tree.source(sign).split()) if sign.role == "operators" else ""
            for new in _COMPARISONS.get(old, ()):
                if not is_same_comparison(tree, sign, new):
                    yield Edit(MutationType.COMPARISON, sign.start, sign.end, new)


def arithmetic(tree: CodeTree) -> Iterator[Edit]:
    """One arithmetic operator for another, in place or not."""
    for node in tree.all_of("binary_operator", "augmented_assignment"):
        sign, left, right = node.child("operator"), node.child("left"), node.child("right")
        if sign is None or left is None or right is None:
            continue
        if any(side.type in _SEQUENCES or _makes_text(tree, side) for side in (left, right)):
            continue
        old = tree.source(sign).removesuffix("=")
        tail = "=" if node.type == "augmented_assignment" else ""
        for new in _ARITHMETIC.get(old, ()):
            if not is_same_arithmetic(tree, node, (old, new)):
                yield Edit(MutationType.ARITHMETIC, sign.start, sign.end, new + tail)


def _makes_text(tree: CodeTree, node: CodeNode) -> bool:
    """Whether any part of a sum is a text or a list, which nobody subtracts by mistake."""
    if node.type in ("binary_operator", "parenthesized_expression"):
        return any(child.type in _SEQUENCES or _makes_text(tree, child) for child in node.children)
    function = node.child("function") if node.type == "call" else None
    name = tree.source(function).rpartition(".")[2] if function else ""
    return name in {"str", "repr", "join", "list", "tuple", "format", "lower", "upper", "strip", "hex"}


def booleans(tree: CodeTree) -> Iterator[Edit]:
    """`and` for `or`, `True` for `False`, and back."""
    for node in tree.all_of("boolean_operator"):
        sign, left, right = node.child("operator"), node.child("left"), node.child("right")
        if sign and left and right and tree.source(left) != tree.source(right):
            yield Edit(
                MutationType.BOOLEAN, sign.start, sign.end, "or" if tree.source(sign) == "and" else "and"
            )
    for node in tree.all_of("true", "false"):
        if not is_default(node):
            yield Edit(MutationType.BOOLEAN, node.start, node.end, opposite(node))


def opposite(node: CodeNode) -> str:
    return "False" if node.type == "true" else "True"


def is_default(node: CodeNode) -> bool:
    """Whether the node is the default value of a parameter."""
    return (
        node.role == "value"
        and node.parent is not None
        and node.parent.type in ("default_parameter", "typed_default_parameter")
    )


def off_by_ones(tree: CodeTree) -> Iterator[Edit]:
    """An integer one too high or too low. Those in subscripts and default values have types of their own."""
    for node in tree.all_of("integer"):
        if not (is_default(node) or _is_in_subscript(node) or _is_data(node)):
            for value in neighbours(tree, node):
                yield Edit(MutationType.OFF_BY_ONE, node.start, node.end, value)


def neighbours(tree: CodeTree, node: CodeNode) -> Iterator[str]:
    """The integers next to this one that are no crash for certain and no other way to say the same."""
    text = tree.source(node)
    parent = node.parent
    if not text.isdecimal() or len(text) > _MOST_DIGITS or parent is None:
        return
    sign = parent.child("operator")
    operation = tree.source(sign).removesuffix("=") if sign else ""
    for value in (int(text) + 1, int(text) - 1):
        if value < 0 and (operation or parent.type in ("slice", "keyword_argument")):
            continue
        if value == 0 and (operation in _DIVISIONS or (operation == "-" and parent.type == "unary_operator")):
            continue
        if operation in _SHIFTS and value < 0:
            continue
        if is_same_length_test(tree, parent, node, str(value)):
            continue
        if not _is_step_to_zero(tree, node, value):
            yield str(value)


def _is_step_to_zero(tree: CodeTree, node: CodeNode, value: int) -> bool:
    """`range(a, b, 1)` with a step of 0 raises."""
    arguments = node.parent
    if value != 0 or arguments is None or arguments.type != "argument_list" or arguments.parent is None:
        return False
    function = arguments.parent.child("function")
    values = [child for child in arguments.children if child.type not in ("(", ")", ",")]
    return (
        function is not None and tree.source(function) == "range" and len(values) == 3 and values[2] is node
    )


def _is_in_subscript(node: CodeNode) -> bool:
    inner = node
    for outer in node.above():
        if outer.type == "subscript":
            return inner.role == "subscript"
        if outer.type not in ("slice", "unary_operator", "binary_operator"):
            return False
        inner = outer
    return False


def _is_data(node: CodeNode) -> bool:
    """Whether the number is one of many in a table."""
    parent = node.parent
    return parent is not None and parent.type in ("list", "tuple", "set") and len(parent.children) > 9
