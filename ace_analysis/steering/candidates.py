"""Every small change of one line that could undo a mistake in it.

Most bugs are one small edit away from right code, and a model of half a billion parameters seldom writes
that edit by itself, but often knows it when it sees it. So the edits are listed from the syntax tree, and the
model only has to rank them: a candidate costs the few tokens from where it departs from the line.

Listing hundreds is cheap, parsing hundreds is not: `Programs` tells for one text at a time whether it parses
and is another program than all before, so that only those near the top of a ranking are ever parsed.
"""

import ast
import textwrap
import warnings
from collections.abc import Callable, Iterator

from ace_analysis.steering import expression_edits, token_edits
from ace_analysis.steering.edits import EditKind, LineEdit, LineTree, line_span

__all__ = ["EditKind", "LineEdit", "Programs", "line_edits", "line_span", "program_of"]

_RULES: tuple[Callable[[LineTree], Iterator[LineEdit]], ...] = (*token_edits.RULES, *expression_edits.RULES)


def line_edits(text: str, line: int) -> tuple[LineEdit, ...]:
    """The edits of a line (from 0) of a scope's text, each resulting text once, edits of one token first.

    Not all of the texts parse, and some are the same program in other words: see `Programs`. None for an
    empty line. Raises InputError for a line that the text does not have.
    """
    span = line_span(text, line)
    if span.start == span.end:
        return ()
    tree = LineTree(text, span)
    kept: dict[str, LineEdit] = {text[span.start : span.end]: LineEdit(EditKind.STATEMENT, 0, 0, "")}
    for edit in (edit for rule in _RULES for edit in rule(tree)):
        changed = text[span.start : edit.start] + edit.replacement + text[edit.end : span.end]
        kept.setdefault(changed, edit)
    return tuple(kept.values())[1:]


class Programs:
    """The programs met so far; see `program_of`."""

    def __init__(self, text: str) -> None:
        self._seen = {program_of(text)}

    def is_new(self, text: str) -> bool:
        """Whether a text parses and is another program than the first one and all asked for before."""
        program = program_of(text)
        if program is None or program in self._seen:
            return False
        self._seen.add(program)
        return True


def program_of(text: str) -> str | None:
    """What a text, indented or not, does, in one spelling: equal for texts that only say it in other words.

    That is the syntax tree without layout, brackets and quotes, with `b > a` as `a < b`, `b * a` as `a * b`,
    `not a == b` as `a != b`, `sorted(list(a))` and `list(sorted(a))` as `sorted(a)`. None for a text that
    does not parse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(flush_left(text))
            return ast.dump(_OneSpelling().visit(tree))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def flush_left(text: str) -> str:
    """A scope's text as if it stood at the margin."""
    return textwrap.dedent(text) if text[:1] in (" ", "\t") else text


_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_COPIES = frozenset({"list", "tuple"})
_READ_ALL = frozenset({"all", "any", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple"})
"""Functions that read an iterable to its end, so that a copy of it is as good as itself."""
_SETTLED = frozenset({"abs", "bool", "float", "frozenset", "int", "list", "set", "sorted", "str", "tuple"})
"""Functions that change nothing of what they gave themselves."""


class _OneSpelling(ast.NodeTransformer):
    """Of the ways to say the same, always the same one."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        inside = node.args[0] if len(node.args) == 1 else None
        if not isinstance(node.func, ast.Name) or not isinstance(inside, ast.Call):
            return node
        outer, inner = node.func.id, _function_of_one(inside)
        if outer in _READ_ALL and inner in _COPIES:
            return self.visit_Call(ast.Call(node.func, inside.args, node.keywords))
        if not node.keywords and outer == inner and outer in _SETTLED:
            return inside
        is_sorted = isinstance(inside.func, ast.Name) and inside.func.id == "sorted"
        return inside if outer == "list" and is_sorted and not node.keywords else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1:
            return node
        operator, sides = node.ops[0], [node.left, node.comparators[0]]
        if type(operator) in _TURNED:
            operator, sides = _TURNED[type(operator)](), sides[::-1]
        elif isinstance(operator, ast.Eq | ast.NotEq):
            sides.sort(key=ast.dump)
        return ast.Compare(left=sides[0], ops=[operator], comparators=[sides[1]])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult):
            return node
        left, right = sorted((node.left, node.right), key=ast.dump)
        return ast.BinOp(left=left, op=node.op, right=right)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        inside = node.operand
        if isinstance(node.op, ast.Not) and isinstance(inside, ast.Compare) and len(inside.ops) == 1:
            opposite = _OPPOSITES.get(type(inside.ops[0]))
            if opposite is not None:
                return self.visit(ast.Compare(inside.left, [opposite()], inside.comparators))
        return node


def _function_of_one(call: ast.Call) -> str:
    """The plain name of what is called with one value; empty for other calls."""
    plain = len(call.args) == 1 and not call.keywords and not isinstance(call.args[0], ast.Starred)
    return call.func.id if plain and isinstance(call.func, ast.Name) else ""
