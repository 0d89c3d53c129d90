"""Scopes, the unit of analysis, and the candidate sites in them.

A scope is analysed with a header (the imports that it uses, the lines of its classes), so that its result
depends on its own text and that header alone: an edit costs one scope, whatever the size of the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from tree_sitter import Node

from ace_analysis.source.document import TextSpan
from ace_analysis.source.parsing import ParsedText, descendants, parse

MAX_HEADER_IMPORTS = 20
MAX_RUN_LINES = 60
_IMPORTS = ("import_statement", "import_from_statement", "future_import_statement")
_FUNCTIONS = ("function_definition",)
_BORDER = re.compile(r"^(?:@|(?:async[ \t]+)?def\b|class\b)", re.MULTILINE)


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

    def to_document(self, offset: int) -> int:
        """A prompt's offset as one of the document; negative inside the header."""
        return -1 if offset < len(self.header) else offset - len(self.header) + self.span.start


def scopes_of(text: str) -> tuple[Scope, ...]:
    """All scopes in source order. They do not overlap; blank space and imports between them are left out."""
    tree = parse(text)
    if not tree.root.has_error:
        return tuple(_scopes_in(tree, tree.root.children, (), _imports_of(tree)))
    return tuple(_scopes_of_broken(text))


def _scopes_of_broken(text: str) -> Iterator[Scope]:
    """Parse each top-level definition alone, so that broken syntax costs only the one that it is in."""
    borders = [
        0,
        *(m.start() for m in _BORDER.finditer(text) if m.start() and not _decorated(text, m)),
        len(text),
    ]
    parts = [(start, parse(text[start:end])) for start, end in pairwise(borders)]
    imports = [found for _, tree in parts for found in _imports_of(tree)]
    for start, tree in parts:
        for scope in _scopes_in(tree, tree.root.children, (), imports):
            yield replace(scope, span=scope.span.shifted(start))


def _decorated(text: str, border: re.Match[str]) -> bool:
    """Whether the line before is a decorator, which belongs to this definition."""
    before = text[: border.start()].rstrip("\r\n")
    return before[before.rfind("\n") + 1 :].startswith("@")


def _scopes_in(
    tree: ParsedText, nodes: list[Node], classes: tuple[Node, ...], imports: list[tuple[str, set[str]]]
) -> Iterator[Scope]:
    run: list[Node] = []
    for node in nodes:
        inner = _definition(node)
        if inner.type not in (*_FUNCTIONS, "class_definition"):
            if inner.type not in (*_IMPORTS, "comment") and inner.is_named:
                run.append(node)
            continue
        yield from _run_scopes(tree, run, classes, imports)
        run = []
        if inner.type == "class_definition":
            body = inner.child_by_field_name("body")
            yield from _scopes_in(tree, body.children if body else [], (*classes, inner), imports)
        else:
            yield _scope(tree, [node], classes, imports)
    yield from _run_scopes(tree, run, classes, imports)


def _definition(node: Node) -> Node:
    inner = node.child_by_field_name("definition") if node.type == "decorated_definition" else None
    return inner or node


def _run_scopes(
    tree: ParsedText, run: list[Node], classes: tuple[Node, ...], imports: list[tuple[str, set[str]]]
) -> Iterator[Scope]:
    """Cut a run of statements at statement borders, so that one scope stays below MAX_RUN_LINES."""
    part: list[Node] = []
    for node in run:
        if part and node.end_point[0] - part[0].start_point[0] >= MAX_RUN_LINES:
            yield _scope(tree, part, classes, imports)
            part = []
        part.append(node)
    if part:
        yield _scope(tree, part, classes, imports)


def _scope(
    tree: ParsedText, nodes: list[Node], classes: tuple[Node, ...], imports: list[tuple[str, set[str]]]
) -> Scope:
    first = tree.span(nodes[0])
    indent = len(tree.text[: first.start]) - len(tree.text[: first.start].rstrip(" \t"))
    end = tree.span(nodes[-1]).end
    end += tree.text[end : end + 1] == "\n"
    used = {tree.source(n) for node in nodes for n in descendants(node) if n.type == "identifier"}
    lines = [line for line, names in imports if names & used][:MAX_HEADER_IMPORTS]
    lines += [_first_line(tree, node) for node in classes]
    inner = _definition(nodes[0])
    name = inner.child_by_field_name("name") if inner.type in _FUNCTIONS else None
    path = [tree.source(n) for n in (c.child_by_field_name("name") for c in classes) if n]
    return Scope(
        name=".".join([*path, tree.source(name) if name else "<module>"]),
        kind="module" if name is None else "method" if classes else "function",
        span=TextSpan(first.start - indent, end),
        header="".join(f"{line}\n" for line in lines),
        has_error=any(node.has_error for node in nodes),
    )


def _first_line(tree: ParsedText, node: Node) -> str:
    start = tree.span(node).start
    begin = tree.text.rfind("\n", 0, start) + 1
    end = tree.text.find("\n", start)
    return tree.text[begin : end if end >= 0 else len(tree.text)].rstrip("\r")


def _imports_of(tree: ParsedText) -> list[tuple[str, set[str]]]:
    """Each module-level import with the names that it binds (or mentions: a superset does no harm)."""
    found = (node for node in tree.root.children if node.type in _IMPORTS)
    return [
        (tree.source(node), {tree.source(n) for n in descendants(node) if n.type == "identifier"})
        for node in found
    ]
