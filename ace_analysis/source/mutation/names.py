"""A name that is read instead of another one that is bound there too and is used in a similar way."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ace_analysis.source.mutation.pair import Edit, MutationType
from ace_analysis.source.mutation.tree import CodeNode, CodeTree

_SELF = frozenset({"self", "cls", "_", "mcs", "__class__"})
_PATTERNS = frozenset({"pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern"})
_PARAMETERS = frozenset({"parameters", "lambda_parameters"})
_COMPREHENSIONS = (
    "list_comprehension",
    "set_comprehension",
    "dictionary_comprehension",
    "generator_expression",
)
_MOST_CHOICES = 3


@dataclass(frozen=True, slots=True)
class Binding:
    """A name that is certainly bound, to something, in `start..end`."""

    name: str
    start: int
    end: int
    how: str


def variable_misuses(tree: CodeTree) -> Iterator[Edit]:
    """Another bound name in place of the one that is meant, the likeliest confusions first."""
    bindings = list(_bindings(tree))
    names = {binding.name for binding in bindings}
    loads = [node for node in tree.all_of("identifier") if _is_load(tree, node, names)]
    uses: dict[str, set[str]] = defaultdict(set)
    for node in loads:
        uses[tree.source(node)] |= _uses_of(tree, node)
    same = _aliases(tree)
    for node in loads:
        if node.role == "function":
            continue
        name = tree.source(node)
        here = {bound.name: bound.how for bound in bindings if bound.start <= node.start < bound.end}
        own = _uses_of(tree, node)
        scored: list[tuple[float, str]] = []
        for other in here:
            if other == name or frozenset((name, other)) in same or _is_target(tree, node, other):
                continue
            score = _likeness(own, uses, (name, other)) + (here.get(name) == here[other])
            if score >= 1:
                scored.append((-score, other))
        for _, other in sorted(scored)[:_MOST_CHOICES]:
            yield Edit(MutationType.VARIABLE_MISUSE, node.start, node.end, other)


def _is_load(tree: CodeTree, node: CodeNode, names: set[str]) -> bool:
    """Whether one of the names is read here. Attributes and keywords are no variables."""
    holder = node.parent.type if node.parent else ""
    if (holder, node.role) in {("attribute", "attribute"), ("keyword_argument", "name")}:
        return False
    return node.start in tree.sites and tree.source(node) in names


def _likeness(own: set[str], uses: dict[str, set[str]], pair: tuple[str, str]) -> float:
    """How easily one is taken for the other: used in this very way, or in the same ways elsewhere."""
    first, second = uses[pair[0]], uses[pair[1]]
    shared = len(first & second) / max(1, len(first | second))
    return 2.0 * bool(own & second) + shared


def _is_target(tree: CodeTree, node: CodeNode, other: str) -> bool:
    """Whether the mutant would be `other = other`."""
    parent = node.parent
    left = parent.child("left") if parent is not None and parent.type == "assignment" else None
    return left is not None and tree.source(left) == other


def _aliases(tree: CodeTree) -> set[frozenset[str]]:
    """Pairs of names where one is assigned to the other."""
    found: set[frozenset[str]] = set()
    for node in tree.all_of("assignment"):
        left, right = node.child("left"), node.child("right")
        if left and right and left.type == right.type == "identifier":
            found.add(frozenset((tree.source(left), tree.source(right))))
    return found


def _uses_of(tree: CodeTree, node: CodeNode) -> set[str]:
    """In what ways a name is used at one place."""
    parent = node.parent
    if parent is None:
        return set()
    kind = parent.type
    if kind == "attribute":
        name = parent.child("attribute")
        return {"attribute", f".{tree.source(name)}" if name else "."}
    if kind == "argument_list" and parent.parent is not None:
        function = parent.parent.child("function")
        return {"argument", f"{tree.source(function) if function else ''}()"}
    if kind == "subscript":
        return {"index" if node.role == "subscript" else "subscripted"}
    if kind in ("binary_operator", "augmented_assignment", "slice", "unary_operator"):
        return {"calculated"}
    if kind == "comparison_operator":
        signs = {tree.source(child) for child in parent.children if child.role == "operators"}
        member = "contained" if "in" in " ".join(signs).split() else "compared"
        return {f"{member}{parent.children.index(node) if member == 'contained' else ''}"}
    if kind in ("for_statement", "for_in_clause"):
        return {"iterated"}
    if kind in ("return_statement", "expression_list", "list", "tuple", "pair", "assignment"):
        return {"value"}
    return {"tested"} if node.role == "condition" or kind in ("boolean_operator", "not_operator") else {kind}


def _bindings(tree: CodeTree) -> Iterator[Binding]:
    for node in tree.all_of(*_PARAMETERS):
        body = node.parent.child("body") if node.parent else None
        if body is not None:
            for name in _parameter_names(tree, node):
                yield Binding(name, body.start, body.end, "parameter")
    for node in tree.all_of("assignment"):
        yield from _bound(tree, node.child("left"), node.end, _block_end(tree, node), "value")
    for node in tree.all_of("for_statement"):
        body = node.child("body")
        if body is not None:
            yield from _bound(tree, node.child("left"), body.start, body.end, "item")
    for node in tree.all_of("as_pattern_target"):
        inner = node.children[0] if node.children else None
        holder = next(
            (outer for outer in node.above() if outer.type in ("except_clause", "with_statement")), None
        )
        if holder is not None:
            yield from _bound(tree, inner, node.end, holder.end, "resource")
    for node in tree.all_of("for_in_clause"):
        yield from _bound_in_comprehension(tree, node)


def _bound_in_comprehension(tree: CodeTree, clause: CodeNode) -> Iterator[Binding]:
    whole = clause.parent
    if whole is None or whole.type not in _COMPREHENSIONS:
        return
    first = next(child for child in whole.children if child.type == "for_in_clause")
    yield from _bound(tree, clause.child("left"), clause.end, whole.end, "item")
    yield from _bound(tree, clause.child("left"), whole.start, first.start, "item")


def _bound(tree: CodeTree, target: CodeNode | None, start: int, end: int, how: str) -> Iterator[Binding]:
    for node in _names_in(target):
        name = tree.source(node)
        if name not in _SELF:
            yield Binding(name, start, end, how)


def _names_in(target: CodeNode | None) -> Iterator[CodeNode]:
    if target is None:
        return
    if target.type == "identifier":
        yield target
    elif target.type in _PATTERNS:
        for child in target.children:
            yield from _names_in(child)


def _parameter_names(tree: CodeTree, parameters: CodeNode) -> Iterator[str]:
    for child in parameters.children:
        inner = child.child("name") or (child.children[0] if child.children else child)
        if child.type in ("list_splat_pattern", "dictionary_splat_pattern"):
            inner = child.children[-1]
        if inner.type == "identifier" and tree.source(inner) not in _SELF:
            yield tree.source(inner)


def _block_end(tree: CodeTree, node: CodeNode) -> int:
    return next((outer.end for outer in node.above() if outer.type == "block"), tree.root.end)
