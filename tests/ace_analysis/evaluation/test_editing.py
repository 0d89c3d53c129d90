"""A tail computes what the whole model does, and an edit is seen in what it is to be seen in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ace_analysis.editing.deltas import RowDelta, with_deltas
from ace_analysis.editing.pisces import PISCES
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.editing import (
    Gauge,
    Tail,
    Text,
    controls_of,
    fall_of,
    perplexity_change,
    quality_of,
    silence_of,
)

from .conftest import coder_along

LAYER = 2
TEXTS = [torch.arange(3, 20), torch.arange(40, 52), torch.tensor([7, 9, 11, 70, 5, 70])]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def removal(model: Any) -> tuple[RowDelta, ...]:
    head = model.get_output_embeddings().weight.detach()[70]
    return PISCES(model).remove_direction(head, LAYER).deltas


def gauge(model: Any) -> Gauge:
    coder = coder_along(torch.randn(8, 32, generator=torch.Generator().manual_seed(0)), LAYER)
    texts = [
        Text(ids=ids, cluster=f"p{at}", has_concept=bool((ids[1:] == 70).any()))
        for at, ids in enumerate(TEXTS)
    ]
    return Gauge(Tail(model, LAYER, TEXTS), texts, (70,), coder, (0, 1, 2))


def test_a_tail_computes_what_the_whole_model_does_before_and_after_an_edit(model: Any) -> None:
    tail = Tail(model, LAYER, TEXTS)
    for deltas in ((), removal(model)):
        with torch.no_grad(), with_deltas(model, deltas):
            for index, ids in enumerate(TEXTS):
                whole = model(input_ids=ids[None]).logits[0]
                assert torch.allclose(tail.logits(index), whole, atol=1e-4)
                assert torch.allclose(tail.logits(index, last=2), whole[-2:], atol=1e-4)


def test_behind_a_tail_the_model_is_as_it_was(model: Any) -> None:
    blocks = list(model.base_model.layers)
    tail = Tail(model, LAYER, TEXTS)
    tail.logits(0)
    assert list(model.base_model.layers) == blocks


def test_no_edit_changes_nothing(model: Any) -> None:
    measure = gauge(model)
    before = measure.measure()
    quality = quality_of(before, measure.measure())
    assert (quality.efficacy, quality.specificity, quality.coherence) == (0.0, 1.0, 1.0)
    assert [each.places for each in before] == [0, 0, 2]
    assert sum(each.tokens for each in before) == sum(len(ids) - 1 for ids in TEXTS) - 2


def test_the_loss_and_the_probability_are_the_models(model: Any) -> None:
    measured = gauge(model).measure()[2]
    with torch.no_grad():
        logprobs = model(input_ids=TEXTS[2][None]).logits[0].log_softmax(-1)
    assert measured.probability == pytest.approx(float(logprobs[[2, 4], 70].exp().sum()), rel=1e-4)
    expected = -sum(float(logprobs[at, TEXTS[2][at + 1]]) for at in (0, 1, 3))
    assert measured.loss == pytest.approx(expected, rel=1e-4)


def test_an_edit_shows_in_all_four_measures(model: Any) -> None:
    measure = gauge(model)
    before = measure.measure()
    plan = PISCES(model, measure.coder).erase([0, 1, 2], mu=30.0, tau=0.2)
    after = measure.measure(plan.deltas)
    assert fall_of(before, after).value != 0
    assert silence_of(before, after).value != 0
    assert perplexity_change(before, after, True).value != 0
    assert perplexity_change(before, after, False).value != 0
    assert measure.quality(before, plan) == quality_of(before, after)


def test_controls_have_the_same_norm_at_other_places(model: Any) -> None:
    plan = PISCES(model, gauge(model).coder).erase([0, 1], mu=10.0, tau=0.5)
    made = controls_of(plan, rows=48)
    (own,) = plan.deltas
    for name, (delta,) in made.items():
        assert delta.left.shape == own.left.shape
        assert torch.allclose(delta.right.norm(dim=1), own.right.norm(dim=1)), name
    assert made["random rows"][0].rows != own.rows
    assert not torch.allclose(made["random directions"][0].right, own.right)


def test_a_text_of_one_token_is_refused_and_a_stop_heard(model: Any) -> None:
    with pytest.raises(InputError, match="at least two tokens"):
        Tail(model, LAYER, [torch.tensor([3])])
    with pytest.raises(Cancelled, match="stopped by the caller"):
        Tail(model, LAYER, TEXTS, cancelled=lambda: True)
