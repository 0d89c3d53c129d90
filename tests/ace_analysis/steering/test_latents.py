"""Latents are chosen by what taking them out does to the output."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import Cancelled, FingerprintError, InputError
from ace_analysis.features.bundle import Bundle, ErrorFeature
from ace_analysis.model.causal import CausalModel
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.steering.latents import (
    LatentEffect,
    as_about,
    chosen_latents,
    effects_of,
    indifferent_latents,
    latent_directions,
    vector_from_latents,
)
from ace_analysis.steering.prompts import middle_prompt

LATENTS = (3, 17, 40)
TEXT = "def f(a, b):\n    if a < b:\n        return a + b\n    return b - a\n"


@pytest.fixture
def pairs() -> list[MutationPair]:
    return MutationGenerator(pairs_per_snippet=6).generate_pairs([TEXT])


def test_the_vector_takes_out_what_the_latents_write(bundle_for: Callable[..., Bundle]) -> None:
    bundle = bundle_for()
    coder = bundle.coder
    written = sum(coder.W_dec[each] * coder.threshold[each] for each in LATENTS)
    vector = vector_from_latents(bundle, LATENTS)
    torch.testing.assert_close(vector.direction, -written)
    assert (vector.layer, vector.fingerprint) == (bundle.layer, bundle.fingerprint)
    assert vector.about["latents"] == list(LATENTS)


def test_an_effect_is_what_steering_with_the_latent_alone_does(
    qwen: CausalModel, bundle_for: Callable[..., Bundle], pairs: list[MutationPair]
) -> None:
    """Measured again by hand: one latent, one pair, a plain pass under the vector."""
    bundle = bundle_for()
    pair = next(each for each in pairs if each.positive_span.start != 0)
    effects = {each.latent: each for each in effects_of(qwen, bundle, LATENTS, [pair], strength=2.0)}
    right, wrong = (
        qwen.tokenizer.encode(text[span.start : span.end]).ids[1]
        for text, span in ((pair.positive, pair.positive_span), (pair.negative, pair.negative_span))
    )
    before, after = pair.positive[: pair.positive_span.start], pair.positive[pair.positive_span.end :]
    prompt = torch.tensor([middle_prompt(qwen.tokenizer, before, after)])

    def lead(latent: int, strength: float) -> float:
        vector = vector_from_latents(bundle, [latent], normalize=False)
        with vector.applied(qwen, strength, start=prompt.shape[1] - 1), torch.no_grad():
            row = qwen.model(prompt).logits[0, -1].log_softmax(-1)
        return float(row[right] - row[wrong])

    for latent in LATENTS:
        assert effects[latent].effect == pytest.approx(lead(latent, 2.0) - lead(latent, 0.0), abs=1e-3)
        assert effects[latent].cases == 1


def test_the_most_helpful_come_first_and_harmful_ones_are_not_chosen(
    qwen: CausalModel, bundle_for: Callable[..., Bundle], pairs: list[MutationPair]
) -> None:
    effects = effects_of(qwen, bundle_for(), range(20), pairs)
    assert [each.effect for each in effects] == sorted((each.effect for each in effects), reverse=True)
    chosen = chosen_latents(effects, 5)
    assert chosen == tuple(each.latent for each in effects[:5] if each.effect > 0)
    assert chosen_latents([LatentEffect(1, -0.5, 3)], 5) == ()


def test_effects_are_kept_as_json() -> None:
    assert as_about([LatentEffect(7, 0.25, 3)]) == [{"latent": 7, "effect": 0.25, "cases": 3}]


def test_the_control_has_no_error_feature_and_little_weight(bundle_for: Callable[..., Bundle]) -> None:
    bundle = bundle_for()
    weight = bundle.readout.weights.abs().sum(dim=0)
    feature = ErrorFeature(
        feature_idx=int(weight.argmin()),
        t_statistic=9.0,
        paired_t=9.0,
        q_value=0.0,
        separation=0.1,
        rate_buggy=0.1,
        rate_matched=0.0,
        density=0.01,
    )
    found = indifferent_latents(bundle_for(catalog=(feature,)), 4)
    assert len(set(found)) == 4 and feature.feature_idx not in found
    assert max(weight[list(found)]) <= weight.sort().values[4]
    assert found == indifferent_latents(bundle_for(catalog=(feature,)), 4)


def test_directions_are_rows_times_thresholds(bundle_for: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = bundle_for()
    expected = bundle.coder.W_dec[3] * bundle.coder.threshold[3]
    torch.testing.assert_close(latent_directions(bundle, [3])[0], expected)


@pytest.mark.parametrize("latents", [[], [64], [-1]])
def test_latents_that_are_not_there_are_refused(
    bundle_for: Callable[..., Bundle], latents: list[int]
) -> None:
    with pytest.raises(InputError, match="expected latents from 0 to 63"):
        vector_from_latents(bundle_for(), latents)


def test_too_many_controls_are_refused(bundle_for: Callable[..., Bundle]) -> None:
    with pytest.raises(InputError, match="expected 1 to 64 latents"):
        indifferent_latents(bundle_for(), 65)


def test_pairs_that_tell_nothing_are_refused(qwen: CausalModel, bundle_for: Callable[..., Bundle]) -> None:
    with pytest.raises(InputError, match="differ in their first token"):
        effects_of(qwen, bundle_for(), LATENTS, [])


def test_another_models_bundle_is_refused(
    qwen: CausalModel, bundle_for: Callable[..., Bundle], pairs: list[MutationPair]
) -> None:
    with pytest.raises(FingerprintError):
        effects_of(qwen, bundle_for(fingerprint="0" * 64), LATENTS, pairs)


def test_it_can_be_cancelled(
    qwen: CausalModel, bundle_for: Callable[..., Bundle], pairs: list[MutationPair]
) -> None:
    with pytest.raises(Cancelled):
        effects_of(qwen, bundle_for(), LATENTS, pairs, cancelled=lambda: True)
