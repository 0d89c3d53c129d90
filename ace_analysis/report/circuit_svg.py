"""A circuit as a picture: one SVG, or one page around it, that needs no network and runs no script.

Layers go up, from the tokens that are read to the number that is explained. Colour says the sign, as on ACE's
other pages, and so do dashes; width and strength say the size. Whoever points at a node or an edge is told
the number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ace_analysis.report.circuit import TARGET, Circuit, CircuitEdge, CircuitNode
from ace_analysis.report.escaping import escaped, one_line
from ace_analysis.report.style import content_security_policy

ROW, COLUMN, MARGIN = 74, 96, 46
NODE_WIDTH, NODE_HEIGHT = 78, 30
LONGEST_TEXT = 12
FEWEST_COLUMNS = 5
"""Room for lines that go round boxes."""

SWAY, MOST_SWAY = 0.4, 2.2
"""How far to the side a line goes for each row that it passes, and at most, in columns."""

WIDEST_EDGE = 9.0
THINNEST_EDGE = 0.6

STYLE = """
svg.circuit { font: 12px system-ui, sans-serif; max-width: 100%; height: auto; }
svg.circuit .raises { --sign: #d55e00; } svg.circuit .lowers { --sign: #0072b2; }
@media (prefers-color-scheme: dark) {
  svg.circuit .raises { --sign: #ff8c3a; } svg.circuit .lowers { --sign: #56b4e9; }
}
svg.circuit path.lowers, svg.circuit .lowers rect { stroke-dasharray: 5 4; }
svg.circuit path { stroke: var(--sign); fill: none; stroke-linecap: round; }
svg.circuit path:hover { stroke-opacity: 1; }
svg.circuit rect { fill: var(--sign); stroke: var(--sign); stroke-width: 1.2; }
svg.circuit rect.back { fill: #fff; fill: Canvas; stroke: none; }
svg.circuit text { fill: currentColor; text-anchor: middle; dominant-baseline: central; }
svg.circuit text.layer { text-anchor: start; opacity: .6; }
"""
PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { opacity: .7; } dd { margin: 0; } table { border-collapse: collapse; }
td, th { padding: .1rem .8rem .1rem 0; text-align: left; } td.number { text-align: right; }
"""

LEGEND = "Orange raises the value, blue and dashed lowers it. Point at a box or a line to read its number."


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a node is drawn: its middle."""

    x: float
    y: float


def circuit_svg(circuit: Circuit) -> str:
    """The graph alone, as an SVG element with its style in it."""
    rows = _rows(circuit)
    width = 2 * MARGIN + COLUMN * max([FEWEST_COLUMNS, *(len(row) for _, row in rows)]) + 60
    height = 2 * MARGIN + ROW * len(rows)
    spots = _spots(rows, width, height)
    largest = max((abs(edge.score) for edge in circuit.edges), default=1.0) or 1.0
    strongest = max((abs(node.score) for node in circuit.parts), default=1.0) or 1.0
    lines = [
        f'<svg class="circuit" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' xmlns="http://www.w3.org/2000/svg" aria-label="{escaped(_title(circuit))}">',
        f"<style>{STYLE}</style>",
        *(_layer(name, height - MARGIN - ROW * at) for at, (name, _) in enumerate(rows)),
        *(_edge(edge, spots, largest, circuit.unit) for edge in reversed(circuit.edges) if _has(edge, spots)),
        *(_node(node, spots[node.name], strongest, circuit.unit) for node in circuit.nodes),
        _target(circuit, spots[TARGET]),
        "</svg>",
    ]
    return "\n".join(lines)


def circuit_page(circuit: Circuit) -> str:
    """A whole HTML page: what was explained, how faithful the circuit is, the graph, and its nodes."""
    title = escaped(_title(circuit))
    facts = {
        **({"place": one_line(circuit.place)} if circuit.place else {}),
        "value in the whole model": f"{circuit.clean:+.3f} {circuit.unit}",
        "with this circuit alone": f"{circuit.alone:+.3f}",
        "with no head and no MLP": f"{circuit.nothing:+.3f}",
        "faithfulness": f"{circuit.faithfulness:.2f}",
        "size": f"{len(circuit.parts)} of {circuit.upstream} heads and MLPs",
        "what stands in the others' place": circuit.ablation,
        "scores": circuit.method,
    }
    rows = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in facts.items())
    notes = "".join(f"<p>{escaped(note)}</p>" for note in circuit.notes)
    policy = content_security_policy(PAGE_STYLE, STYLE)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{PAGE_STYLE}</style></head><body>\n<h1>{title}</h1>\n<dl>{rows}</dl>\n"
        f"{circuit_svg(circuit)}\n<p>{LEGEND}</p>{notes}\n{_table(circuit.nodes)}\n</body></html>\n"
    )


def _title(circuit: Circuit) -> str:
    """In one line, without characters that no page may hold."""
    return f"Circuit: {one_line(circuit.target)}"


def _rows(circuit: Circuit) -> list[tuple[str, list[CircuitNode]]]:
    """From the bottom up: the tokens, then for each layer its heads, and its MLP above them."""
    tokens = [node for node in circuit.nodes if node.kind == "token"]
    rows = [("tokens", tokens)] if tokens else []
    for layer in sorted({node.layer for node in circuit.parts}):
        for kind in ("head", "mlp"):
            row = [node for node in circuit.parts if node.layer == layer and node.kind == kind]
            if row:
                rows.append((f"layer {layer}", row))
    return rows


def _spots(rows: list[tuple[str, list[CircuitNode]]], width: float, height: float) -> dict[str, _Spot]:
    spots = {TARGET: _Spot(width / 2 + 30, height - MARGIN - ROW * len(rows))}
    for at, (_, row) in enumerate(rows):
        for index, node in enumerate(row):
            # Every second row is moved by half a column, so that lines pass between boxes.
            x = width / 2 + 30 + COLUMN * (index - (len(row) - 1) / 2 + (0.25 if at % 2 else -0.25))
            spots[node.name] = _Spot(x, height - MARGIN - ROW * at)
    return spots


def _has(edge: CircuitEdge, spots: dict[str, _Spot]) -> bool:
    return edge.source in spots and edge.receiver in spots


def _layer(name: str, y: float) -> str:
    return f'<text class="layer" x="6" y="{y:.0f}">{escaped(name)}</text>'


def _edge(edge: CircuitEdge, spots: dict[str, _Spot], largest: float, unit: str) -> str:
    start, end = spots[edge.source], spots[edge.receiver]
    size = abs(edge.score) / largest
    top, bottom = start.y - NODE_HEIGHT / 2, end.y + NODE_HEIGHT / 2
    bend, sway = (top - bottom) / 2, _sway(start, end, spots[TARGET])
    tip = f"{edge.source} to {edge.receiver}: {edge.score:+.3g} {unit}"
    return (
        f'<path class="{_sign(edge.score)}" stroke-opacity="{0.18 + 0.62 * size:.2f}"'
        f' stroke-width="{max(THINNEST_EDGE, WIDEST_EDGE * size):.1f}" d="M {start.x:.0f} {top:.0f}'
        f" C {start.x + sway:.0f} {top - bend:.0f} {end.x + sway:.0f} {bottom + bend:.0f}"
        f' {end.x:.0f} {bottom:.0f}">'
        f"<title>{escaped(tip)}</title></path>"
    )


def _sway(start: _Spot, end: _Spot, target: _Spot) -> float:
    """How far to the side an edge goes on its way, so that it passes the boxes between its ends."""
    passed = round((start.y - end.y) / ROW) - 1
    side = 1 if start.x + end.x >= 2 * target.x else -1
    return side * COLUMN * min(MOST_SWAY, SWAY * passed) if passed > 0 else 0.0


def _node(node: CircuitNode, spot: _Spot, strongest: float, unit: str) -> str:
    size = min(1.0, abs(node.score) / strongest)
    label = node.name if node.kind != "token" else _short(node.text)
    tip = f"{node.name} {node.text!r}" if node.kind == "token" else node.name
    tip += f": {node.score:+.3g} {unit}"
    if node.lost is not None:
        tip += f"; without it the circuit is {node.lost:+.3g} farther from the whole model"
    return _box(label, tip, _sign(node.score), spot, 0.08 + 0.42 * size)


def _target(circuit: Circuit, spot: _Spot) -> str:
    tip = f"{_title(circuit)}: {circuit.clean:+.3f} {circuit.unit}"
    return _box(f"{circuit.clean:+.2f}", tip, "raises", spot, 0)


def _box(label: str, tip: str, sign: str, spot: _Spot, opacity: float) -> str:
    left, top = spot.x - NODE_WIDTH / 2, spot.y - NODE_HEIGHT / 2
    place = f'x="{left:.0f}" y="{top:.0f}" rx="6" width="{NODE_WIDTH}" height="{NODE_HEIGHT}"'
    return (
        f'<g class="{sign}"><title>{escaped(tip)}</title><rect class="back" {place}/>'
        f'<rect {place} fill-opacity="{opacity:.2f}"/>'
        f'<text x="{spot.x:.0f}" y="{spot.y:.0f}">{escaped(label)}</text></g>'
    )


def _sign(score: float) -> str:
    return "raises" if score >= 0 else "lowers"


def _short(text: str) -> str:
    """A token's text as one short line."""
    shown = repr(text)[1:-1]
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


def _table(nodes: Iterable[CircuitNode]) -> str:
    rows: list[str] = []
    for node in sorted(nodes, key=lambda node: -abs(node.score)):
        lost = "" if node.lost is None else f"{node.lost:+.3f}"
        cells = (node.name, _short(node.text), node.through or TARGET)
        named = "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
        rows.append(
            f'<tr>{named}<td class="number">{node.score:+.3f}</td><td class="number">{lost}</td></tr>'
        )
    head = "<tr><th>node</th><th>text</th><th>found through</th><th>score</th><th>loss without it</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"
