"""The picture is well-formed, holds everything that is known, and takes nothing from the network."""

import re
from collections.abc import Callable
from html import unescape
from xml.etree import ElementTree

import pytest

from ace_analysis.report.circuit import TARGET, Circuit, CircuitEdge, CircuitNode
from ace_analysis.report.circuit_svg import WIDEST_EDGE, circuit_page, circuit_svg
from ace_analysis.report.style import content_security_policy

SVG = "{http://www.w3.org/2000/svg}"


def parsed(circuit: Circuit) -> ElementTree.Element:
    return ElementTree.fromstring(circuit_svg(circuit))


def tips(circuit: Circuit) -> list[str]:
    return [each.text or "" for each in parsed(circuit).iter(f"{SVG}title")]


def test_every_node_and_edge_is_drawn_with_its_number(circuit_with: Callable[..., Circuit]) -> None:
    circuit = circuit_with()
    said = tips(circuit)
    for node in circuit.nodes:
        assert any(tip.startswith(node.name) and f"{node.score:+.3g}" in tip for tip in said), node
    for edge in circuit.edges:
        assert f"{edge.source} to {edge.receiver}: {edge.score:+.3g} log-odds" in said
    assert len(list(parsed(circuit).iter(f"{SVG}path"))) == len(circuit.edges)


def test_layers_go_up(circuit_with: Callable[..., Circuit]) -> None:
    places = {
        (group.find(f"{SVG}text").text or ""): float(group.find(f"{SVG}text").get("y") or 0)  # pyright: ignore
        for group in parsed(circuit_with()).iter(f"{SVG}g")
    }
    assert places["x <"] > places["L0H1"] > places["L1H0"] > places["MLP1"] > places["+2.00"]


def test_no_line_shines_through_a_box(circuit_with: Callable[..., Circuit]) -> None:
    for group in parsed(circuit_with()).iter(f"{SVG}g"):
        back, front = group.findall(f"{SVG}rect")
        assert back.get("class") == "back" and back.get("fill-opacity") is None
        assert [back.get(name) for name in ("x", "y", "width")] == [
            front.get(name) for name in ("x", "y", "width")
        ]


def test_a_line_goes_round_the_rows_that_it_passes_and_not_past_the_edge(
    circuit_with: Callable[..., Circuit],
) -> None:
    names = [f"L{layer}H0" for layer in range(12)]
    nodes = tuple(CircuitNode(name=name, kind="head", layer=at, score=1.0) for at, name in enumerate(names))
    circuit = circuit_with(nodes=nodes, edges=tuple(CircuitEdge(names[0], name, 1.0) for name in names[1:]))
    svg = parsed(circuit)
    points = {
        (path.findtext(f"{SVG}title") or "").split(":")[0]: re.findall(r"[\d.]+", path.get("d") or "")
        for path in svg.iter(f"{SVG}path")
    }
    lines = [[float(each) for each in points[f"L0H0 to {name}"]] for name in names[1:]]
    sways = [abs(line[2] - line[0]) for line in lines]
    assert sways[0] == 0 < sways[1] < sways[2] and sways == sorted(sways)
    width = float(svg.get("width") or 0)
    assert all(0 <= x <= width for line in lines for x in line[::2])


def test_signs_have_classes_and_sizes_have_widths(circuit_with: Callable[..., Circuit]) -> None:
    paths = {each.find(f"{SVG}title").text: each for each in parsed(circuit_with()).iter(f"{SVG}path")}  # pyright: ignore
    strong = paths["L1H0 to target: +2 log-odds"]
    weak = paths["L0H1 to L1H0: -1 log-odds"]
    assert strong.get("class") == "raises" and float(strong.get("stroke-width") or 0) == WIDEST_EDGE
    assert weak.get("class") == "lowers" and float(weak.get("stroke-width") or 0) == WIDEST_EDGE / 2


@pytest.mark.parametrize("text", ["<b>&\"'", "\n\t", "\x1b[31m", "名前", "a" * 99])
def test_source_text_stays_text(circuit_with: Callable[..., Circuit], text: str) -> None:
    token = CircuitNode(name="T0", kind="token", layer=-1, score=0.5, text=text)
    circuit = circuit_with(nodes=(token,), edges=(CircuitEdge("T0", TARGET, 0.5),), target=text)
    page = circuit_page(circuit)
    assert "<b>" not in page and "\x1b" not in page
    ElementTree.fromstring(circuit_svg(circuit))


def test_edges_to_what_is_not_drawn_are_left_out(circuit_with: Callable[..., Circuit]) -> None:
    circuit = circuit_with(edges=(CircuitEdge("L9H9", TARGET, 1.0), CircuitEdge("L1H0", TARGET, 1.0)))
    assert len(list(parsed(circuit).iter(f"{SVG}path"))) == 1


def test_a_circuit_without_nodes_is_a_picture_of_its_target(circuit_with: Callable[..., Circuit]) -> None:
    assert "+2.00" in circuit_svg(circuit_with(nodes=(), edges=()))


def test_the_page_says_its_place_and_allows_its_own_styles_alone(
    circuit_with: Callable[..., Circuit],
) -> None:
    page = circuit_page(circuit_with(place="a b.py:3:15"))
    assert "<dt>place</dt><dd>a b.py:3:15</dd>" in page and "<dt>place</dt>" not in circuit_page(
        circuit_with()
    )
    policy = unescape(page.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0])
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(styles) == 2 and policy == content_security_policy(*styles)


def test_a_sign_is_told_without_colour_too(circuit_with: Callable[..., Circuit]) -> None:
    assert re.search(r"path\.lowers[^}]*stroke-dasharray", circuit_svg(circuit_with()))


def test_text_that_turns_what_follows_is_shown_by_name(circuit_with: Callable[..., Circuit]) -> None:
    page = circuit_page(circuit_with(target="a\u202eb", place="\u202ec.py:1:0"))
    assert "\u202e" not in page and "U+202E" in page


def test_the_page_needs_no_network_and_runs_nothing(circuit_with: Callable[..., Circuit]) -> None:
    page = circuit_page(circuit_with(notes=("a note",)))
    assert page.startswith("<!doctype html>") and "a note" in page and "faithfulness" in page
    without_namespace = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|src=|href=|<script|@import|url\(", without_namespace)
