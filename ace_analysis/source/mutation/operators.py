"""Mistakes in one operator or one constant."""

import operator
from collections.abc import Callable, Iterator

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
_TRUTH: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
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
_NEUTRAL = {"+": "0", "-": "0", "<<": "0", ">>": "0", "|": "0", "*": "1", "/": "1", "//": "1", "**": "1"}
_SEQUENCES = frozenset(
    {"string", "concatenated_string", "list", "tuple", "list_comprehension", "dictionary", "set"}
)
_DIVISIONS = frozenset({"/", "//", "%"})
_SHIFTS = frozenset({"<<", ">>"})
_MOST_DIGITS = 4


def comparisons(tree: CodeTree) -> Iterator[Edit]:
    """One comparison operator for another."""
    for node in tree.all_of("comparison_operator"):
        for index, child in enumerate(node.children):
            if child.field != "operators":
                continue
            old = " ".join(tree.source(child).split())
            left, right = node.children[index - 1], node.children[index + 1]
            for new in _COMPARISONS.get(old, ()):
                if not _same_comparison(tree, (left, old, right), (old, new)):
                    yield Edit(MutationType.COMPARISON, child.start, child.end, new)


def _same_comparison(tree: CodeTree, parts: tuple[CodeNode, str, CodeNode], change: tuple[str, str]) -> bool:
    """Whether exchanging the operator is known to change nothing."""
    left, _, right = parts
    old, new = change
    texts = (tree.source(left), tree.source(right))
    if old in _TRUTH and same_length_test(texts, old, texts, new):
        return True
    return _BOUNDARY.get(old) == new and _picks_an_extreme(tree, left, right)


def same_length_test(before: tuple[str, str], old: str, after: tuple[str, str], new: str) -> bool:
    """Whether two tests of a length against a number agree for every length that there can be."""
    if before[0].startswith("len(") and before[1].isdecimal() and after[1].lstrip("-").isdecimal():
        first, second = int(before[1]), int(after[1])
        lengths = range(max(first, second) + 3)
        return all(_TRUTH[old](n, first) == _TRUTH[new](n, second) for n in lengths)
    if before[1].startswith("len(") and before[0].isdecimal() and after[0].lstrip("-").isdecimal():
        first, second = int(before[0]), int(after[0])
        lengths = range(max(first, second) + 3)
        return all(_TRUTH[old](first, n) == _TRUTH[new](second, n) for n in lengths)
    return False


def _picks_an_extreme(tree: CodeTree, left: CodeNode, right: CodeNode) -> bool:
    """`if a > b: b = a` or `a if a > b else b`: where the two are equal, either branch gives the same."""
    comparison = left.parent
    holder = comparison.parent if comparison else None
    pair = {tree.source(left), tree.source(right)}
    if holder is None or len(pair) != 2:
        return False
    if holder.type == "conditional_expression" and holder.children[2] is comparison:
        first, second = (tree.source(holder.children[index]) for index in (0, -1))
        return {first, second} == pair or ("0" in pair and first.lstrip("-") == second.lstrip("-"))
    if holder.type != "if_statement" or holder.child("alternative") is not None:
        return False
    block = holder.child("consequence")
    lines = [node for node in block.children if node.type != "comment"] if block else []
    assignment = lines[0].children[0] if len(lines) == 1 and lines[0].children else None
    if assignment is None or assignment.type != "assignment":
        return False
    return {tree.source(assignment.children[0]), tree.source(assignment.children[-1])} == pair


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
            if not _same_arithmetic(tree, (old, new), (left, right)):
                yield Edit(MutationType.ARITHMETIC, sign.start, sign.end, new + tail)


def _makes_text(tree: CodeTree, node: CodeNode) -> bool:
    """Whether any part of a sum is a text or a list, which can't be subtracted: nobody writes that by mistake."""
    if node.type in ("binary_operator", "parenthesized_expression"):
        return any(child.type in _SEQUENCES or _makes_text(tree, child) for child in node.children)
    function = node.child("function") if node.type == "call" else None
    name = tree.source(function).rpartition(".")[2] if function else ""
    return name in {"str", "repr", "join", "list", "tuple", "format", "lower", "upper", "strip", "hex"}


def _same_arithmetic(tree: CodeTree, change: tuple[str, str], sides: tuple[CodeNode, CodeNode]) -> bool:
    left, right = (tree.source(side) for side in sides)
    old, new = change
    if _NEUTRAL.get(old) == right and _NEUTRAL.get(new) == right:
        return True
    if old in "&|" and left == right:
        return True
    return change in {("*", "+"), ("**", "*")} and left == right == "2"


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
        node.field == "value"
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
        if parent.type == "comparison_operator" and _same_bound(tree, node, str(value)):
            continue
        if not _is_step_to_zero(tree, node, value):
            yield str(value)


def _same_bound(tree: CodeTree, node: CodeNode, value: str) -> bool:
    parts = node.parent.children if node.parent else []
    if len(parts) != 3:
        return False
    texts = [tree.source(part) for part in parts]
    changed = [value if part is node else text for part, text in zip(parts, texts, strict=True)]
    sign = texts[1]
    if sign not in _TRUTH:
        return False
    return same_length_test((texts[0], texts[2]), sign, (changed[0], changed[2]), sign)


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
            return inner.field == "subscript"
        if outer.type not in ("slice", "unary_operator", "binary_operator"):
            return False
        inner = outer
    return False


def _is_data(node: CodeNode) -> bool:
    """Whether the number is one of many in a table."""
    parent = node.parent
    return parent is not None and parent.type in ("list", "tuple", "set") and len(parent.children) > 9
