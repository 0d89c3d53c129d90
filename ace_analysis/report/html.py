"""A file's findings as one page to look at: the code as a heat map, and for each finding what it comes from.

The page is whole in itself: no script, nothing from elsewhere, a content security policy that allows no more
than its own style sheet. It works with the keyboard alone, since it is made of links and headings. Its parts
can stand in another page that carries STYLE, an editor's web view for one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ace_analysis
from ace_analysis.report.attribution import Attribution, LatentScore, TokenScore
from ace_analysis.report.code_html import code_html, site_marks, token_marks
from ace_analysis.report.escaping import escaped, one_line
from ace_analysis.report.finding import Finding, SiteScore
from ace_analysis.report.kinds import kind_text
from ace_analysis.report.style import STYLE, content_security_policy
from ace_analysis.report.svg import bar_svg, graph_svg, heads_map_svg
from ace_analysis.source.document import CodeDocument, TextSpan

MOST_TOKENS = 12
CONTEXT_LINES = 1
"""Lines of code around the first and the last token of an explanation that are shown."""

_LEGEND = (
    '<p class="soft legend"><span class="raises h6">raises</span> <span class="lowers h6">lowers</span>'
    " the score; the stronger, the more. The place itself is outlined.</p>"
)
_ABOUT_THE_MAP = "What each contributes through all later layers. Heads and MLPs have a scale each; − lowers."
_ABOUT_THE_GRAPH = (
    "The strongest parts. A line is what a part contributes through all paths, its width the square root."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePage:
    """What a page shows.

    Attributes:
        path: the file, as it was named.
        document: its text.
        sites: the score of every candidate.
        findings: what a check shows, in the order of the text.
        threshold: the probability from which a place is a finding.
        explanations: of findings, by their span; a finding may have none.
        engine: what the engine says of itself.
        notes: what else a reader has to know.
    """

    path: str
    document: CodeDocument
    sites: Sequence[SiteScore]
    findings: Sequence[Finding]
    threshold: float
    explanations: Mapping[TextSpan, Attribution] = field(default_factory=dict[TextSpan, Attribution])
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: Sequence[str] = ()


def page_of(page: FilePage) -> str:
    """The page. It is plain Unicode without lone surrogates, whatever the code holds."""
    marks = site_marks(page.sites, page.findings, page.threshold)
    whole = TextSpan(0, len(page.document))
    parts = [
        f"<header><h1>{escaped(page.path)}</h1>{_about(page)}</header>",
        f"<main>{_overview(page)}",
        '<h3>Where the model sees something wrong</h3><p class="soft legend"><span class="heat h2">low</span>'
        ' <span class="heat h5">near the threshold</span> <span class="heat h8 found">finding</span>'
        " probability of each place that can be wrong; point at one to read it.</p>",
        code_html(page.document, whole, marks),
        *_sections(page),
        "</main>",
    ]
    return document_of(f"ACE: {page.path}", "\n".join(parts))


def document_of(title: str, body: str) -> str:
    """A whole HTML document around a body of ours."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(content_security_policy())}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def why_html(document: CodeDocument, why: Attribution) -> str:
    """One explanation: code, tokens, latents, heads by layers, graph, and what is left open."""
    target = why.target
    value = f"{why.value:+.2f} {why.unit}"
    said = one_line(target.description)
    parts = [
        f'<p class="claim">{escaped(said[:1].upper() + said[1:])}: <strong>{escaped(value)}</strong></p>',
        "<h3>Source tokens that drive it</h3>",
        _LEGEND,
        _code(document, why),
        '<div class="parts">',
        _part("Strongest tokens", _tokens(document, why)),
        _part("Heads and MLPs by layer", _wide(heads_map_svg(why), _ABOUT_THE_MAP)),
        _part("Latents that fired", _latents(document, why), "whole"),
        _part("Where it comes from", _wide(graph_svg(why), _ABOUT_THE_GRAPH), "whole"),
        "</div>",
        _rest(why),
    ]
    return "\n".join(part for part in parts if part)


def _about(page: FilePage) -> str:
    facts = [
        str(page.engine[name]) for name in ("model", "dtype", "device") if page.engine.get(name) is not None
    ]
    if page.engine.get("layer") is not None:
        facts.append(f"read behind block {page.engine['layer']}")
    facts.append(f"ACE {ace_analysis.__version__}")
    notes = "".join(f'<p class="soft">{escaped(note)}</p>' for note in page.notes)
    return f'<p class="soft">{escaped(" · ".join(facts))}</p>{notes}'


def _overview(page: FilePage) -> str:
    if not page.findings:
        return "<p>No findings.</p>"
    rows = "".join(
        f'<li><a href="#finding-{number}">line {page.document.line_column(each.span.start)[0]}:'
        f" {escaped(kind_text(each.kind).title)}</a>"
        f" {_code_token(page.document, each.span)} (probability {each.score:.2f})</li>"
        for number, each in enumerate(page.findings, start=1)
    )
    return f'<nav aria-label="findings"><ol class="findings">{rows}</ol></nav>'


def _sections(page: FilePage) -> Iterator[str]:
    for number, finding in enumerate(page.findings, start=1):
        words = kind_text(finding.kind)
        line, _ = page.document.line_column(finding.span.start)
        why = page.explanations.get(finding.span)
        inside = why_html(page.document, why) if why is not None else '<p class="soft">Not explained.</p>'
        yield (
            f'<section id="finding-{number}" tabindex="-1"><h2>{number}. {escaped(words.title)}:'
            f" {_code_token(page.document, finding.span)}, line {line}</h2>"
            f"<p>{escaped(words.claim[:1].upper() + words.claim[1:])}: probability {finding.score:.2f}, shown"
            f" from {finding.threshold:.2f} on. {escaped(words.help)}</p>{inside}</section>"
        )


def _code(document: CodeDocument, why: Attribution) -> str:
    """The lines that were read, coloured by what each token contributes."""
    spans = [token.span for token in why.tokens if token.span is not None]
    target = why.target.span
    line, _ = document.line_column(target.start)
    near = [span for span in spans if abs(document.line_column(span.start)[0] - line) <= 60]
    first = max(1, document.line_column(min((*near, target)).start)[0] - CONTEXT_LINES)
    last = min(len(document.line_starts), line + CONTEXT_LINES)
    shown = TextSpan(document.line_starts[first - 1], document.line_starts[last - 1] + 1)
    return code_html(document, shown, token_marks(why.tokens, target, why.unit))


def _part(title: str, inside: str, classes: str = "") -> str:
    return f'<div class="{classes}"><h3>{title}</h3>{inside}</div>' if inside else ""


def _wide(picture: str, about: str) -> str:
    return f'<div class="wide">{picture}</div><p class="soft">{about}</p>' if picture else ""


def _tokens(document: CodeDocument, why: Attribution) -> str:
    shown = why.tokens[:MOST_TOKENS]
    longest = _longest(shown)
    return _table(("token", "", why.unit, ""), (_token_row(document, each, longest) for each in shown))


def _token_row(document: CodeDocument, token: TokenScore, longest: float) -> Sequence[str]:
    where = "" if token.span is None else f"line {document.line_column(token.span.start)[0]}"
    return (_token(token.text), f'<span class="soft">{where}</span>', *_scored(token.score, longest))


def _latents(document: CodeDocument, why: Attribution) -> str:
    if not why.latents:
        return ""
    longest = _longest(why.latents)
    rows = [_latent_row(document, each, longest) for each in why.latents]
    rows.append(("all others", "", *_scored(why.other_latents, longest), ""))
    rows.append(("any such place", "", *_scored(why.constant, longest), ""))
    return _table(("latent", "fired on", why.unit, "", "what else it fires on"), rows)


def _latent_row(document: CodeDocument, latent: LatentScore, longest: float) -> Sequence[str]:
    tip = f"{latent.feature}: {latent.activation:.2f}, silent up to {latent.threshold:.2f}"
    name = f'<span title="{escaped(tip)}">{latent.latent}</span>'
    label = f'<span class="soft">{escaped(latent.label)}</span>'
    return (name, _code_token(document, latent.span), *_scored(latent.score, longest), label)


def _rest(why: Attribution) -> str:
    notes = " ".join(escaped(note) for note in why.notes)
    parts = (
        "Parts act through each other: the scores of heads and layers add up to nothing." if why.heads else ""
    )
    return (
        f'<p class="soft">Unexplained: {why.unexplained:+.2f} {escaped(why.unit)}. {parts}'
        f" Method: {escaped(why.method)}. {notes}</p>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows are markup: two cells, a score, a bar, and what else there is."""
    names = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    body = "".join(
        f'<tr><td>{first}</td><td>{second}</td><td class="score">{score}</td><td class="bar">{bar}</td>'
        f"{''.join(f'<td>{each}</td>' for each in rest)}</tr>"
        for first, second, score, bar, *rest in rows
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _scored(score: float, longest: float) -> tuple[str, str]:
    return f"{score:+.2f}", bar_svg(score, longest)


def _longest(parts: Sequence[LatentScore] | Sequence[TokenScore]) -> float:
    return max((abs(part.score) for part in parts), default=0.0)


def _code_token(document: CodeDocument, span: TextSpan) -> str:
    return _token(document.text[span.start : span.end])


def _token(text: str) -> str:
    """A token on one line; blanks alone are named."""
    shown = one_line(text)
    if not shown:
        return (
            '<span class="soft">end of line</span>'
            if "\n" in text or "\r" in text
            else '<span class="soft">blank</span>'
        )
    return f'<code class="token">{escaped(shown)}</code>'
