"""Mistakes at a call: arguments in the wrong order, the wrong keyword, another attribute of an object."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from ace_analysis.source.document import TextSpan
from ace_analysis.source.mutation.operators import is_default, neighbours, opposite
from ace_analysis.source.mutation.pair import Edit, MutationType
from ace_analysis.source.mutation.tree import CodeNode, CodeTree

_ORDERLESS = frozenset(
    {
        "min",
        "max",
        "gcd",
        "lcm",
        "hypot",
        "isclose",
        "add",
        "mul",
        "eq",
        "ne",
        "and_",
        "or_",
        "xor",
        "samefile",
    }
    | {"print", "union", "chain", "logaddexp", "maximum", "minimum", "allclose", "assertEqual", "isinstance"}
)
_LITERALS = frozenset(
    {"string", "concatenated_string", "integer", "float", "true", "false", "none", "lambda"}
)
_MARKS = frozenset({"(", ")", ",", "comment"})
_NOT_MOVED = frozenset({"keyword_argument", "list_splat", "dictionary_splat", "generator_expression"})
_SIBLINGS = (
    ("append", "extend"),
    ("startswith", "endswith"),
    ("lstrip", "rstrip"),
    ("upper", "lower"),
    ("keys", "values"),
    ("ljust", "rjust"),
    ("appendleft", "append"),
    ("popleft", "pop"),
    ("intersection", "union"),
    ("issubset", "issuperset"),
    ("acquire", "release"),
)
_MOST_CHOICES = 2


def swapped_arguments(tree: CodeTree) -> Iterator[Edit]:
    """Two neighbouring positional arguments in the wrong order."""
    for call in tree.all_of("call"):
        function, arguments = call.child("function"), call.child("arguments")
        if function is None or arguments is None or arguments.type != "argument_list":
            continue
        if tree.source(function).rpartition(".")[2] in _ORDERLESS:
            continue
        values = [child for child in arguments.children if child.type not in _MARKS]
        for first, second in pairwise(values):
            if {first.type, second.type} & _NOT_MOVED or not _may_be_swapped(tree, first, second):
                continue
            yield _swap(tree, first, second, MutationType.SWAPPED_ARGUMENTS)


def _may_be_swapped(tree: CodeTree, first: CodeNode, second: CodeNode) -> bool:
    """Not the same text, and not a literal for a variable, which nobody would confuse (numbers excepted)."""
    literals = [node.type in _LITERALS for node in (first, second)]
    numbers = [node.type == "integer" for node in (first, second)]
    return tree.source(first) != tree.source(second) and (literals[0] == literals[1] or any(numbers))


def _swap(tree: CodeTree, first: CodeNode, second: CodeNode, kind: MutationType) -> Edit:
    between = tree.text[first.end : second.start]
    text = tree.source(second) + between + tree.source(first)
    moved = second.start - first.start
    site = tree.first_site(second.start, second.end)
    if site is not None:
        anchor = TextSpan(site.start - moved, site.end - moved)
    else:
        site = tree.first_site(first.start, first.end)
        moved = second.end - first.end
        anchor = TextSpan(site.start + moved, site.end + moved) if site else None
    return Edit(kind, first.start, second.end, text, anchor)


def wrong_keywords(tree: CodeTree) -> Iterator[Edit]:
    """A keyword that another call of the same function uses, or two exchanged, or another default value."""
    seen: dict[str, set[str]] = defaultdict(set)
    calls: list[tuple[str, list[CodeNode]]] = []
    for call in tree.all_of("call"):
        function, arguments = call.child("function"), call.child("arguments")
        if function is not None and arguments is not None:
            keywords = [child for child in arguments.children if child.type == "keyword_argument"]
            seen[tree.source(function)] |= {tree.source(node.children[0]) for node in keywords}
            calls.append((tree.source(function), keywords))
    for name, keywords in calls:
        taken = {tree.source(node.children[0]) for node in keywords}
        for node in keywords:
            for other in sorted(seen[name] - taken):
                key = node.children[0]
                yield Edit(MutationType.WRONG_KEYWORD, key.start, key.end, other)
        yield from _exchanged(tree, keywords)
    yield from _other_defaults(tree)


def _exchanged(tree: CodeTree, keywords: list[CodeNode]) -> Iterator[Edit]:
    """The names of two neighbouring keyword arguments exchanged: `f(a=1, b=2)` as `f(b=1, a=2)`."""
    for first, second in pairwise(keywords):
        key, other = first.children[0], second.children[0]
        if tree.source(first.children[-1]) != tree.source(second.children[-1]):
            text = tree.source(other) + tree.text[key.end : other.start] + tree.source(key)
            anchor = TextSpan(key.start, key.start + len(tree.source(other)))
            yield Edit(MutationType.WRONG_KEYWORD, key.start, other.end, text, anchor)


def _other_defaults(tree: CodeTree) -> Iterator[Edit]:
    for node in tree.all_of("true", "false", "integer"):
        if is_default(node):
            values = neighbours(tree, node) if node.type == "integer" else [opposite(node)]
            for value in values:
                yield Edit(MutationType.WRONG_KEYWORD, node.start, node.end, value)


def wrong_attributes(tree: CodeTree) -> Iterator[Edit]:
    """Another attribute that the text uses on the same object, or a method that is easily taken for it."""
    seen: dict[tuple[str, bool], dict[str, int]] = defaultdict(dict)
    loads: list[tuple[CodeNode, str, bool, int]] = []
    for node in tree.all_of("attribute"):
        owner, name = node.child("object"), node.child("attribute")
        if owner is None or name is None:
            continue
        called = node.role == "function"
        count = _argument_count(node) if called else -1
        seen[tree.source(owner), called].setdefault(tree.source(name), count)
        if name.start in tree.sites:
            loads.append((name, tree.source(owner), called, count))
    for name, owner, called, count in loads:
        text = tree.source(name)
        others = {other: n for other, n in seen[owner, called].items() if other != text}
        for sibling in _siblings(text) if called else ():
            others.setdefault(sibling, count)
        ranked = sorted(others, key=lambda other: (others[other] != count, other))
        for other in ranked[:_MOST_CHOICES]:
            yield Edit(MutationType.WRONG_ATTRIBUTE, name.start, name.end, other)


def _siblings(name: str) -> Iterator[str]:
    for first, second in _SIBLINGS:
        if name in (first, second):
            yield second if name == first else first


def _argument_count(function: CodeNode) -> int:
    arguments = function.parent.child("arguments") if function.parent else None
    return len([child for child in arguments.children if child.type not in _MARKS]) if arguments else 0
