"""Places that were pasted from `ace check`'s list: what to type is said, instead of explaining another token.

A person's list counts columns as compilers do; what a command takes counts them from 0, as programs do. One
column too far is often another token, of which something can be said that was not asked for.
"""

import shlex
from collections.abc import Callable
from dataclasses import replace

from ace_analysis.cli.messages import printable
from ace_analysis.cli.scanning import Scanner, ScanRequest
from ace_analysis.source.document import CodeDocument, TextSpan

COUNTED = "columns count from 0 here, from 1 in ace check's list"


def one_before(document: CodeDocument, line: int, column: int) -> str:
    """What to say of a column without code whose neighbour to the left is code; else nothing."""
    text = document.line_text(line)
    if not 0 < column <= len(text) or text[column - 1].isspace():
        return ""
    return f"; {COUNTED}: the place before it is {line}:{column - 1}"


def command_at(name: str, place: str) -> str:
    """A command with a place's file, up to where the line stands."""
    path, _, _ = place.rpartition(":")
    path, _, _ = path.rpartition(":")
    return printable(f"ace {name} {shlex.quote(path)}:")


def advice(
    engine: Scanner, asked: ScanRequest, offset: int, command: str, cancelled: Callable[[], bool]
) -> str | None:
    """What to type for the finding of a place's line that is nearest to a place that is none.

    Args:
        engine: reads the place's scope, or has it kept from the explanation.
        asked: the document, and which findings are shown.
        offset: the place.
        command: see `command_at`.
        cancelled: asked between blocks.

    Returns:
        None where the place is in a finding, or its line has none.

    Raises:
        Cancelled: when `cancelled()` turned true.
    """
    document = asked.document
    line, column = document.line_column(offset)
    here = TextSpan(offset, offset + 1)
    reports = engine.scan(replace(asked, only=(_line(document, line),)), cancelled, lambda report: None)
    spans = [finding.span for report in reports for finding in report.findings]
    own = [span for span in spans if document.line_column(span.start)[0] == line]
    if not own or any(span.overlaps(here) for span in own):
        return None
    nearest = min((document.line_column(span.start)[1] for span in own), key=lambda each: abs(each - column))
    return f"no finding at {line}:{column}; {COUNTED}: for that line's, {command}{line}:{nearest}"


def _line(document: CodeDocument, line: int) -> TextSpan:
    start = document.line_starts[line - 1]
    return TextSpan(start, start + max(1, len(document.line_text(line))))
