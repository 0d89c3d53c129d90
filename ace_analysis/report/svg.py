"""Pictures of an explanation as SVG elements: heads by layers, and what leads to the explained number.

No script, no style attribute and no address: a page with a strict content security policy can hold them. A
sign is a class ("raises", "lowers"), a size is an opacity or a width, and each part tells its number to who
points at it or has it read aloud. Colours are the page's: see STYLE in html.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ace_analysis.report.attribution import Attribution, HeadScore, LayerScore, TokenScore
from ace_analysis.report.escaping import escaped, one_line

CELL, GAP, LEFT, TOP = 26, 2, 64, 26
BAR_WIDTH, BAR_HEIGHT = 120, 12

ROW, COLUMN, BOX_WIDTH, BOX_HEIGHT = 58, 84, 74, 26
MOST_PARTS, MOST_TOKENS, MOST_IN_A_ROW = 12, 8, 8
WIDEST, THINNEST = 8.0, 0.6
LONGEST = 10


def sign_of(score: float) -> str:
    """The class of a score."""
    return "raises" if score >= 0 else "lowers"


def bar_svg(score: float, longest: float) -> str:
    """A score as a bar to the right of a middle line, or to its left below zero."""
    half = BAR_WIDTH / 2
    width = half * min(1.0, abs(score) / longest) if longest else 0.0
    x = half if score >= 0 else half - width
    return (
        f'<svg class="bar" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" aria-hidden="true">'
        f'<line x1="{half}" x2="{half}" y1="0" y2="{BAR_HEIGHT}"/>'
        f'<rect class="{sign_of(score)}" x="{x:.1f}" y="1" width="{width:.1f}" height="{BAR_HEIGHT - 2}"/>'
        "</svg>"
    )


def heads_map_svg(why: Attribution) -> str:
    """A cell for each head of each layer, and one for each layer's MLP; the last layer is on top."""
    if not why.heads:
        return ""
    n_heads = 1 + max(each.head for each in why.heads)
    layers = sorted({each.layer for each in why.layers} | {each.layer for each in why.heads}, reverse=True)
    rows = {layer: TOP + at * CELL for at, layer in enumerate(layers)}
    width, height = LEFT + (n_heads + 2) * CELL + 8, TOP + len(layers) * CELL + 6
    heads, mlps = _largest(why.heads), max((abs(each.mlp) for each in why.layers), default=0.0)
    names = [f'<text x="{LEFT + (n + 0.5) * CELL:.0f}" y="16">{n}</text>' for n in range(n_heads)]
    parts = [
        f'<svg class="map" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        ' aria-label="heads by layers">',
        *names,
        f'<text x="{LEFT + (n_heads + 1.2) * CELL:.0f}" y="16">MLP</text>',
        *(
            f'<text class="layer" x="2" y="{y + CELL / 2 + 4:.0f}">layer {at}</text>'
            for at, y in rows.items()
        ),
        *(_head_cell(each, rows[each.layer], heads, why.unit) for each in why.heads),
        *(
            _mlp_cell(each, rows[each.layer], LEFT + (n_heads + 0.7) * CELL, mlps, why.unit)
            for each in why.layers
        ),
        "</svg>",
    ]
    return "".join(parts)


def _head_cell(each: HeadScore, y: float, largest: float, unit: str) -> str:
    tip = f"layer {each.layer}, head {each.head}: {each.score:+.3f} {unit}"
    return _cell(LEFT + each.head * CELL, y, each.score, largest, tip)


def _mlp_cell(each: LayerScore, y: float, x: float, largest: float, unit: str) -> str:
    return _cell(x, y, each.mlp, largest, f"MLP of layer {each.layer}: {each.mlp:+.3f} {unit}")


def _cell(x: float, y: float, score: float, largest: float, tip: str) -> str:
    """A square whose strength is the score; a minus in it says the sign without colour."""
    size = abs(score) / largest if largest else 0.0
    mark = (
        ""
        if score >= 0 or size < 0.15
        else f'<text x="{x + CELL / 2 - 1:.0f}" y="{y + CELL / 2 + 4:.0f}">−</text>'
    )
    return (
        f'<g><title>{escaped(tip)}</title><rect class="{sign_of(score)}" x="{x:.0f}" y="{y:.0f}" rx="3"'
        f' width="{CELL - GAP}" height="{CELL - GAP}" fill-opacity="{0.04 + 0.96 * size:.2f}"/>{mark}</g>'
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """A box of the graph."""

    label: str
    tip: str
    score: float


def graph_svg(why: Attribution) -> str:
    """The strongest parts, tokens at the bottom and the explained number on top, each with its line there.

    A line is what the part contributes through all paths, its width the square root of that, since one part
    is often larger than all others; it stands for no single connection.
    """
    rows = _rows(why)
    if not rows:
        return ""
    widest = max(len(row) for _, row in rows)
    width, height = LEFT + COLUMN * (widest + 0.5) + 10, ROW * (len(rows) + 1)
    middle, largest = LEFT + (width - LEFT) / 2, max(_largest(row) for _, row in rows)
    top = ROW / 2
    lines: list[str] = []
    boxes: list[str] = []
    for at, (name, row) in enumerate(reversed(rows), start=1):
        y = top + ROW * at
        boxes.append(f'<text class="layer" x="2" y="{y + 4:.0f}">{escaped(name)}</text>')
        for index, part in enumerate(row):
            # Every second row is moved by half a box, so that lines pass between boxes.
            x = middle + COLUMN * (index - (len(row) - 1) / 2 + (0.25 if at % 2 else -0.25))
            size = (abs(part.score) / largest) ** 0.5 if largest else 0.0
            end = middle + (x - middle) * BOX_WIDTH / width
            lines.append(_line((x, y - BOX_HEIGHT / 2), (end, top + BOX_HEIGHT / 2), part, size))
            boxes.append(
                _box(x, y, part.label, f"{part.tip}: {part.score:+.3f} {why.unit}", part.score, size)
            )
    tip = f"{why.target.description}: {why.value:+.3f} {why.unit}"
    boxes.append(_box(middle, top, f"{why.value:+.2f}", tip, why.value, 0.0))
    head = (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        ' aria-label="what leads to the score">'
    )
    return "".join((head, *lines, *boxes, "</svg>"))


def _rows(why: Attribution) -> list[tuple[str, list[_Part]]]:
    """From the bottom up: tokens in the order of the text, then each layer that has a strong part."""
    parts = [
        *(
            (each.layer, _Part(f"head {each.head}", f"layer {each.layer}, head {each.head}", each.score))
            for each in why.heads
        ),
        *((each.layer, _Part("MLP", f"MLP of layer {each.layer}", each.mlp)) for each in why.layers),
    ]
    strongest = sorted(parts, key=lambda part: -abs(part[1].score))[:MOST_PARTS]
    tokens = sorted(why.tokens[:MOST_TOKENS], key=_place)
    rows = [("tokens", [_Part(_short(each.text), repr(each.text), each.score) for each in tokens])]
    for layer in sorted({layer for layer, _ in strongest}):
        row = [part for at, part in strongest if at == layer][:MOST_IN_A_ROW]
        rows.append((f"layer {layer}", row))
    return [(name, row) for name, row in rows if row]


def _place(token: TokenScore) -> int:
    return -1 if token.span is None else token.span.start


def _short(text: str) -> str:
    """A token's text as one short line; an end of line and blanks get a sign."""
    shown = one_line(text).strip() or ("↵" if "\n" in text or "\r" in text else "␣")
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def _line(start: tuple[float, float], end: tuple[float, float], part: _Part, size: float) -> str:
    bend = (start[1] - end[1]) / 2
    (x0, y0), (x1, y1) = start, end
    return (
        f'<path class="{sign_of(part.score)}" stroke-opacity="{0.2 + 0.6 * size:.2f}"'
        f' stroke-width="{max(THINNEST, WIDEST * size):.1f}" d="M {x0:.0f} {y0:.0f}'
        f' C {x0:.0f} {y0 - bend:.0f} {x1:.0f} {y1 + bend:.0f} {x1:.0f} {y1:.0f}"/>'
    )


def _box(x: float, y: float, label: str, tip: str, score: float, size: float) -> str:
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    place = f'x="{left:.0f}" y="{top:.0f}" rx="5" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
    return (
        f'<g><title>{escaped(tip)}</title><rect class="back" {place}/>'
        f'<rect class="{sign_of(score)} edge" {place} fill-opacity="{0.05 + 0.45 * size:.2f}"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}">{escaped(label)}</text></g>'
    )


def _largest(parts: Iterable[HeadScore] | Sequence[_Part]) -> float:
    return max((abs(part.score) for part in parts), default=0.0)
