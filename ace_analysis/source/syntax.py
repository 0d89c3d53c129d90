"""Scopes, the unit of analysis, and the candidate sites in them.

A scope is analysed with a header (the imports that it uses, the lines of its classes), so that its result
depends on its own text and that header alone: an edit costs one scope, whatever the size of the file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Literal

from tree_sitter import Node

from ace_analysis.source.document import TextSpan
from ace_analysis.source.parsing import ParsedText, descendants, parse
from ace_analysis.source.pieces import class_head, pieces_of

MAX_HEADER_IMPORTS = 20
MAX_RUN_LINES = 60
_IMPORTS = ("import_statement", "import_from_statement", "future_import_statement")
_FUNCTIONS = ("function_definition",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """An outermost function, a method, or a run of statements outside of both."""

    name: str
    kind: Literal["function", "method", "module"]
    span: TextSpan
    header: str
    has_error: bool

    def prompt(self, text: str) -> str:
        """What the model reads: the header, then the scope's own text."""
        return self.header + text[self.span.start : self.span.end]


@dataclass(frozen=True, slots=True)
class _Context:
    """What a scope is in: (name, first line) of each class, and the imports of the module."""

    classes: tuple[tuple[str, str], ...]
    imports: "_Imports"


@dataclass(frozen=True, slots=True)
class _Imports:
    """The lines of a module's imports, and which of them bind a name: a file may have thousands of both."""

    lines: tuple[str, ...]
    binding: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, trees: Iterable[ParsedText]) -> "_Imports":
        """Names that an import only mentions count as bound: a superset does no harm."""
        lines: list[str] = []
        binding: dict[str, list[int]] = {}
        for tree in trees:
            for node in tree.root.children:
                if node.type in _IMPORTS:
                    for name in _names_in(tree, node):
                        binding.setdefault(name, []).append(len(lines))
                    lines.append(tree.source(node))
        return cls(tuple(lines), binding)

    def used_by(self, names: Iterable[str]) -> list[str]:
        """The first lines that bind one of the names, in their order."""
        found = {at for name in names for at in self.binding.get(name, ())}
        return [self.lines[at] for at in nsmallest(MAX_HEADER_IMPORTS, found)]


def scopes_of(text: str) -> tuple[Scope, ...]:
    """All scopes in source order. They do not overlap; blank space and imports between them are left out."""
    tree = parse(text)
    if not tree.root.has_error:
        return tuple(_scopes_in(tree, tree.root.children, _Context((), _Imports.of([tree]))))
    return tuple(_scopes_of_broken(text))


def _scopes_of_broken(text: str) -> Iterator[Scope]:
    """Parse each top-level definition alone, so that broken syntax costs only the one that it is in."""
    parts = [(start, text[start:end]) for start, end in pieces_of(text, "", _is_broken)]
    imports = _Imports.of(parse(part) for _, part in parts)
    for start, part in parts:
        for scope in _scopes_of_part(part, _Context((), imports)):
            yield replace(scope, span=scope.span.shifted(start))


def _scopes_of_part(part: str, context: _Context) -> Iterator[Scope]:
    """The scopes of one definition; in a broken class, its methods are parsed alone as well."""
    tree = parse(part)
    head = class_head(part) if tree.root.has_error else None
    if head is None:
        whole = tree.root.type == "ERROR"
        yield from (
            [_scope(tree, [tree.root], context)] if whole else _scopes_in(tree, tree.root.children, context)
        )
        return
    rest = part[head.end :]
    inside = _Context((*context.classes, (head.name, head.line)), context.imports)
    for start, end in pieces_of(rest, head.body_indent, _is_broken):
        for scope in _scopes_of_part(rest[start:end], inside):
            yield replace(scope, span=scope.span.shifted(start + head.end))


def _is_broken(part: str) -> bool:
    return parse(part).root.has_error


def _scopes_in(tree: ParsedText, nodes: list[Node], context: _Context) -> Iterator[Scope]:
    run: list[Node] = []
    for node in nodes:
        inner = _definition(node)
        if inner.type not in (*_FUNCTIONS, "class_definition"):
            if inner.type not in (*_IMPORTS, "comment") and inner.is_named:
                run.append(node)
            continue
        yield from _run_scopes(tree, run, context)
        run = []
        if inner.type == "class_definition":
            body, name = inner.child_by_field_name("body"), inner.child_by_field_name("name")
            line = (tree.source(name) if name else "", _first_line(tree, inner))
            inside = _Context((*context.classes, line), context.imports)
            yield from _scopes_in(tree, body.children if body else [], inside)
        else:
            yield _scope(tree, [node], context)
    yield from _run_scopes(tree, run, context)


def _definition(node: Node) -> Node:
    inner = node.child_by_field_name("definition") if node.type == "decorated_definition" else None
    return inner or node


def _run_scopes(tree: ParsedText, run: list[Node], context: _Context) -> Iterator[Scope]:
    """Cut a run of statements at statement borders, so that one scope stays below MAX_RUN_LINES."""
    part: list[Node] = []
    for node in run:
        if part and node.end_point[0] - part[0].start_point[0] >= MAX_RUN_LINES:
            yield _scope(tree, part, context)
            part = []
        part.append(node)
    if part:
        yield _scope(tree, part, context)


def _scope(tree: ParsedText, nodes: list[Node], context: _Context) -> Scope:
    start, end = tree.span(nodes[0]).start, tree.span(nodes[-1]).end
    while start and tree.text[start - 1] in " \t":
        start -= 1
    end += next((len(mark) for mark in ("\r\n", "\n", "\r") if tree.text.startswith(mark, end)), 0)
    used = {name for node in nodes for name in _names_in(tree, node)}
    lines = [*context.imports.used_by(used), *(line for _, line in context.classes)]
    inner = _definition(nodes[0])
    name = inner.child_by_field_name("name") if inner.type in _FUNCTIONS else None
    path = [cls for cls, _ in context.classes if cls]
    return Scope(
        name=".".join([*path, tree.source(name) if name else "<module>"]),
        kind="module" if name is None else "method" if context.classes else "function",
        span=TextSpan(start, end),
        header="".join(f"{line}\n" for line in lines),
        has_error=any(node.has_error for node in nodes),
    )


def _first_line(tree: ParsedText, node: Node) -> str:
    start = tree.span(node).start
    while start and tree.text[start - 1] in " \t":
        start -= 1
    return next(iter(tree.text[start : tree.span(node).end].splitlines()), "")


def _names_in(tree: ParsedText, node: Node) -> set[str]:
    return {tree.source(each) for each in descendants(node) if each.type == "identifier"}
