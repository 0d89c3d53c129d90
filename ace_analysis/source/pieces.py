"""Where to cut a text that doesn't parse, so that broken syntax costs only the definition that it is in.

Cuts are made by indentation alone, because that is what a reader goes by when the brackets are wrong.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from ace_analysis.source.document import line_starts_of

_DEFINITION = re.compile(r"(?:async[ \t]+)?def\b|class\b")
_STATEMENT = re.compile(r"[^\W\d]")
_CONTINUED = re.compile(r"(?:else|elif|except|finally|case)\b")
_INDENTED = re.compile(r"^(?P<indent>[ \t]*)(?P<mark>@|(?:async[ \t]+)?def\b|class\b)", re.MULTILINE)
_CLASS = re.compile(
    r"(?P<indent>[ \t]*)class[ \t]+(?P<name>\w+)(?:\[[^\]]*\])?"
    r"(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?[^:\r\n]*:?.*(?:\r\n?|\n|\Z)"
)
_MOST_JOINED = 8


def pieces_of(text: str, indent: str, is_broken: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Start and end of each definition at an indentation, and of what is between them.

    A cut may be wrong, for example inside a long string: a broken piece that becomes whole together with what
    follows it is joined to that.
    """
    cuts = [0, *_cuts(text, indent), len(text)]
    spans = [(start, end) for start, end in pairwise(cuts) if start < end]
    index = 0
    while index < len(spans):
        start, end = spans[index]
        last = index
        if is_broken(text[start:end]):
            for other in range(index + 1, min(index + _MOST_JOINED, len(spans))):
                if not is_broken(text[start : spans[other][1]]):
                    last, end = other, spans[other][1]
                    break
        yield start, end
        index = last + 1


def _cuts(text: str, indent: str) -> Iterator[int]:
    decorated = in_definition = False
    for start in line_starts_of(text):
        at = start + len(indent)
        if not text.startswith(indent, start) or not (text[at : at + 1] == "@" or _STATEMENT.match(text, at)):
            continue
        is_decorator = text[at] == "@"
        is_definition = _DEFINITION.match(text, at) is not None
        begins = is_decorator or is_definition or (in_definition and not _CONTINUED.match(text, at))
        if begins and not decorated and start:
            yield start
        in_definition = is_definition or (in_definition and not begins)
        decorated = is_decorator or (decorated and not is_definition)


@dataclass(frozen=True, slots=True)
class ClassHead:
    """The class that a piece begins with; `end` is that of its header."""

    name: str
    line: str
    end: int
    body_indent: str


def class_head(piece: str) -> ClassHead | None:
    """The class that a piece defines, if it is one and has a method or another class in it."""
    first = next((match for match in _INDENTED.finditer(piece) if not match["mark"].startswith("@")), None)
    head = _CLASS.match(piece, first.start()) if first is not None else None
    inner = next(_INDENTED.finditer(piece, head.end()), None) if head is not None else None
    if head is None or inner is None or len(inner["indent"]) <= len(head["indent"]):
        return None
    line = head[0].splitlines()[0]
    return ClassHead(head["name"], line, head.end(), inner["indent"])
