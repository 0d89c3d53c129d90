"""Mistakes in a condition, a return, a guard or an index."""

from collections.abc import Iterator

from ace_analysis.source.document import TextSpan
from ace_analysis.source.mutation.operators import neighbours
from ace_analysis.source.mutation.pair import Edit, MutationType
from ace_analysis.source.mutation.tree import CodeNode, CodeTree

_CONDITIONED = ("if_statement", "elif_clause", "while_statement")
_EXITS = frozenset({"return_statement", "raise_statement", "continue_statement", "break_statement"})
_NEGATABLE = frozenset({"identifier", "attribute", "call", "subscript"})
_INDEX_NAMES = frozenset(
    {"i", "j", "k", "n", "m", "idx", "index", "pos", "position", "offset", "start", "end", "stop", "lo", "hi"}
    | {"low", "high", "left", "right", "mid", "size", "length", "count"}
)
_SAME_WITHOUT = frozenset({"none", "false"})
_LONGEST_GUARD = 3


def missing_nots(tree: CodeTree) -> Iterator[Edit]:
    """A `not` that is missing, or one too many."""
    for node in tree.all_of("not_operator"):
        argument = node.child("argument")
        if argument is not None:
            yield _without_not(tree, node, argument)
    for condition in _conditions(tree):
        if condition.type in _NEGATABLE:
            text = f"not {tree.source(condition)}"
            yield Edit(MutationType.MISSING_NOT, condition.start, condition.end, text)


def _without_not(tree: CodeTree, node: CodeNode, argument: CodeNode) -> Edit:
    parent = node.parent
    keyword = parent.children[0] if parent and parent.children else node
    starts_statement = keyword.end == keyword.start + len(keyword.type) and keyword.start in tree.sites
    if starts_statement and not tree.text[keyword.end : node.start].strip():
        kept = tree.text[keyword.start : node.start]
        end = TextSpan(keyword.start, tree.sites[keyword.start])
        text = kept + tree.source(argument)
        return Edit(MutationType.MISSING_NOT, keyword.start, argument.end, text, end)
    site, back = tree.first_site(argument.start), argument.start - node.start
    anchor = TextSpan(site.start - back, site.end - back) if site else None
    return Edit(MutationType.MISSING_NOT, node.start, node.end, tree.source(argument), anchor)


def _conditions(tree: CodeTree) -> Iterator[CodeNode]:
    for node in tree.all_of(*_CONDITIONED):
        condition = node.child("condition")
        if condition is not None:
            yield condition
    for node in tree.all_of("conditional_expression"):
        yield node.children[2]
    for node in tree.all_of("boolean_operator"):
        if _is_tested(node):
            yield from (child for child in node.children if child.role in ("left", "right"))


def _is_tested(node: CodeNode) -> bool:
    """Whether the value of an `and` or `or` only decides something, or is an operand of one that does."""
    inner = node
    for outer in node.above():
        if outer.type not in ("boolean_operator", "parenthesized_expression", "not_operator"):
            return inner.role == "condition" or outer.type in ("if_clause", "return_statement")
        inner = outer
    return False


def none_returns(tree: CodeTree) -> Iterator[Edit]:
    """A result that is not returned: `return x` as `return None`, or as `x`."""
    if tree.by_type.get("yield"):
        return
    for node in tree.all_of("return_statement"):
        values = [child for child in node.children[1:] if child.type != "comment"]
        if len(values) != 1 or values[0].type in _SAME_WITHOUT:
            continue
        value = values[0]
        if value.type == "call" and tree.source(value).startswith("print("):
            continue
        yield Edit(MutationType.NONE_RETURN, value.start, value.end, "None")
        back = value.start - node.start
        site = tree.first_site(value.start, value.end)
        if site is not None:
            anchor = TextSpan(site.start - back, site.end - back)
            yield Edit(MutationType.NONE_RETURN, node.start, value.end, tree.source(value), anchor)


def removed_guards(tree: CodeTree) -> Iterator[Edit]:
    """An early exit that is missing."""
    for node in tree.all_of("if_statement"):
        block = node.child("consequence")
        if block is None or node.child("alternative") is not None or node.parent is None:
            continue
        body = [child for child in block.children if child.type != "comment"]
        if not body or len(body) > _LONGEST_GUARD or body[-1].type not in _EXITS:
            continue
        edit = _removed(tree, node)
        if edit is not None and not _is_last(tree, node, body[-1]):
            yield edit


def _removed(tree: CodeTree, node: CodeNode) -> Edit | None:
    """Take the statement's lines away; the place to look at is what now stands there instead."""
    siblings = node.parent.children if node.parent else []
    statements = [child for child in siblings if child.type != "comment"]
    start = tree.text.rfind("\n", 0, node.start) + 1
    end = tree.text.find("\n", node.end) + 1
    if len(statements) < 2 or not end or tree.text[start : node.start].strip():
        return None
    rest = tree.text[node.end : end].strip()
    site = tree.first_site(node.end)
    if site is None or (rest and not rest.startswith("#")):
        return None
    following = next((child for child in statements if child.start >= end), None)
    if following is not None:
        end = tree.text.rfind("\n", 0, following.start) + 1
        indent = following.start - end
        gone = end + indent - node.start
        anchor = TextSpan(site.start - gone, site.end - gone)
        return Edit(MutationType.REMOVED_GUARD, node.start, following.start, "", anchor)
    gone = end - start
    anchor = TextSpan(site.start - gone, site.end - gone)
    return Edit(MutationType.REMOVED_GUARD, start, end, "", anchor)


def _is_last(tree: CodeTree, node: CodeNode, exit_: CodeNode) -> bool:
    """Whether control would go to the same place without it: nothing follows in the block that it leaves."""
    bare = exit_.type == "continue_statement" or tree.source(exit_) in ("return", "return None")
    siblings = node.parent.children if node.parent else []
    return bare and all(child.end <= node.end or child.type == "comment" for child in siblings)


def wrong_indexes(tree: CodeTree) -> Iterator[Edit]:
    """A subscript or the bound of a slice that is off."""
    counted = _INDEX_NAMES | _counted(tree)
    for node in tree.all_of("subscript"):
        for part in node.children:
            if part.role == "subscript":
                for bound in _bounds(part) if part.type == "slice" else [part]:
                    yield from _other_indexes(tree, bound, counted)


def _bounds(part: CodeNode) -> list[CodeNode]:
    """Start and end of a slice; its step is left alone."""
    found: list[CodeNode] = []
    colons = 0
    for child in part.children:
        colons += child.type == ":"
        if child.type != ":" and colons < 2:
            found.append(child)
    return found


def _other_indexes(tree: CodeTree, node: CodeNode, counted: frozenset[str]) -> Iterator[Edit]:
    text, texts = tree.source(node), list[str]()
    if node.type == "integer":
        texts += neighbours(tree, node)
    elif node.type == "unary_operator" and text in ("-1", "-2"):
        texts += ("0", "-2") if text == "-1" else ("-1", "-3")
    elif node.type == "identifier" and text in counted:
        texts += (f"{text} + 1", f"{text} - 1")
    elif node.type == "binary_operator":
        yield from _other_sums(tree, node)
    for other in texts:
        yield Edit(MutationType.WRONG_INDEX, node.start, node.end, other)


def _other_sums(tree: CodeTree, node: CodeNode) -> Iterator[Edit]:
    """`i + 1` as `i + 2` or `i`."""
    left, sign, right = node.child("left"), node.child("operator"), node.child("right")
    if not (left and sign and right and right.type == "integer" and sign.type in "+-"):
        return
    for value in neighbours(tree, right):
        if value != "0":
            yield Edit(MutationType.WRONG_INDEX, right.start, right.end, value)
    if tree.source(right) == "1":
        anchor = tree.first_site(left.start, left.end)
        yield Edit(MutationType.WRONG_INDEX, node.start, node.end, tree.source(left), anchor)


def _counted(tree: CodeTree) -> frozenset[str]:
    """Names that are surely integers: loop over a range, or counted."""
    found: set[str] = set()
    for node in tree.all_of("for_statement", "for_in_clause"):
        left, right = node.child("left"), node.child("right")
        function = right.child("function") if right else None
        if left and function and left.type == "identifier" and tree.source(function) == "range":
            found.add(tree.source(left))
        if left and function and left.children and tree.source(function) == "enumerate":
            found.add(tree.source(left.children[0]))
    for node in tree.all_of("augmented_assignment"):
        left, right = node.child("left"), node.child("right")
        if left and right and left.type == "identifier" and right.type == "integer":
            found.add(tree.source(left))
    return frozenset(found)
