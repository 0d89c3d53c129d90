"""A vector steers the model that it was made from, where it is asked to, and leaves nothing behind."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ace_analysis.steering.vector as vector_module
from ace_analysis.errors import FingerprintError, InputError, ModelError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.loading import load_hooked_model
from ace_analysis.model.sites import Site
from ace_analysis.settings import SteeringSettings
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.generation import GenerationOptions
from ace_analysis.steering.subject import Subject
from ace_analysis.steering.vector import SteeringVector

Ids = Callable[[str], Tensor]
TEXT = "def mean(values):\n    total = "
LAYER = 1


def made(causal: Any, layer: int = LAYER, **changes: Any) -> SteeringVector:
    vector = SteeringVector.from_prompts(causal, "return total", "return index", layer)
    return replace(vector, **changes)


def hooks_of(causal: CausalModel) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in causal.model.modules()
    )


def last_logits(causal: CausalModel, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return causal.model(ids).logits[:, -1]


def test_the_direction_is_the_difference_of_the_streams_at_the_last_token(
    causal: CausalModel, ids_of: Ids
) -> None:
    one, two = (
        causal.scanner.resid_post(ids_of(text), LAYER)[0, -1] for text in ("return total", "return index")
    )
    torch.testing.assert_close(made(causal).direction, one - two)


def test_of_several_prompts_the_means_count(causal: CausalModel, ids_of: Ids) -> None:
    vector = SteeringVector.from_prompts(causal, ["a = 1", "b = 2"], ["if x:"], LAYER)
    rows = [causal.scanner.resid_post(ids_of(text), LAYER)[0, -1] for text in ("a = 1", "b = 2", "if x:")]
    torch.testing.assert_close(vector.direction, (rows[0] + rows[1]) / 2 - rows[2])
    assert vector.about["positive"] == 2 and vector.about["negative"] == 1


def test_a_strength_of_zero_is_bit_identical_to_no_steering(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of(TEXT)
    plain = last_logits(causal, ids)
    with made(causal).applied(causal, 0.0):
        assert torch.equal(last_logits(causal, ids), plain)


def test_steering_changes_what_is_written(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of(TEXT)
    vector = made(causal).scaled(20.0)
    assert not torch.equal(vector.apply(causal, ids, 0.0), vector.apply(causal, ids, 3.0))


def test_the_prompt_is_handed_back_and_something_behind_it(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of(TEXT)
    output = made(causal).apply(causal, ids, 1.0, GenerationOptions(max_new_tokens=5))
    assert output.shape == (1, ids.shape[1] + 5) and torch.equal(output[:, : ids.shape[1]], ids)


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_vector_is_added_at_every_decoded_token(
    causal: CausalModel, ids_of: Ids, use_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steered: list[int] = []
    real = vector_module.pushed

    def counting(resid: Tensor, direction: Tensor, strengths: Tensor, *, normalize: bool) -> Tensor | None:
        steered.append(int((strengths != 0).sum()))
        return real(resid, direction, strengths, normalize=normalize)

    monkeypatch.setattr(vector_module, "pushed", counting)
    options = GenerationOptions(max_new_tokens=6, use_cache=use_cache)
    made(causal).apply(causal, ids_of(TEXT), 1.0, options)
    assert steered == ([1] * 6 if use_cache else [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("normalize", [True, False])
def test_steered_text_with_a_cache_is_that_without(causal: CausalModel, ids_of: Ids, normalize: bool) -> None:
    vector = made(causal, normalize=normalize).scaled(3.0)
    texts = [
        vector.apply(causal, ids_of(TEXT), 1.5, GenerationOptions(max_new_tokens=12, use_cache=use_cache))
        for use_cache in (True, False)
    ]
    assert torch.equal(*texts)


def test_a_batch_is_written_as_its_rows_are_alone(causal: CausalModel, ids_of: Ids) -> None:
    one = ids_of(TEXT)
    two = one.clone()
    two[0, 3] = one[0, 4]
    vector = made(causal).scaled(3.0)
    together = vector.apply(causal, torch.cat([one, two]), 1.5)
    assert torch.equal(together, torch.cat([vector.apply(causal, each, 1.5) for each in (one, two)]))


def test_each_row_of_a_batch_can_have_its_own_strength(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of(TEXT)
    vector = made(causal).scaled(5.0)
    with vector.applied(causal, torch.tensor([0.0, 2.0])):
        both = last_logits(causal, torch.cat([ids, ids]))
    with vector.applied(causal, 2.0):
        alone = last_logits(causal, ids)
    torch.testing.assert_close(both[0], last_logits(causal, ids)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[1], alone[0], rtol=1e-4, atol=1e-4)


def test_strengths_that_can_not_be_meant_are_refused_and_leave_no_hook(
    causal: CausalModel, ids_of: Ids
) -> None:
    before = hooks_of(causal)
    with pytest.raises(InputError, match="finite numbers, got nan"):
        made(causal).apply(causal, ids_of(TEXT), float("nan"))
    with (
        pytest.raises(InputError, match="one for 1 rows or each, got 3"),
        made(causal).applied(causal, torch.ones(3)),
    ):
        last_logits(causal, ids_of(TEXT))
    assert hooks_of(causal) == before


def test_two_vectors_at_one_layer_add_up(causal: CausalModel, ids_of: Ids) -> None:
    one = made(causal, normalize=False)
    two = one.random_like(seed=5)
    both = replace(one, direction=one.direction + two.direction)
    with one.applied(causal, 1.0), two.applied(causal, 1.0):
        nested = last_logits(causal, ids_of(TEXT))
    with both.applied(causal, 1.0):
        torch.testing.assert_close(nested, last_logits(causal, ids_of(TEXT)), rtol=1e-3, atol=1e-4)


def test_vectors_at_two_layers_compose(causal: CausalModel, ids_of: Ids) -> None:
    one, two = made(causal, 0).scaled(5.0), made(causal, 2).scaled(5.0)
    ids = ids_of(TEXT)
    with one.applied(causal, 1.0):
        alone = last_logits(causal, ids)
        with two.applied(causal, 1.0):
            both = last_logits(causal, ids)
        assert torch.equal(last_logits(causal, ids), alone)
    assert not torch.equal(both, alone)


def test_tokens_before_the_start_are_left_alone(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of(TEXT)
    with made(causal).scaled(5.0).applied(causal, 1.0, start=ids.shape[1] - 2), torch.no_grad():
        steered = causal.model(ids).logits
    with torch.no_grad():
        plain = causal.model(ids).logits
    assert torch.equal(steered[:, :-2], plain[:, :-2]) and not torch.equal(steered[:, -2:], plain[:, -2:])


def test_hooks_are_gone_afterwards_and_after_an_exception(causal: CausalModel, ids_of: Ids) -> None:
    before, plain = hooks_of(causal), last_logits(causal, ids_of(TEXT))
    with pytest.raises(RuntimeError, match="on purpose"), made(causal).applied(causal, 1.0):
        assert hooks_of(causal) > before
        raise RuntimeError("on purpose")
    assert hooks_of(causal) == before
    assert torch.equal(last_logits(causal, ids_of(TEXT)), plain)


def test_another_models_vector_is_refused(causal: CausalModel, ids_of: Ids) -> None:
    stranger = made(causal, fingerprint="0" * 64)
    with pytest.raises(FingerprintError, match=r"made from .* make it again"):
        stranger.apply(causal, ids_of(TEXT), 1.0)


def test_a_layer_that_is_not_there_is_refused(causal: CausalModel, ids_of: Ids) -> None:
    with pytest.raises(InputError, match="a layer from 0 to 3, got 9"):
        made(causal, layer=LAYER)
        replace(made(causal), layer=9).apply(causal, ids_of(TEXT), 1.0)


def test_a_plain_module_is_refused_since_nobody_knows_whose_weights_it_has(causal: CausalModel) -> None:
    with pytest.raises(ModelError, match="load_hooked_model or load_causal"):
        Subject.of(causal.model)


def test_prompts_that_are_one_are_refused(causal: CausalModel) -> None:
    with pytest.raises(InputError, match="two different prompts"):
        SteeringVector.from_prompts(causal, "x", "x", LAYER)
    with pytest.raises(InputError, match="at least one prompt"):
        SteeringVector.from_prompts(causal, [], "x", LAYER)


def test_numbers_that_are_none_are_refused(causal: CausalModel) -> None:
    with pytest.raises(InputError, match="finite"):
        made(causal, direction=torch.full((32,), float("nan")))
    with pytest.raises(InputError, match=r"expected \[d_model\]"):
        made(causal, direction=torch.zeros(2, 2))


def test_the_settings_defaults_are_what_is_used(causal: CausalModel, ids_of: Ids) -> None:
    vector = made(causal).scaled(5.0)
    assert vector.normalize is SteeringSettings().normalize
    ids, strength = ids_of(TEXT), SteeringSettings().default_strength
    assert torch.equal(vector.apply(causal, ids), vector.apply(causal, ids, strength))


def test_the_random_control_is_as_long_and_points_elsewhere(causal: CausalModel) -> None:
    vector = made(causal)
    control = vector.random_like(seed=1)
    assert control.length == pytest.approx(vector.length, rel=1e-5)
    assert abs(float(torch.cosine_similarity(control.direction, vector.direction, dim=0))) < 0.7
    assert torch.equal(control.direction, vector.random_like(seed=1).direction)


def coder_firing(always: bool) -> SparseCoder:
    threshold = torch.full((4,), 0.0 if always else 1e9)
    return SparseCoder(
        torch.zeros(32, 4), torch.ones(4), torch.zeros(4, 32), torch.zeros(32), threshold, Site(0)
    )


@pytest.mark.parametrize("opens", [True, False])
def test_a_gate_decides_which_tokens_are_steered(causal: CausalModel, ids_of: Ids, opens: bool) -> None:
    gate = FeatureGate(coder_firing(opens), (0, 2), causal.info.name, causal.info.fingerprint)
    vector, ids = made(causal).scaled(5.0), ids_of(TEXT)
    gated = vector.apply(causal, ids, 2.0, gate=gate)
    assert torch.equal(gated, vector.apply(causal, ids, 2.0 if opens else 0.0))


def test_a_gate_behind_the_vector_knows_too_late(causal: CausalModel, ids_of: Ids) -> None:
    gate = FeatureGate(coder_firing(True), (0,), causal.info.name, causal.info.fingerprint)
    late = replace(gate, coder=replace(gate.coder, site=Site(3)))
    with pytest.raises(InputError, match="layer 3 or behind it"):
        made(causal).apply(causal, ids_of(TEXT), 1.0, gate=late)


def test_another_models_gate_is_refused(causal: CausalModel, ids_of: Ids) -> None:
    gate = FeatureGate(coder_firing(True), (0,), "other", "0" * 64)
    with pytest.raises(FingerprintError, match="this gate was made for other"):
        made(causal).apply(causal, ids_of(TEXT), 1.0, gate=gate)


def test_a_hooked_model_is_steered_like_the_plain_one(
    tiny_model: Path, causal: CausalModel, ids_of: Ids
) -> None:
    hooked, ids = load_hooked_model(str(tiny_model), device="cpu", dtype="float32"), ids_of(TEXT)
    made_of_it = SteeringVector.from_prompts(
        hooked, positive_prompt="return total", negative_prompt="return index", layer=LAYER
    )
    torch.testing.assert_close(made_of_it.direction, made(causal).direction, rtol=1e-3, atol=1e-4)
    other = ids.clone()
    other[0, 3] = ids[0, 4]
    for normalize, use_cache in itertools.product((True, False), repeat=2):
        vector = replace(made_of_it.scaled(3.0), normalize=normalize)
        options = GenerationOptions(max_new_tokens=8, use_cache=use_cache)
        both = vector.apply(hooked, torch.cat([ids, other]), 1.5, options)
        assert torch.equal(both, vector.apply(causal, torch.cat([ids, other]), 1.5, options))
        assert torch.equal(
            both, torch.cat([vector.apply(hooked, each, 1.5, options) for each in (ids, other)])
        )


def test_a_hooked_models_own_pass_and_own_generation_are_steered_as_long_as_the_context_lasts(
    tiny_qwen2: Path, ids_of: Ids
) -> None:
    hooked, ids = load_hooked_model(str(tiny_qwen2), device="cpu", dtype="float32"), ids_of(TEXT)
    vector = made(hooked).scaled(6.0)
    plain = hooked(ids)
    with vector.applied(hooked, 0.0):
        assert torch.equal(hooked(ids), plain)
    own = {"max_new_tokens": 6, "do_sample": False, "verbose": False, "stop_at_eos": False}
    with vector.applied(hooked, 2.0, start=ids.shape[1] - 1):
        assert not torch.equal(hooked(ids), plain)
        written = hooked.generate(ids, **own)
    assert torch.equal(written, vector.apply(hooked, ids, 2.0, GenerationOptions(max_new_tokens=6)))
    with pytest.raises(RuntimeError, match="on purpose"), vector.applied(hooked, 2.0):
        raise RuntimeError("on purpose")
    assert torch.equal(hooked(ids), plain)
