"""What the author of a file said not to report.

    # ace: ignore                              nothing on this line
    # ace: ignore[off-by-one,comparison]       none of these kinds on this line
    # ace: ignore-file                         nothing in this file, in one of its first lines
    # ace: ignore-file[variable-misuse]        none of these kinds in this file

Only comments count, so that a string that speaks of these does nothing. What can't be understood is told and
not guessed at. A kind is a finding's, or a candidate site's as a wider word for it.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.kinds import KINDS
from ace_analysis.source.parsing import descendants, parse
from ace_analysis.source.sites import SiteKind

FIRST_LINES = 10
"""How far down `ignore-file` may stand."""

KNOWN_KINDS = tuple(dict.fromkeys((*KINDS, *(kind.value for kind in SiteKind))))

_MENTION = re.compile(r"#\s*ace\s*:")
_DIRECTIVE = re.compile(r"#\s*ace\s*:\s*([\w-]*)\s*(?:\[([^\]#]*)(\]?))?")

Kinds = frozenset[str]
EVERY: Kinds = frozenset(KNOWN_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignores:
    """What is not to be reported: by line, and in the whole file. `notes` says what was not understood."""

    everywhere: Kinds = frozenset()
    by_line: Mapping[int, Kinds] = field(default_factory=dict[int, Kinds])
    notes: tuple[str, ...] = ()

    @property
    def whole_file(self) -> bool:
        return self.everywhere >= EVERY

    def hide(self, document: CodeDocument, span: TextSpan, kind: str) -> bool:
        """Whether a finding there is unwanted."""
        first, last = (document.line_column(offset)[0] for offset in (span.start, span.end))
        kinds = self.everywhere.union(*(self.by_line.get(line, ()) for line in range(first, last + 1)))
        return kind in kinds or kinds >= EVERY


def ignores_of(document: CodeDocument) -> Ignores:
    """The comments of a file that speak to ACE."""
    if not _MENTION.search(document.text):
        return Ignores()
    tree = parse(document.text)
    notes: list[str] = []
    everywhere: Kinds = frozenset()
    by_line: dict[int, Kinds] = {}
    for node in descendants(tree.root):
        if node.type != "comment":
            continue
        line, _ = document.line_column(tree.span(node).start)
        for name, kinds in _directives(tree.source(node), line, notes):
            if name == "ignore":
                by_line[line] = by_line.get(line, frozenset()) | kinds
            elif line <= FIRST_LINES:
                everywhere |= kinds
            else:
                where = f"line {line}: # ace: ignore-file counts in the first {FIRST_LINES} lines only"
                notes.append(where)
    return Ignores(everywhere=everywhere, by_line=by_line, notes=tuple(notes))


def _directives(comment: str, line: int, notes: list[str]) -> list[tuple[str, Kinds]]:
    """Each directive in a comment with its kinds; what can't be understood is noted and left out."""
    found: list[tuple[str, Kinds]] = []
    for match in _DIRECTIVE.finditer(comment):
        name, listed, closed = match.groups()
        if name not in ("ignore", "ignore-file"):
            notes.append(f"line {line}: expected # ace: ignore or # ace: ignore-file, got {match[0]!r}")
        elif listed is not None and (not closed or not listed.strip()):
            notes.append(f"line {line}: expected kinds, as in ignore[off-by-one], got {match[0]!r}")
        else:
            found.append((name, EVERY if listed is None else _kinds(listed, line, notes)))
    return found


def _kinds(listed: str, line: int, notes: list[str]) -> Kinds:
    words = [word.lower() for word in re.split(r"[\s,]+", listed) if word]
    for word in words:
        if word not in KNOWN_KINDS:
            (near,) = difflib.get_close_matches(word, KNOWN_KINDS, n=1, cutoff=0.0)
            notes.append(
                f"line {line}: unknown kind {word!r} in # ace: ignore; did you mean {near!r}? "
                f"Known: {', '.join(KNOWN_KINDS)}"
            )
    return frozenset(word for word in words if word in KNOWN_KINDS)
