"""What a hover says, for any text and in both styles."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LatentScore,
    LayerScore,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.finding import Evidence, Finding
from ace_analysis.source.document import TextSpan
from ace_lsp.features.hover import MOST, Told, markdown_of, plain_of

TEXT = "if a < b:\n    pass\n"
LESS = TextSpan(5, 6)
FEATURE = "blocks.9.hook_resid_post/773"


def told(**more: object) -> Told:
    fields: dict = {"text": TEXT, "where": lambda span: f"line {TEXT.count(chr(10), 0, span.start) + 1}"}
    return Told(**{**fields, **more})


def finding(*seen: Evidence) -> Finding:
    return Finding(span=LESS, kind="comparison", score=0.51, threshold=0.24, evidence=seen)


def evidence(latent: int, activation: float, weight: float = 1.0) -> Evidence:
    return Evidence(f"blocks.9.hook_resid_post/{latent}", LESS, activation, 0.38, weight)


def why(**more: object) -> Attribution:
    target = AttributionTarget(
        kind=TargetKind.FINDING,
        span=LESS,
        text="<",
        description="log-odds that `<` is wrong",
        finding_kind="comparison",
        probability=0.51,
        threshold=0.24,
    )
    fields: dict = {"target": target, "unit": "log-odds", "value": 0.5, "unexplained": -0.0625}
    return Attribution(**{**fields, **more})


def token(**more: object) -> Attribution:
    target = replace(why().target, kind=TargetKind.TOKEN, description="logit of `<`", **more)
    return why(target=target, unit="logits")


@pytest.mark.parametrize("said", [markdown_of, plain_of])
def test_without_an_explanation_the_latents_are_told_by_what_they_added(said):
    seen = (evidence(1, 1.0), evidence(2, 1.0, -3.0), evidence(3, 2.0))
    text = said(told(finding=finding(*seen)))
    assert re.findall(r"([+-]\d\.\d\d)  latent (\d)", text) == [
        ("-3.00", "2"),
        ("+2.00", "3"),
        ("+1.00", "1"),
    ]
    assert "probability 0.51, shown from 0.24 on" in text


@pytest.mark.parametrize("said", [markdown_of, plain_of])
def test_an_explanation_takes_the_place_of_the_bare_evidence(said):
    latent = LatentScore(
        latent=773,
        feature=FEATURE,
        activation=3.4,
        threshold=0.38,
        score=1.25,
        span=LESS,
        label="returns None",
    )
    text = said(told(finding=finding(evidence(1, 1.0)), attribution=why(latents=(latent,))))
    assert "latent 773" in text and "latent 1 " not in text
    assert "line 1 (3.40, silent up to 0.38): returns None" in text
    assert "+1.25" in text


def test_signs_are_kept_and_nothing_pretends_to_be_a_share():
    full = why(
        heads=(HeadScore(3, 5, -0.5),),
        layers=(LayerScore(3, -0.5, 0.25),),
        tokens=(TokenScore(LESS, "<", 0.75), TokenScore(None, "<|start|>", -0.125)),
        notes=("Read it with care.",),
        method="one pass.",
    )
    text = plain_of(told(finding=finding(), attribution=full))
    assert "-0.50  layer 3, head 5" in text
    assert "-0.25  layer 3 (attention -0.50, MLP +0.25)" in text
    assert "+0.75  <, line 1" in text and "-0.12  <|start|>\n" in text
    assert "Unexplained: -0.06 of +0.50 log-odds." in text
    assert "do not add up" in text and "Read it with care." in text and "Method: one pass." in text
    assert "%" not in text


def test_only_the_largest_are_shown():
    many = why(heads=tuple(HeadScore(0, number, 9.0 - number) for number in range(9)))
    assert plain_of(told(attribution=many)).count("head ") == MOST["heads"]


def test_a_token_is_told_with_what_the_model_expects_besides():
    text = plain_of(told(attribution=token(alternative=">=", alternative_probability=0.25)))
    assert "<, probability 0.51; besides it the model expects >= (0.25)" in text
    assert "besides" not in plain_of(told(attribution=token()))


def test_a_candidate_below_the_threshold_is_told_with_the_threshold():
    site = why(target=replace(why().target, kind=TargetKind.SITE))
    assert "probability 0.51 of being wrong; it would be shown from 0.24 on" in plain_of(
        told(attribution=site)
    )


def test_a_latent_leads_to_its_page_in_markdown_only():
    known = told(finding=finding(evidence(773, 1.0)), page=lambda feature: f"file:///p/{feature[-3:]}.md")
    assert "[latent 773](file:///p/773.md)" in markdown_of(known)
    assert "file:" not in plain_of(known)


def test_the_end_of_a_line_and_space_are_told_in_words():
    for text, words in (("\n", "end of line"), ("", "end of line"), ("  ", "space")):
        assert f"`{words}`" in markdown_of(told(attribution=why(tokens=(TokenScore(None, text, 1.0),))))


@given(st.text(alphabet="a`*_[]<>&\\ \n", max_size=12))
def test_code_is_quoted_with_more_backticks_than_it_has(text):
    (row,) = re.findall(
        r"^- \+1\.00  (.*)$", markdown_of(told(attribution=why(tokens=(TokenScore(None, text, 1.0),)))), re.M
    )
    fence = re.match("`+", row)
    assert fence is not None and row.endswith(fence[0])
    assert fence[0] not in re.findall("`+", row[len(fence[0]) : -len(fence[0])])


def test_words_of_others_are_not_taken_for_markdown():
    text = markdown_of(told(attribution=why(notes=("a *b* [c](d) <e>",))))
    assert r"a \*b\* \[c\](d) \<e\>" in text


def test_a_long_text_is_cut():
    shown = plain_of(told(attribution=why(tokens=(TokenScore(None, "x" * 999, 1.0),))))
    assert "x" * 39 + "…" in shown and "x" * 41 not in shown
