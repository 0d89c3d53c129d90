"""Explanations go through JSON and come back as they were."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.errors import InputError
from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LatentScore,
    LayerScore,
    PartCheck,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.attribution_wire import attribution_from_wire, attribution_to_wire
from ace_analysis.report.wire import VERSION
from ace_analysis.source.document import TextSpan

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10**6)
spans = st.tuples(counts, counts).map(lambda pair: TextSpan(*sorted(pair)))
texts = st.text(max_size=20)


def some(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(part, max_size=3).map(tuple)


targets = st.builds(
    AttributionTarget,
    kind=st.sampled_from(TargetKind),
    span=spans,
    text=texts,
    description=texts,
    probability=numbers,
    finding_kind=st.none() | texts,
    threshold=st.none() | numbers,
    alternative=st.none() | texts,
    alternative_probability=st.none() | numbers,
)
attributions = st.builds(
    Attribution,
    target=targets,
    unit=texts,
    value=numbers,
    latents=some(
        st.builds(
            LatentScore,
            latent=counts,
            feature=texts,
            activation=numbers,
            threshold=numbers,
            score=numbers,
            span=spans,
            label=texts,
        )
    ),
    heads=some(st.builds(HeadScore, counts, counts, numbers)),
    layers=some(st.builds(LayerScore, counts, numbers, numbers)),
    tokens=some(st.builds(TokenScore, st.none() | spans, texts, numbers)),
    constant=numbers,
    other_latents=numbers,
    constant_of_tokens=numbers,
    unexplained=numbers,
    checks=some(st.builds(PartCheck, counts, st.none() | counts, numbers, numbers)),
    method=texts,
    notes=some(texts),
)
SMALLEST = Attribution(
    target=AttributionTarget(
        kind=TargetKind.TOKEN, span=TextSpan(3, 4), text="<", description="d", probability=0.5
    ),
    unit="logits",
    value=1.0,
)


@given(attributions)
def test_an_attribution_comes_back_as_it_was(attribution: Attribution) -> None:
    assert attribution_from_wire(json.loads(json.dumps(attribution_to_wire(attribution)))) == attribution


def test_an_attribution_carries_the_version_and_another_one_is_refused() -> None:
    data = attribution_to_wire(SMALLEST)
    assert data["version"] == VERSION
    with pytest.raises(InputError, match="expected version 1 of Attribution, got 99: both sides"):
        attribution_from_wire({**data, "version": 99})


def test_what_an_older_worker_leaves_out_is_empty() -> None:
    data = attribution_to_wire(SMALLEST)
    needed = {name: data[name] for name in ("version", "target", "unit", "value")}
    assert attribution_from_wire({**needed, "new": 1}) == SMALLEST


@pytest.mark.parametrize(
    "change",
    [
        {"target": None},
        {"value": "much"},
        {"heads": [{"layer": 1}]},
        {"tokens": [{"span": [1], "text": "", "score": 0}]},
        {"target": {**attribution_to_wire(SMALLEST)["target"], "kind": "poem"}},
    ],
)
def test_what_is_no_attribution_is_told_with_the_data(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected Attribution as JSON"):
        attribution_from_wire({**attribution_to_wire(SMALLEST), **change})
