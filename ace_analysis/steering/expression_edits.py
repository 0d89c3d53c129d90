"""Edits of a whole expression: something swapped, added, wrapped, unwrapped or replaced by a name."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from ace_analysis.source.mutation.tree import CodeNode
from ace_analysis.steering.edits import EXPRESSIONS, MARKS, EditKind, LineEdit, LineTree

_ORDERED = frozenset({"argument_list", "tuple", "expression_list", "list", "pattern_list"})
_OPERATIONS = frozenset({"binary_operator", "comparison_operator", "boolean_operator"})
_TIGHT = frozenset({"*", "/", "//", "%", "**"})
_SUMS = frozenset({"+", "-"})
_FACTORS = (("**", "2"), ("*", "2"), ("//", "2"), ("/", "2"))
_SIMPLE = frozenset({"identifier", "attribute", "call", "subscript", "parenthesized_expression"})
_NUMERIC = _SIMPLE | {"binary_operator"}
_HOLD_VALUES = frozenset(
    {"argument_list", "return_statement", "yield", "list", "expression_list", "expression_statement"}
)
_ASSIGN = frozenset({"assignment", "augmented_assignment", "for_statement", "for_in_clause"})
_ASK = frozenset({"if_statement", "elif_clause", "while_statement", "if_clause"})
_WRAPPERS = ("len", "list", "sorted", "set", "tuple", "abs", "str", "int", "sum", "max", "min", "reversed")
_SLICES = ("[1:]", "[:-1]", "[::-1]", "[0]", "[-1]")
_VALUES = ("True", "False", "None", "0", "1", "-1", "[]", "''")
_MOST_NAMES = 10


def swaps(line: LineTree) -> Iterator[LineEdit]:
    """Two neighbours exchanged: arguments, elements, indexes, operands."""
    for node in line.nodes:
        if node.type in _ORDERED:
            parts = [child for child in node.children if child.type not in MARKS]
        elif node.type == "subscript":
            parts = [child for child in node.children if child.role == "subscript"]
        elif node.type in _OPERATIONS:
            parts = [child for child in node.children if child.type in EXPRESSIONS]
        else:
            continue
        for first, second in pairwise(parts):
            between = line.text[first.end : second.start]
            text = line.source(second) + between + line.source(first)
            yield LineEdit(EditKind.SWAP, first.start, second.end, text)


def terms(line: LineTree) -> Iterator[LineEdit]:
    """One more or one less; another name added, subtracted or multiplied; a half, a double or a square."""
    names = line.variables[:_MOST_NAMES]
    for node in line.expressions:
        holder = node.parent
        if node.type not in _NUMERIC or holder is None or _is_named(holder, node):
            continue
        text = line.source(node)
        if not _is_summand(line, holder):
            for sign in ("+", "-"):
                for kind, term in ((EditKind.OFF_BY_ONE, "1"), *((EditKind.TERM, name) for name in names)):
                    grown = f"{text}{line.sign(sign)}{term}"
                    yield line.replace(kind, node, f"({grown})" if _is_tight(line, holder) else grown)
        if node.type != "binary_operator":
            for sign, factor in (*_FACTORS, *(("*", name) for name in names)):
                yield line.replace(EditKind.TERM, node, f"{text}{line.sign(sign)}{factor}")


def _is_named(holder: CodeNode, node: CodeNode) -> bool:
    """Whether the node is what is called, indexed, asked for an attribute or assigned to."""
    if holder.type in ("call", "subscript", "attribute"):
        return node.role != "subscript"
    return (node.role == "left" and holder.type in _ASSIGN) or holder.type == "pattern_list"


def _is_summand(line: LineTree, holder: CodeNode) -> bool:
    """Whether a term behind it is one behind the whole sum, which has its own turn."""
    sign = holder.child("operator") if holder.type == "binary_operator" else None
    return sign is not None and line.source(sign) in _SUMS


def _is_tight(line: LineTree, holder: CodeNode) -> bool:
    """Whether a sum needs brackets in there."""
    sign = holder.child("operator")
    return holder.type == "unary_operator" or (sign is not None and line.source(sign) in _TIGHT)


def unwraps(line: LineTree) -> Iterator[LineEdit]:
    """One part of an expression in place of the whole; one element or argument fewer."""
    for node in line.expressions:
        for part in _parts(node):
            yield line.replace(EditKind.UNWRAP, node, line.source(part))
    for node in line.all_of("argument_list", "list", "tuple"):
        values = [child for child in node.children if child.type not in MARKS]
        for index in range(len(values) if len(values) > 1 else 0):
            start = values[index - 1].end if index else values[0].start
            end = values[index].end if index else values[1].start
            yield LineEdit(EditKind.UNWRAP, start, end, "")


def _parts(node: CodeNode) -> Iterator[CodeNode]:
    if node.type == "call":
        arguments, function = node.child("arguments"), node.child("function")
        if arguments is not None:
            yield from (child for child in arguments.children if child.type in EXPRESSIONS)
        if function is not None and function.type == "attribute" and function.children:
            yield function.children[0]
    elif node.type in ("subscript", "attribute"):
        yield node.children[0]
    elif node.type != "list" or len(node.children) == 3:
        yield from (child for child in node.children if child.type in EXPRESSIONS)


def wraps(line: LineTree) -> Iterator[LineEdit]:
    """A value in a call, a list or a tuple; something in an empty list; a value joined with the old one."""
    for node in line.expressions:
        text = line.source(node)
        if node.type == "list" and len(node.children) == 2:
            for name in ("[]", "0", *line.variables[:_MOST_NAMES]):
                yield line.replace(EditKind.WRAP, node, f"[{name}]")
        if not _is_value(node):
            continue
        bare = text[1:-1] if node.type in ("generator_expression", "parenthesized_expression") else text
        for name in dict.fromkeys((*_WRAPPERS, *line.functions)):
            yield line.replace(EditKind.WRAP, node, f"{name}({bare})")
        negative = f"-{text}" if node.type in _SIMPLE else f"-({bare})"
        for changed in (f"[{bare}]", f"({bare},)", negative):
            yield line.replace(EditKind.WRAP, node, changed)
    yield from _joined(line)


def _joined(line: LineTree) -> Iterator[LineEdit]:
    for node in line.all_of("assignment"):
        left, right = node.child("left"), node.child("right")
        if left is None or right is None or right.end > line.line.end:
            continue
        old, new = line.source(left), line.source(right)
        joined = (
            f"max({old}, {new})",
            f"min({old}, {new})",
            f"max(0, {new})",
            f"{old} + {new}",
            f"{new} + {old}",
        )
        for text in joined:
            yield line.replace(EditKind.WRAP, right, text)


def _is_value(node: CodeNode) -> bool:
    """Whether something is returned, assigned, passed, iterated over or an element."""
    holder = node.parent.type if node.parent else ""
    if holder in _HOLD_VALUES:
        return True
    return node.role == ("right" if holder in _ASSIGN else "value") and holder in {
        *_ASSIGN,
        "keyword_argument",
    }


def conditions(line: LineTree) -> Iterator[LineEdit]:
    """A condition negated, or joined with a test of a name."""
    for node in line.expressions:
        holder = node.parent
        if holder is None or not _is_asked(holder, node):
            continue
        text = line.source(node)
        yield line.replace(
            EditKind.CONDITION, node, f"not {text}" if node.type in _SIMPLE else f"not ({text})"
        )
        for name in line.variables[:_MOST_NAMES]:
            for word in (name, f"not {name}"):
                for sign in ("and", "or"):
                    yield line.replace(EditKind.CONDITION, node, f"{text} {sign} {word}")
                    yield line.replace(EditKind.CONDITION, node, f"{word} {sign} {text}")
            yield line.replace(EditKind.CONDITION, node, f"{name} is None or {text}")
            yield line.replace(EditKind.CONDITION, node, f"{name} is not None and {text}")


def _is_asked(holder: CodeNode, node: CodeNode) -> bool:
    if holder.type in _ASK:
        return node.role in ("condition", "")
    if holder.type == "return_statement":
        return node.type in ("comparison_operator", "boolean_operator")
    return holder.type == "boolean_operator"


def slices(line: LineTree) -> Iterator[LineEdit]:
    """A part or an element of a sequence in place of all of it."""
    names = line.variables[:_MOST_NAMES]
    tails = (*_SLICES, *(form.format(name) for form in ("[{}]", "[{}:]", "[:{}]") for name in names))
    for node in line.expressions:
        if node.type not in ("identifier", "attribute", "subscript", "call") or node.parent is None:
            continue
        if not _is_named(node.parent, node):
            for tail in tails:
                yield line.replace(EditKind.SLICE, node, line.source(node) + tail)


def replacements(line: LineTree) -> Iterator[LineEdit]:
    """A name in place of an expression; another value or a test returned."""
    for node in line.expressions:
        if node.parent is None or _is_named(node.parent, node):
            continue
        if node.type != "identifier":
            for name in line.variables:
                yield line.replace(EditKind.REPLACE, node, name)
        if node.parent.type == "return_statement":
            for value in _VALUES:
                yield line.replace(EditKind.REPLACE, node, value)
            for name in line.variables[:_MOST_NAMES]:
                for value in (f"{name} == 0", f"not {name}", f"len({name})", f"{name} + {line.source(node)}"):
                    yield line.replace(EditKind.REPLACE, node, value)


RULES: tuple[Callable[[LineTree], Iterator[LineEdit]], ...] = (
    swaps,
    terms,
    unwraps,
    wraps,
    conditions,
    slices,
    replacements,
)
