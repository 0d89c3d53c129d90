"""Findings for people: the line, a caret under the place, what it is, and the latents that made it fire."""

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ace_analysis.cli.messages import printable
from ace_analysis.report.finding import Evidence, Finding
from ace_analysis.report.kinds import kind_text
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.source.document import CodeDocument, TextSpan

MOST_LATENTS = 3
LONGEST_LINE = 160
"""Code points of a source line that are shown; of a longer one, those around the finding."""
_TAB = "    "


class HumanRenderer:
    """Writes to one console, file by file. Colours come with a terminal, and go where NO_COLOR is set."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def file(self, checked: CheckedFile) -> None:
        for finding in checked.report.findings:
            self._finding(checked.report.path, checked.document, finding)

    def summary(self, run: CheckRun) -> None:
        checked = len(run.files) - len(run.failed)
        with_findings = sum(bool(each.report.findings) for each in run.files)
        new = " new" if run.known is not None else ""
        found = counted(run.findings, f"{new} finding".lstrip()) if run.findings else f"no{new} findings"
        where = f" in {counted(with_findings, 'file')}" if with_findings else ""
        text = f"{found}{where}, {counted(checked, 'file')} checked"
        if run.failed:
            text += f", {counted(len(run.failed), 'file')} not checked"
        if run.known:
            text += f", {run.known:,} known"
        if run.interrupted:
            text += ", interrupted before the rest"
        self._print(Text(f"{text}.", style="bold"))

    def _finding(self, path: str, document: CodeDocument, finding: Finding) -> None:
        line, column = document.line_column(finding.span.start)
        head = Text(f"{path}:{line}:{column + 1}", style="bold")
        head.append(": ", style="not bold")
        head.append(finding.kind, style="not bold yellow")
        head.append(f" (probability {finding.score:.2f}): {kind_text(finding.kind).claim}", style="not bold")
        self._print(head)
        source, caret = excerpt(document, finding.span)
        margin = " " * len(str(line))
        self._print(Text(f"{margin} |", style="dim"))
        self._print(Text.assemble((f"{line} | ", "dim"), source))
        self._print(Text.assemble((f"{margin} | ", "dim"), (caret, "bold red")))
        strongest = sorted(finding.evidence, key=_share, reverse=True)
        for each in strongest[:MOST_LATENTS]:
            self._print(Text(f"{margin} = {_fired(document, each)}", style="dim"))
        if len(strongest) > MOST_LATENTS:
            self._print(Text(f"{margin} = and {len(strongest) - MOST_LATENTS} more", style="dim"))
        self._print(Text())

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def excerpt(document: CodeDocument, span: TextSpan) -> tuple[str, str]:
    """The line that a span starts in and the carets below the span, both as a terminal shows them."""
    line, column = document.line_column(span.start)
    text = document.line_text(line)
    end = min(column + len(span), len(text))
    start = max(0, min(column - LONGEST_LINE // 2, len(text) - LONGEST_LINE))
    stop = start + LONGEST_LINE
    before, marked = _shown(text[start:column]), _shown(text[column : min(end, stop)])
    lead, tail = "..." * (start > 0), "..." * (stop < len(text))
    source = lead + before + marked + _shown(text[min(end, stop) : stop]) + tail
    return source, " " * (len(lead) + cell_len(before)) + "^" * max(1, cell_len(marked))


def _shown(text: str) -> str:
    return printable(text.replace("\t", _TAB))


def _share(evidence: Evidence) -> float:
    """What a latent adds to the log-odds."""
    return evidence.activation * evidence.weight


def _fired(document: CodeDocument, evidence: Evidence) -> str:
    line, column = document.line_column(evidence.span.start)
    hook, _, index = evidence.feature.rpartition("/")
    what = _shown(document.text[evidence.span.start : evidence.span.end].strip()) or "the line's end"
    strength = f"{evidence.activation:.2f} (silent up to {evidence.threshold:.2f})"
    return f"latent {index} of {hook}: {strength} on {what} at {line}:{column + 1}"
