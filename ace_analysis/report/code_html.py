"""Source code as a page shows it: numbered lines with marked places, as a heat map of scores."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ace_analysis.report.attribution import TokenScore
from ace_analysis.report.escaping import escaped
from ace_analysis.report.finding import Finding, SiteScore
from ace_analysis.report.svg import sign_of
from ace_analysis.source.document import CodeDocument, TextSpan

LEVELS = 9
"""Strengths that the style sheet knows, h1 to h9."""

LINE_END = "↵"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that is coloured. `link` names the element that it leads to; `tip` is told on pointing."""

    span: TextSpan
    classes: str
    tip: str
    link: str = ""


def code_html(document: CodeDocument, span: TextSpan, marks: Iterable[Mark]) -> str:
    """Whole lines from a span's first to its last, numbered. Of marks that overlap, the first is shown."""
    first, _ = document.line_column(span.start)
    last, _ = document.line_column(max(span.start, span.end - 1))
    apart = _apart(marks)
    rows = (
        f'<span class="line"><span class="number">{line}</span>{_line(document, line, apart)}\n</span>'
        for line in range(first, last + 1)
    )
    return f'<pre class="code" dir="ltr" tabindex="0"><code>{"".join(rows)}</code></pre>'


def site_marks(sites: Sequence[SiteScore], findings: Sequence[Finding], threshold: float) -> list[Mark]:
    """A mark for each candidate, as strong as its score; findings lead to what is said of them."""
    found = {finding.span: number for number, finding in enumerate(findings, start=1)}
    marks: list[Mark] = []
    for site in sites:
        number = found.get(site.span)
        tip = f"{site.kind}: probability {site.score:.3f}"
        classes = f"heat h{_level(site.score, 1.5 * threshold)}"
        if number is None:
            marks.append(Mark(site.span, classes, tip))
        else:
            marks.append(Mark(site.span, f"{classes} found", f"{tip}, finding {number}", f"finding-{number}"))
    return marks


def token_marks(tokens: Sequence[TokenScore], target: TextSpan, unit: str) -> list[Mark]:
    """A mark for each token that was read, by what it contributes; the target is outlined."""
    summed: dict[TextSpan, float] = {}
    for token in tokens:
        if token.span is not None:
            summed[token.span] = summed.get(token.span, 0.0) + token.score
    largest = max(map(abs, summed.values()), default=0.0)
    return [
        Mark(
            span,
            f"{sign_of(score)} h{_level(abs(score), largest)}" + (" target" if span.overlaps(target) else ""),
            f"{score:+.3f} {unit}",
        )
        for span, score in summed.items()
    ]


def _level(value: float, full: float) -> int:
    """A strength from 0 to LEVELS."""
    return round(LEVELS * min(1.0, max(0.0, value / full))) if full > 0 else 0


def _apart(marks: Iterable[Mark]) -> list[Mark]:
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.span):
        if len(mark.span) and (not kept or mark.span.start >= kept[-1].span.end):
            kept.append(mark)
    return kept


def _line(document: CodeDocument, line: int, marks: Sequence[Mark]) -> str:
    start = document.line_starts[line - 1]
    text = document.line_text(line)
    return "".join(_pieces(text, start, marks))


def _pieces(text: str, start: int, marks: Sequence[Mark]) -> Iterator[str]:
    """The line's text, cut at the marks; one that holds the line's end shows it."""
    at, end = start, start + len(text)
    for mark in marks:
        if mark.span.end <= start or mark.span.start > end:
            continue
        first, last = max(mark.span.start, start), min(mark.span.end, end)
        if first > at:
            yield escaped(text[at - start : first - start])
        shown = text[first - start : last - start]
        if mark.span.start <= end < mark.span.end:
            shown += LINE_END
        if shown:
            yield _marked(shown, mark)
        at = max(at, last)
    yield escaped(text[at - start :])


def _marked(text: str, mark: Mark) -> str:
    inside = f'class="{mark.classes}" title="{escaped(mark.tip)}"'
    if mark.link:
        return f'<a {inside} href="#{mark.link}">{escaped(text)}</a>'
    return f"<span {inside}>{escaped(text)}</span>"
