"""Changes that are known to change nothing, and so plant no bug.

Whether two programs do the same can't be decided; these are the patterns that are common enough to matter.
"""

import operator
from collections.abc import Callable

from ace_analysis.source.mutation.tree import CodeNode, CodeTree

_TRUTH: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_NEUTRAL = {"+": "0", "-": "0", "<<": "0", ">>": "0", "|": "0", "*": "1", "/": "1", "//": "1", "**": "1"}
_ROUNDED = ("int", "floor", "math.floor", "trunc", "math.trunc")


def is_same_comparison(tree: CodeTree, sign: CodeNode, new: str) -> bool:
    """Whether another comparison operator gives the same: a length, or the larger of two."""
    comparison = sign.parent
    if comparison is None or len(comparison.children) != 3:
        return False
    old = tree.source(sign)
    if is_same_length_test(tree, comparison, sign, new):
        return True
    return _BOUNDARY.get(old) == new and _picks_an_extreme(tree, comparison)


def is_same_length_test(tree: CodeTree, comparison: CodeNode, changed: CodeNode, text: str) -> bool:
    """Whether `len(x) < 1` and the like still say the same of every length when `changed` reads `text`."""
    if comparison.type != "comparison_operator" or len(comparison.children) != 3:
        return False
    left, sign, right = comparison.children
    call, number = (left, right) if left.type == "call" else (right, left)
    function = call.child("function") if call.type == "call" else None
    if function is None or tree.source(function) != "len" or number.type != "integer":
        return False
    before = (tree.source(sign), tree.source(number))
    after = (text if changed is sign else before[0], text if changed is number else before[1])
    if not {before[0], after[0]} <= _TRUTH.keys() or not before[1].isdecimal():
        return False
    most = max(int(before[1]), int(after[1])) + 3
    return all(
        _holds(before, length, call is left) == _holds(after, length, call is left) for length in range(most)
    )


def _holds(test: tuple[str, str], length: int, length_first: bool) -> bool:
    sign, number = test
    return _TRUTH[sign](length, int(number)) if length_first else _TRUTH[sign](int(number), length)


def _picks_an_extreme(tree: CodeTree, comparison: CodeNode) -> bool:
    """`if a > b: b = a`, `a if a > b else b` and longer forms: if the two are equal, so are both branches."""
    holder = comparison.parent
    while holder is not None and holder.type == "parenthesized_expression":
        comparison, holder = holder, holder.parent
    inner = next((node for node in comparison.below() if node.type == "comparison_operator"), comparison)
    pair = {tree.source(inner.children[0]), tree.source(inner.children[-1])}
    if holder is None or len(pair) != 2:
        return False
    if holder.type == "conditional_expression" and holder.children[2] is comparison:
        first, second = (tree.source(holder.children[index]) for index in (0, -1))
        return {first, second} == pair or ("0" in pair and first.lstrip("-") == second.lstrip("-"))
    if holder.type != "if_statement" or holder.child("condition") is not comparison:
        return False
    first, second = _only_statement(holder.child("consequence")), _otherwise(holder)
    if first is None:
        return False
    if second is None:
        return first.type == "assignment" and {tree.source(n) for n in _ends(first)} == pair
    values = {tree.source(first.children[-1]), tree.source(second.children[-1])}
    heads = tree.source(first.children[0]), tree.source(second.children[0])
    return first.type == second.type and heads[0] == heads[1] and values == pair


def _otherwise(holder: CodeNode) -> CodeNode | None:
    """What is done if the condition fails: the one statement of `else`, or a return that follows a return."""
    alternative = holder.child("alternative")
    if alternative is not None:
        return _only_statement(alternative.child("body"))
    first = _only_statement(holder.child("consequence"))
    if first is None or first.type != "return_statement" or holder.parent is None:
        return None
    following = [child for child in holder.parent.children if child.start >= holder.end]
    return following[0] if following and following[0].type == "return_statement" else None


def _only_statement(block: CodeNode | None) -> CodeNode | None:
    """The assignment or return that is all there is in a block."""
    lines = [node for node in block.children if node.type != "comment"] if block else []
    if len(lines) != 1:
        return None
    line = lines[0].children[0] if lines[0].type == "expression_statement" else lines[0]
    return line if line.type in ("assignment", "return_statement") and len(line.children) > 1 else None


def _ends(node: CodeNode) -> tuple[CodeNode, CodeNode]:
    return node.children[0], node.children[-1]


def is_same_arithmetic(tree: CodeTree, node: CodeNode, change: tuple[str, str]) -> bool:
    """Whether another operator gives the same number: `x + 0`, `x & x`, `2 * 2`, `int(x / y)`."""
    left, right = (tree.source(side) for side in _ends(node))
    old, new = change
    if _NEUTRAL.get(old) == right and _NEUTRAL.get(new) == right:
        return True
    if old in "&|" and left == right:
        return True
    if change == ("/", "//") and _is_rounded(tree, node):
        return True
    return change in {("*", "+"), ("**", "*")} and left == right == "2"


def _is_rounded(tree: CodeTree, node: CodeNode) -> bool:
    call = node.parent.parent if node.parent and node.parent.type == "argument_list" else None
    function = call.child("function") if call else None
    return function is not None and tree.source(function) in _ROUNDED
