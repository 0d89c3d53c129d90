"""The syntax tree of one function as plain Python objects, read once and then asked by every rule.

tree-sitter's own nodes find their parent by a walk from the root, which a dozen rules can't afford.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from tree_sitter import Node, TreeCursor

from ace_analysis.source.document import TextSpan
from ace_analysis.source.parsing import parse
from ace_analysis.source.sites import candidate_sites

_LEFT_OUT = frozenset(
    {"type", "decorator", "ERROR", "string_content", "string_start", "string_end", "case_pattern"}
)
_LOGGERS = ("log", "logger", "logging", "_log", "_logger", "warnings")
_LOG_CALLS = frozenset({"debug", "info", "warning", "warn", "error", "exception", "critical", "log"})


@dataclass(slots=True, eq=False)
class CodeNode:
    """One node; `start` and `end` are code points, `role` is its field in its parent."""

    type: str
    role: str
    start: int
    end: int
    parent: "CodeNode | None"
    children: list["CodeNode"] = field(default_factory=lambda: list[CodeNode]())

    def child(self, role: str) -> "CodeNode | None":
        return next((node for node in self.children if node.role == role), None)

    def below(self) -> Iterator["CodeNode"]:
        """This node and all that are in it, in source order."""
        stack: list[CodeNode] = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def above(self) -> Iterator["CodeNode"]:
        """What this node is in, from the inside out."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent


class CodeTree:
    """What can be mutated in a text: no annotations, decorators, strings, log calls, `__debug__`."""

    def __init__(self, text: str) -> None:
        parsed = parse(text)
        self.text = text
        self.root = _read(parsed.root.walk(), parsed.offset_of)
        self.by_type: dict[str, list[CodeNode]] = defaultdict(list)
        stack = [self.root]
        while stack:
            node = stack.pop()
            if not self._is_quiet(node):
                self.by_type[node.type].append(node)
                stack.extend(reversed(node.children))

    def source(self, node: CodeNode) -> str:
        return self.text[node.start : node.end]

    def all_of(self, *types: str) -> Iterator[CodeNode]:
        for name in types:
            yield from self.by_type.get(name, ())

    @cached_property
    def sites(self) -> dict[int, int]:
        """Start to end of each candidate site, in source order."""
        return {site.span.start: site.span.end for site in candidate_sites(self.text)}

    @cached_property
    def _starts(self) -> list[int]:
        return list(self.sites)

    def first_site(self, start: int, end: int | None = None) -> TextSpan | None:
        """The first candidate site that begins in `start..end`."""
        index = bisect_left(self._starts, start)
        if index == len(self._starts) or (end is not None and self._starts[index] >= end):
            return None
        return TextSpan(self._starts[index], self.sites[self._starts[index]])

    def _is_quiet(self, node: CodeNode) -> bool:
        """Whether what is in the node is seen by nobody, or only by the reader of a log."""
        if node.type == "call":
            return self._is_log_call(node.child("function"))
        condition = node.child("condition") if node.type == "if_statement" else None
        return condition is not None and "__debug__" in self.source(condition)

    def _is_log_call(self, function: CodeNode | None) -> bool:
        if function is None or function.type != "attribute":
            return False
        owner, _, name = self.source(function).rpartition(".")
        return name in _LOG_CALLS and owner.rpartition(".")[2].lower() in _LOGGERS


def _read(cursor: TreeCursor, offset_of: Callable[[int], int]) -> CodeNode:
    root = _node(cursor, offset_of, None)
    parent = root
    if not cursor.goto_first_child():
        return root
    while True:
        node = _node(cursor, offset_of, parent)
        if node.type not in _LEFT_OUT:
            parent.children.append(node)
            if cursor.goto_first_child():
                parent = node
                continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent() or parent.parent is None:
                return root
            parent = parent.parent


def _node(cursor: TreeCursor, offset_of: Callable[[int], int], parent: CodeNode | None) -> CodeNode:
    node = cast("Node", cursor.node)
    start, end = offset_of(node.start_byte), offset_of(node.end_byte)
    return CodeNode(node.type, cursor.field_name or "", start, end, parent)
