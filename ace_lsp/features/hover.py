"""An explanation in words, for a hover: pure, once as Markdown and once as plain text.

What is said, and in which order, is decided once (`_finding`, `_attribution`); a style only knows how a
client shows code and lists. Scores are signed and in the target's unit, and never percentages: heads and
layers count the same effect more than once, so shares of a whole do not exist.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lsprotocol import types

from ace_analysis.report.attribution import Attribution, LatentScore, TargetKind
from ace_analysis.report.finding import Evidence, Finding
from ace_analysis.report.kinds import kind_text
from ace_analysis.source.document import TextSpan

MOST = {"latents": 4, "tokens": 6, "heads": 5, "layers": 4}
"""How many of each are shown, largest first."""

LONGEST_TEXT = 40
"""Code points of a place's text that are shown."""

_MARKS = re.compile(r"([\\`*_\[\]<>~&])")
"""What means something to CommonMark inside a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of a place: its finding, its explanation, or both; `note` says why there is no more."""

    text: str
    """The text that all spans are in."""
    where: Callable[[TextSpan], str]
    """A place in words: "line 27"."""
    finding: Finding | None = None
    attribution: Attribution | None = None
    note: str = ""
    page: Callable[[str], str | None] = field(default=lambda _: None)
    """The address of the page about a feature."""


class Markdown:
    """CommonMark, as MarkupContent has it."""

    kind = types.MarkupKind.Markdown

    def code(self, text: str) -> str:
        fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        return f"{fence}{pad}{text}{pad}{fence}"

    def words(self, text: str) -> str:
        return _MARKS.sub(r"\\\1", text)

    def title(self, text: str) -> str:
        return f"**{self.words(text)}**"

    def link(self, text: str, address: str | None) -> str:
        return f"[{self.words(text)}]({address})" if address else self.words(text)

    def join(self, blocks: Iterable[str]) -> str:
        return "\n\n".join(blocks)

    def row(self, text: str) -> str:
        return f"- {text}"


class Plain(Markdown):
    """Text for a client that shows it as it is."""

    kind = types.MarkupKind.PlainText

    def code(self, text: str) -> str:
        return text

    def words(self, text: str) -> str:
        return text

    def title(self, text: str) -> str:
        return text

    def link(self, text: str, address: str | None) -> str:
        return text

    def row(self, text: str) -> str:
        return f"  {text}"


def markdown_of(told: Told) -> str:
    return _said(told, Markdown())


def plain_of(told: Told) -> str:
    return _said(told, Plain())


def hover_of(told: Told, where: types.Range | None, *, markdown: bool = True) -> types.Hover:
    style = Markdown() if markdown else Plain()
    return types.Hover(contents=types.MarkupContent(kind=style.kind, value=_said(told, style)), range=where)


def _said(told: Told, style: Markdown) -> str:
    blocks: list[str] = []
    if told.finding is not None:
        blocks += _finding(told, told.finding, style)
    if told.attribution is not None:
        blocks += _attribution(told, told.attribution, style)
    elif told.finding is not None and told.finding.evidence:
        blocks.append(_list("Latents that fired", _evidence(told, told.finding, style), style))
    if told.note:
        blocks.append(style.words(told.note))
    return style.join(blocks)


def _finding(told: Told, finding: Finding, style: Markdown) -> Iterator[str]:
    words = kind_text(finding.kind)
    place = _shown(told.text[finding.span.start : finding.span.end])
    yield f"{style.title('ACE: ' + words.title)}: {style.code(place)}"
    sure = f"probability {finding.score:.2f}, shown from {finding.threshold:.2f} on"
    yield f"{words.claim[:1].upper()}{words.claim[1:]} ({sure}). {style.words(words.help)}"


def _evidence(told: Told, finding: Finding, style: Markdown) -> Iterator[str]:
    """What a scan knows: latents by what they added to the score."""
    ranked = sorted(finding.evidence, key=lambda each: abs(each.activation * each.weight), reverse=True)
    for each in ranked[: MOST["latents"]]:
        yield f"{each.activation * each.weight:+.2f}  {_latent(told, each, style)}"


def _attribution(told: Told, why: Attribution, style: Markdown) -> Iterator[str]:
    target = why.target
    if told.finding is None:
        yield f"{style.title('ACE')}: {_target(why, style)}"
    yield f"{_quoting(target.description, style)}: {why.value:+.2f} {why.unit}"
    if why.latents:
        rows = (
            f"{each.score:+.2f}  {_latent(told, each, style)}"
            + (f": {style.words(each.label)}" if each.label else "")
            for each in why.latents[: MOST["latents"]]
        )
        yield _list("Latents that fired", rows, style)
    if why.tokens:
        yield _list("Source tokens that drive it", _tokens(told, why, style), style)
    if why.heads:
        heads = (f"{each.score:+.2f}  layer {each.layer}, head {each.head}" for each in why.heads)
        yield _list("Heads", heads, style, MOST["heads"])
    if why.layers:
        layers = (
            f"{each.score:+.2f}  layer {each.layer} (attention {each.attention:+.2f}, MLP {each.mlp:+.2f})"
            for each in why.layers
        )
        yield _list("Layers", layers, style, MOST["layers"])
    yield _rest(why, style)


def _target(why: Attribution, style: Markdown) -> str:
    target = why.target
    said = f"{style.code(_shown(target.text))}, probability {target.probability:.2f}"
    if target.kind is TargetKind.SITE and target.threshold is not None:
        return f"{said} of being wrong; it would be shown from {target.threshold:.2f} on"
    if target.alternative is not None:
        other = target.alternative_probability
        told = f" ({other:.2f})" if other is not None else ""
        return f"{said}; besides it the model expects {style.code(_shown(target.alternative))}{told}"
    return said


def _tokens(told: Told, why: Attribution, style: Markdown) -> Iterator[str]:
    for each in why.tokens[: MOST["tokens"]]:
        where = f", {told.where(each.span)}" if each.span is not None else ""
        yield f"{each.score:+.2f}  {style.code(_shown(each.text))}{where}"


def _rest(why: Attribution, style: Markdown) -> str:
    """What the method leaves open, and how far to trust it."""
    said = [f"Unexplained: {why.unexplained:+.2f} of {why.value:+.2f} {why.unit}."]
    if why.heads or why.layers:
        said.append("Heads and layers act through each other, so their scores do not add up.")
    if why.method:
        said.append(f"Method: {why.method.rstrip('.')}.")
    said += why.notes
    return style.words(" ".join(said))


def _quoting(sentence: str, style: Markdown) -> str:
    """A sentence that quotes code in backticks."""
    pieces = enumerate(sentence.split("`"))
    return "".join(style.code(_shown(piece)) if odd % 2 else style.words(piece) for odd, piece in pieces)


def _latent(told: Told, each: Evidence | LatentScore, style: Markdown) -> str:
    number = each.feature.rpartition("/")[2]
    name = style.link(f"latent {number}", told.page(each.feature))
    on = style.code(_shown(told.text[each.span.start : each.span.end]))
    level = f"{each.activation:.2f}, silent up to {each.threshold:.2f}"
    return f"{name} on {on}, {told.where(each.span)} ({level})"


def _list(title: str, rows: Iterable[str], style: Markdown, most: int | None = None) -> str:
    shown = list(rows)[:most]
    return "\n".join((style.title(title), *(style.row(row) for row in shown)))


def _shown(text: str) -> str:
    """One line for a person, whatever the text is; an end of line is told as such."""
    if not text.strip():
        return "space" if text.strip("\r\n") else "end of line"
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
