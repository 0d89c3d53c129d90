"""Edits that tell ACE to be quiet, as a person would type them.

A comment that speaks to ACE already gets one kind more; any other comment keeps its place and ours goes
behind it. Where no comment can stand, as inside a string over many lines, there is no such edit: each one is
tried on a copy first, and offered only if what went in is a comment there.
"""

import re
from dataclasses import dataclass

from ace_analysis.source.document import TextSpan
from ace_analysis.source.ignores import FIRST_LINES
from ace_analysis.source.parsing import parse
from ace_lsp.positions import LineIndex

_LISTED = r"#\s*ace\s*:\s*{name}\s*\[([^\]#]*)\]"
_ON_LINE = re.compile(_LISTED.format(name="ignore"))
_IN_FILE = re.compile(_LISTED.format(name="ignore-file"))
_CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")
"""PEP 263: counts in the first two lines only, so nothing of ours may push it down."""
_NO_CODE = re.compile(r"[ \t\f]*(?:#.*)?$")


@dataclass(frozen=True, slots=True)
class Insertion:
    """`text` goes in at `offset`, which is in code points."""

    offset: int
    text: str

    def applied(self, text: str) -> str:
        return text[: self.offset] + self.text + text[self.offset :]


def ignore_finding(lines: LineIndex, span: TextSpan, kind: str) -> Insertion | None:
    """Ignore one kind on the lines of a finding; None where no comment can say so."""
    touched = range(lines.line_at(span.start), lines.line_at(span.end) + 1)
    for line in touched:
        if (listed := _listed(lines, line, _ON_LINE)) is not None:
            return _one_more(listed, kind)
    for line in touched:
        end = lines.starts[line] + len(lines.line_text(line).rstrip())
        edit = Insertion(end, f"  # ace: ignore[{kind}]")
        continued = lines.text[:end].endswith("\\") and not _is_comment(lines.text, end - 1)
        if not continued and _is_comment(edit.applied(lines.text), end + 2):
            return edit
    return None


def ignore_in_file(lines: LineIndex, kind: str) -> Insertion | None:
    """Ignore one kind in the whole file: in a line of its own, behind the shebang and the encoding."""
    for line in range(min(FIRST_LINES, len(lines))):
        if (listed := _listed(lines, line, _IN_FILE)) is not None:
            return _one_more(listed, kind)
    first = _lines_that_stay(lines)
    if first >= len(lines):
        return None
    start = lines.starts[first] + (first == 0 and lines.text.startswith("\ufeff"))
    edit = Insertion(start, f"# ace: ignore-file[{kind}]{_line_ending(lines)}")
    return edit if _is_comment(edit.applied(lines.text), start) else None


def _listed(lines: LineIndex, line: int, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The list of kinds in a comment of this line; a string that looks like one is none."""
    start = lines.starts[line]
    found = pattern.finditer(lines.text, start, start + len(lines.line_text(line)))
    return next((match for match in found if _is_comment(lines.text, match.start())), None)


def _one_more(listed: re.Match[str], kind: str) -> Insertion:
    """One kind more in a list, written as the list is."""
    before = listed[1].rstrip(" \t,")
    separator = ", " if re.search(r",\s", before) else ","
    return Insertion(listed.start(1) + len(before), f"{separator if before.strip() else ''}{kind}")


def _lines_that_stay(lines: LineIndex) -> int:
    """How many lines at the top have to stay there: a shebang, and what declares the encoding."""
    one, two = (lines.line_text(line).removeprefix("\ufeff") for line in (0, 1))
    if _CODING.match(two) and _NO_CODE.match(one):
        return 2
    return 1 if one.startswith("#!") or _CODING.match(one) else 0


def _line_ending(lines: LineIndex) -> str:
    """The one that the first line has."""
    ending = lines.text[len(lines.line_text(0)) : lines.starts[1]] if len(lines) > 1 else ""
    return ending or "\n"


def _is_comment(text: str, offset: int) -> bool:
    byte = len(text[:offset].encode("utf-8", "surrogatepass"))
    node = parse(text).root.descendant_for_byte_range(byte, byte + 1)
    return node is not None and node.type == "comment"
