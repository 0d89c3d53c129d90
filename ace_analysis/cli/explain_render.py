"""An explanation for people: the place, then what it comes from, with a bar beside each signed score."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ace_analysis.cli.messages import printable
from ace_analysis.cli.render import excerpt
from ace_analysis.report.attribution import Attribution, LatentScore, TargetKind, TokenScore
from ace_analysis.report.explanation import Explained
from ace_analysis.report.kinds import kind_text
from ace_analysis.source.document import CodeDocument, TextSpan

MOST = {"latents": 6, "tokens": 10, "heads": 8, "layers": 6}
"""How many of each are shown, largest first; --json has all."""

BAR = 12
"""Cells of the longest bar."""

WIDEST = 24
"""Cells of a token's text that are shown."""

_RAISES, _LOWERS = "dark_orange", "dodger_blue1"


@dataclass(frozen=True, slots=True)
class _Row:
    score: float
    cells: tuple[str, ...]


class ExplanationRenderer:
    """Writes to one console. Colours come with a terminal, and go where NO_COLOR is set."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._block = "█" if "utf" in (console.encoding or "").lower() else "#"

    def show(self, explained: Explained) -> None:
        why, document = explained.why, explained.document
        if why is None:
            return
        self._place(explained.path, document, why)
        self._section("Latents that fired", _latents(document, why))
        self._section("Tokens that drive it", _tokens(document, why.tokens))
        heads = (_Row(each.score, (f"layer {each.layer}, head {each.head}",)) for each in why.heads)
        self._section("Heads", heads, MOST["heads"], len(why.heads))
        layers = (
            _Row(each.score, (f"layer {each.layer}", f"attention {each.attention:+.2f}, MLP {each.mlp:+.2f}"))
            for each in why.layers
        )
        self._section("Layers", layers, MOST["layers"], len(why.layers))
        self._section("Taken out one at a time: by how much the value really falls", _checks(why))
        self._rest(why)

    def _place(self, path: str, document: CodeDocument, why: Attribution) -> None:
        line, column = document.line_column(why.target.span.start)
        head = Text(f"{path}:{line}:{column + 1}", style="bold")
        head.append(f": {_told(why)}", style="not bold")
        self._print(head)
        source, caret = excerpt(document, why.target.span)
        margin = " " * len(str(line))
        self._print(Text(f"{margin} |", style="dim"))
        self._print(Text.assemble((f"{line} | ", "dim"), source))
        self._print(Text.assemble((f"{margin} | ", "dim"), (caret, "bold red")))
        value = f"{why.value:+.2f} {why.unit}"
        self._print(Text.assemble(f"{_capital(why.target.description)}: ", (value, "bold"), "."))

    def _section(self, title: str, rows: Iterable[_Row], most: int = 99, total: int = 0) -> None:
        shown = [row for row, _ in zip(rows, range(most), strict=False)]
        if not shown:
            return
        self._print(Text())
        more = f", {most} of {total}" if total > most else ""
        self._print(Text.assemble((title, "bold"), (more, "dim")))
        longest = max(abs(row.score) for row in shown) or 1.0
        widths = [
            max(cell_len(cell) for cell in column) for column in zip(*(r.cells for r in shown), strict=True)
        ]
        for row in shown:
            self._print(self._line(row, longest, widths))

    def _line(self, row: _Row, longest: float, widths: Sequence[int]) -> Text:
        style = _RAISES if row.score >= 0 else _LOWERS
        bar = self._block * round(BAR * abs(row.score) / longest)
        cells = "  ".join(set_cell_size(cell, width) for cell, width in zip(row.cells, widths, strict=True))
        return Text.assemble(
            (f"  {row.score:+7.2f} ", style), (f"{bar:<{BAR}}", style), f"  {cells.rstrip()}"
        )

    def _rest(self, why: Attribution) -> None:
        self._print(Text())
        self._print(Text(f"Unexplained: {why.unexplained:+.2f} {why.unit}. {_capital(why.method)}."))
        if why.heads:
            self._print(
                Text("Heads and layers act through each other: their scores add up to nothing.", "dim")
            )
        for note in why.notes:
            self._print(Text(printable(note), style="dim"))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def _told(why: Attribution) -> str:
    target = why.target
    if target.kind is TargetKind.TOKEN:
        other = f"{_shown(target.alternative or '')} {target.alternative_probability or 0.0:.2f}"
        return f"the model gives {_shown(target.text)} probability {target.probability:.2f}, {other}"
    kind = target.finding_kind or ""
    sure = f"{kind} (probability {target.probability:.2f})"
    if target.kind is TargetKind.FINDING:
        return f"{sure}: {kind_text(kind).claim}"
    return f"{sure}: no finding, which it is from {target.threshold or 0.0:.2f} on"


def _latents(document: CodeDocument, why: Attribution) -> Iterator[_Row]:
    for each in why.latents[: MOST["latents"]]:
        yield _Row(each.score, (f"latent {each.latent}", f"on {_on(document, each)}", printable(each.label)))
    if why.latents:
        rest = why.other_latents + sum(each.score for each in why.latents[MOST["latents"] :])
        yield _Row(rest, ("all others", "", ""))
        yield _Row(why.constant, ("any such place", "", ""))


def _checks(why: Attribution) -> Iterator[_Row]:
    for each in why.checks:
        part = "MLP" if each.head is None else f"head {each.head}"
        yield _Row(each.effect, (f"layer {each.layer}, {part}", f"said {each.score:+.2f}"))


def _on(document: CodeDocument, latent: LatentScore) -> str:
    text = document.text[latent.span.start : latent.span.end]
    return f"{_shown(text)} at {_where(document, latent.span)}"


def _tokens(document: CodeDocument, tokens: Sequence[TokenScore]) -> Iterator[_Row]:
    for each in tokens[: MOST["tokens"]]:
        where = "" if each.span is None else f"at {_where(document, each.span)}"
        yield _Row(each.score, (_shown(each.text), where))


def _where(document: CodeDocument, span: TextSpan) -> str:
    """Where its first code point that is no blank stands, columns from 1."""
    text = document.text[span.start : span.end]
    blanks = len(text) - len(text.lstrip())
    line, column = document.line_column(span.start + (blanks if blanks < len(text) else 0))
    return f"{line}:{column + 1}"


def _shown(text: str) -> str:
    """A token on one line; blanks alone are named."""
    if not text.strip():
        return "end of line" if "\n" in text or "\r" in text else "blank"
    shown = printable(" ".join(text.split()))
    return shown if cell_len(shown) <= WIDEST else set_cell_size(shown, WIDEST - 1).rstrip() + "…"


def _capital(text: str) -> str:
    return printable(text[:1].upper() + text[1:])
