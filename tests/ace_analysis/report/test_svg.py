"""Pictures are well-formed, hold every number, and need no style of their own."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LayerScore,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.escaping import visible
from ace_analysis.report.explanation import Explained
from ace_analysis.report.svg import bar_svg, graph_svg, heads_map_svg, sign_of
from ace_analysis.source.document import TextSpan


def parsed(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def why_of(explained: Explained) -> Attribution:
    assert explained.why is not None
    return explained.why


def tips(picture: str) -> set[str]:
    return {each.text or "" for each in parsed(picture).iter("title")}


def test_the_map_has_a_cell_for_each_head_and_each_mlp_with_its_number(explained: Explained) -> None:
    why = why_of(explained)
    told = tips(heads_map_svg(why))
    assert {f"layer {each.layer}, head {each.head}: {each.score:+.3f} log-odds" for each in why.heads} <= told
    assert {f"MLP of layer {each.layer}: {each.mlp:+.3f} log-odds" for each in why.layers} <= told
    assert len(told) == len(why.heads) + len(why.layers)


def test_the_strongest_cell_is_full_and_a_minus_marks_what_lowers(explained: Explained) -> None:
    cells = list(parsed(heads_map_svg(why_of(explained))).iter("g"))
    strongest = next(each for each in cells if "-0.750" in (each.findtext("title") or ""))
    rect = strongest.find("rect")
    assert rect is not None and rect.get("fill-opacity") == "1.00" and rect.get("class") == "lowers"
    assert strongest.findtext("text") == "−"


def test_the_graph_has_a_line_for_each_part_and_the_value_on_top(explained: Explained) -> None:
    why = why_of(explained)
    picture = parsed(graph_svg(why))
    boxes, lines = list(picture.iter("g")), list(picture.iter("path"))
    assert len(lines) == len(boxes) - 1 == len(why.tokens) + len(why.heads) + len(why.layers)
    assert "+1.50" in [each.text for each in picture.iter("text")]
    widths = [float(each.get("stroke-width") or 0) for each in lines]
    assert max(widths) == 8.0 and min(widths) > 0


def test_the_graph_shows_the_strongest_parts_only(explained: Explained) -> None:
    many = tuple(HeadScore(layer, head, 1 / (1 + head + layer)) for layer in range(9) for head in range(12))
    picture = graph_svg(replace(why_of(explained), heads=many))
    assert picture.count("<path") == 12 + 3


@settings(deadline=None)
@given(st.text(max_size=30), st.floats(-1e6, 1e6), st.sampled_from(["log-odds", "logits"]))
def test_any_token_makes_a_well_formed_picture(text: str, score: float, unit: str) -> None:
    target = _any_target(text)
    why = Attribution(
        target=target,
        unit=unit,
        value=score,
        heads=(HeadScore(0, 0, score),),
        layers=(LayerScore(0, score, -score),),
        tokens=(TokenScore(None, text, score),),
    )
    picture = graph_svg(why)
    assert "style=" not in picture and "href" not in picture
    parsed(picture)
    parsed(heads_map_svg(why))
    assert any(" ".join(visible(repr(text)).split()) in " ".join(tip.split()) for tip in tips(picture))


def _any_target(text: str) -> AttributionTarget:
    return AttributionTarget(
        kind=TargetKind.TOKEN, span=TextSpan(0, 0), text=text, description=text, probability=0.5
    )


def test_without_parts_there_is_no_picture(explained: Explained) -> None:
    bare = replace(why_of(explained), heads=(), layers=(), tokens=())
    assert (heads_map_svg(bare), graph_svg(bare)) == ("", "")


@settings(deadline=None)
@given(st.floats(-10, 10), st.floats(0, 10))
def test_a_bar_stays_in_its_picture(score: float, longest: float) -> None:
    rect = parsed(bar_svg(score, longest)).find("rect")
    assert rect is not None and rect.get("class") == sign_of(score)
    x, width = float(rect.get("x") or 0), float(rect.get("width") or 0)
    assert x >= 0 and x + width <= 120.05
