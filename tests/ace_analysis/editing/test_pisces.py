"""Invariants of planned edits, in fp64 on three families."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.concept import Concept
from ace_analysis.editing.deltas import apply_deltas, with_deltas
from ace_analysis.editing.pisces import PISCES, aligned_signs, erasure
from ace_analysis.errors import InputError, ModelError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.hooks import hooks
from ace_analysis.model.sites import Site

WIDTH, LATENTS, LAYER = 32, 24, 2
IDS = torch.arange(3, 23)[None]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    """With biases where the family can have none: they are to be edited, too."""
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(1)
    for block in model.base_model.layers:
        for linear in (block.mlp.down_proj, block.self_attn.o_proj):
            linear.bias = torch.nn.Parameter(torch.randn(WIDTH, generator=generator, dtype=torch.float64))
    return model


@pytest.fixture
def direction() -> Tensor:
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def disentangler(layer: int = LAYER, seed: int = 3) -> SparseCoder:
    generator = torch.Generator().manual_seed(seed)
    dec = torch.nn.functional.normalize(torch.randn(LATENTS, WIDTH, generator=generator), dim=1)
    return SparseCoder(
        W_enc=dec.T.contiguous() + 0.1 * torch.randn(WIDTH, LATENTS, generator=generator),
        b_enc=0.1 * torch.randn(LATENTS, generator=generator),
        W_dec=dec,
        b_dec=0.1 * torch.randn(WIDTH, generator=generator),
        threshold=torch.full((LATENTS,), 0.05),
        site=Site(layer, "mlp_out"),
    )


def written(model: Any, layer: int, component: str) -> Tensor:
    """What a part adds to the stream, behind a norm of its own where it has one: [pos, d_model]."""
    block = model.base_model.layers[layer]
    after = {
        "mlp_out": getattr(block, "post_feedforward_layernorm", block.mlp),
        "attn_out": block.post_attention_layernorm
        if hasattr(block, "post_feedforward_layernorm")
        else block.self_attn,
    }[component]
    seen: list[Tensor] = []

    def keep(module: Any, arguments: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    with torch.no_grad(), hooks(after=[(after, keep)]):
        model(input_ids=IDS)
    return seen[0].reshape(-1, WIDTH)


def exact(model: Any) -> float:
    """Gemma 2's norms compute in fp32, whatever the model is in."""
    return 1e-6 if model.config.model_type == "gemma2" else 1e-12


def rows_of(model: Any, layer: int = LAYER) -> Tensor:
    return Anatomy.of(model).blocks[layer].mlp.down.weight.detach().T.clone()


# --- removing a direction -------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["mlp_out", "attn_out"])
def test_behind_a_removal_nothing_is_written_along_the_direction(
    model: Any, direction: Tensor, component: Any
) -> None:
    unit = direction / direction.norm()
    before = written(model, LAYER, component)
    assert (before @ unit).abs().max() > 1e-2
    apply_deltas(model, PISCES(model).remove_direction(direction, LAYER, component).deltas)
    after = written(model, LAYER, component)
    assert float((after @ unit).abs().max() / after.norm(dim=1).max()) < exact(model)


def test_in_fp32_what_is_left_is_below_a_millionth(tiny_model: Path, direction: Tensor) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    unit = (direction / direction.norm()).float()
    apply_deltas(model, PISCES(model).remove_direction(direction, LAYER).deltas)
    after = written(model, LAYER, "mlp_out")
    assert float((after @ unit).abs().max() / after.norm(dim=1).max()) <= 1e-6


def test_all_writers_up_to_a_block_and_the_embedding_leave_a_stream_without_the_direction(
    model: Any, direction: Tensor
) -> None:
    unit = direction / direction.norm()
    head_before = model.get_output_embeddings().weight.detach().clone()
    plan = PISCES(model).remove_direction(direction, LAYER, "resid_writers", embedding=True)
    assert plan.parameters["tied"]
    apply_deltas(model, plan.deltas)
    with torch.no_grad():
        streams = model(input_ids=IDS, output_hidden_states=True).hidden_states
    for stream in streams[: LAYER + 2]:
        assert float((stream @ unit).abs().max() / stream.norm(dim=-1).max()) < exact(model)
    assert not torch.equal(model.get_output_embeddings().weight, head_before)


def test_a_tied_embedding_is_untouched_unless_asked(model: Any, direction: Tensor) -> None:
    before = model.get_input_embeddings().weight.detach().clone()
    apply_deltas(model, PISCES(model).remove_direction(direction, 3, "resid_writers").deltas)
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert torch.equal(model.get_output_embeddings().weight, before)


def test_a_strength_of_0_changes_nothing_and_one_of_2_turns_round(model: Any, direction: Tensor) -> None:
    rows = rows_of(model)
    with with_deltas(model, PISCES(model).remove_direction(direction, LAYER, strength=0.0).deltas):
        assert torch.equal(rows_of(model), rows)
    plan = PISCES(model).remove_direction(direction, LAYER, strength=2.0)
    axis = next(each.right[0] for each in plan.deltas if each.module == "mlp.down")
    with with_deltas(model, plan.deltas):
        assert torch.allclose(rows_of(model) @ axis, -(rows @ axis), atol=1e-12)


def test_a_removal_is_of_rank_one_and_done_twice_is_done_once(model: Any, direction: Tensor) -> None:
    rows = rows_of(model)
    apply_deltas(model, PISCES(model).remove_direction(direction, LAYER).deltas)
    once = rows_of(model)
    assert torch.linalg.matrix_rank(once - rows) == 1
    apply_deltas(model, PISCES(model).remove_direction(direction, LAYER).deltas)
    assert torch.allclose(rows_of(model), once, atol=1e-12)


# --- erasing latents ------------------------------------------------------------------------------------


def test_the_closed_form_is_decode_of_the_edited_code_plus_what_the_coder_left(model: Any) -> None:
    coder, latents = disentangler(), [4, 11, 17]
    rows = rows_of(model)
    concept = Concept(name="c", latents=tuple(latents), promotes=(True, False, True))
    chosen, change = erasure(rows, coder, concept, (3.0, 0.4))
    code = coder.encode(rows[chosen].float())
    edited = code.clone()
    strongest = (rows @ coder.W_enc[:, latents].double()).abs()
    for place, (latent, up) in enumerate(zip(latents, concept.promotes, strict=True)):
        picked = strongest[chosen, place] > 0.4 * strongest[:, place].max()
        edited[picked, latent] = (-1.0 if up else 1.0) * 3.0 * float(strongest.max())
    expected = coder.decode(edited) + (rows[chosen].float() - coder.decode(code))
    got = rows[chosen] + change @ coder.W_dec[latents].double()
    assert torch.allclose(got.float(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("latents", [[5], [1, 2], [0, 7, 9, 23]])
def test_a_change_has_at_most_as_many_directions_as_latents(model: Any, latents: list[int]) -> None:
    rows = rows_of(model)
    plan = PISCES(model, disentangler()).erase(latents, mu=4.0, tau=0.3)
    apply_deltas(model, plan.deltas)
    changed = rows_of(model) - rows
    assert 0 < torch.linalg.matrix_rank(changed) <= len(latents)
    assert plan.rank == len(latents)
    assert plan.norm == pytest.approx(float(changed.norm()), rel=1e-9)


def test_rows_that_were_not_chosen_are_the_same_to_the_bit_and_so_is_every_other_weight(model: Any) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    rows = rows_of(model)
    plan = PISCES(model, disentangler()).erase([3, 8], mu=10.0, tau=0.6)
    apply_deltas(model, plan.deltas)
    (chosen,) = plan.rows.values()
    assert chosen is not None and 0 < len(chosen) < len(rows)
    rest = [at for at in range(len(rows)) if at not in set(chosen)]
    assert torch.equal(rows_of(model)[rest], rows[rest])
    own = Anatomy.of(model).blocks[LAYER].mlp.down.weight
    assert all(
        torch.equal(value, before[name]) for name, value in model.named_parameters() if value is not own
    )


def test_setting_latents_to_what_they_are_changes_nothing(model: Any) -> None:
    """mu 0 sets them to 0, where a coder that never fires has them already."""
    silent = replace(disentangler(), threshold=torch.full((LATENTS,), 1e6))
    rows = rows_of(model)
    apply_deltas(model, PISCES(model, silent).erase([3, 8], mu=0.0, tau=0.3).deltas)
    assert torch.equal(rows_of(model), rows)


def test_a_lower_tau_chooses_more_rows_and_a_higher_mu_moves_them_farther(model: Any) -> None:
    pisces = PISCES(model, disentangler())
    counts = [len(pisces.erase([6], 4.0, tau).deltas[0].left) for tau in (0.9, 0.6, 0.3, 0.0)]
    assert counts == sorted(counts) and counts[0] < counts[-1] == 48
    assert pisces.erase([6], 10.0, 0.5).norm > pisces.erase([6], 4.0, 0.5).norm


def test_neurons_that_are_negative_on_the_concept_are_turned_the_other_way(model: Any) -> None:
    pisces, coder = PISCES(model, disentangler()), disentangler()
    signs = torch.ones(48)
    plain = pisces.erase([6], 4.0, 0.0)
    signs[7] = -1.0
    turned = pisces.erase([6], 4.0, 0.0, signs=signs)
    different = (plain.deltas[0].left != turned.deltas[0].left).flatten().nonzero().flatten().tolist()
    assert different == [plain.deltas[0].rows.index(7)]  # type: ignore[union-attr]
    assert plain.deltas[0].left[different] < 0 < turned.deltas[0].left[different]
    assert coder.d_sae == LATENTS


def test_signs_are_those_of_most_tokens() -> None:
    activations = torch.tensor([[1.0, -1.0, 2.0], [0.5, -3.0, -9.0], [-9.0, 1.0, 0.0]])
    assert aligned_signs(activations).tolist() == [1.0, -1.0, 1.0]


def test_a_plan_says_what_it_changes(model: Any) -> None:
    told = PISCES(model, disentangler()).erase(range(9), mu=4.0, tau=0.5).describe()
    assert "mu 4" in told and "tau 0.5" in told and "layer 2 mlp.down" in told and "9 in all" in told
    removal = PISCES(model).remove_direction(torch.ones(WIDTH), 1, "resid_writers", embedding=True)
    assert "the embedding" in removal.describe() and "all 48 rows" in removal.describe()


# --- what can't be used ---------------------------------------------------------------------------------


def test_without_a_disentangler_erasing_is_refused(model: Any) -> None:
    with pytest.raises(ModelError, match=r"expected a disentangler.*`ace train disentangler`"):
        PISCES(model).erase([1], 4.0, 0.5)


def test_a_coder_of_another_place_width_or_layer_is_refused(model: Any) -> None:
    coder = disentangler()
    with pytest.raises(InputError, match="expected a disentangler of mlp_out, got a coder of resid_post"):
        PISCES(model, replace(coder, site=Site(2)))
    with pytest.raises(InputError, match="expected a layer from 0 to 3, got 4"):
        PISCES(model, disentangler(4))
    narrow = replace(coder, W_enc=coder.W_enc[:8], W_dec=coder.W_dec[:, :8], b_dec=coder.b_dec[:8])
    with pytest.raises(InputError, match="of 32 dimensions, got one of 8"):
        PISCES(model, narrow)


@pytest.mark.parametrize(
    ("latents", "mu", "tau", "said"),
    [
        ([24], 4.0, 0.5, "expected latents from 0 to 23"),
        ([-1], 4.0, 0.5, "expected latents from 0 to 23"),
        ([1], -1.0, 0.5, "mu: expected 0 or a positive number"),
        ([1], float("nan"), 0.5, "mu: expected 0 or a positive number"),
        ([1], 4.0, 1.0, "tau: expected a share"),
        ([], 4.0, 0.5, "expected at least one latent"),
        ([1, 1], 4.0, 0.5, "expected each latent once"),
    ],
)
def test_an_erasure_that_makes_no_sense_is_refused(
    model: Any, latents: list[int], mu: float, tau: float, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        PISCES(model, disentangler()).erase(latents, mu, tau)


def test_signs_of_another_number_of_neurons_are_refused(model: Any) -> None:
    with pytest.raises(InputError, match="one for each of 48 neurons, got"):
        PISCES(model, disentangler()).erase([1], 4.0, 0.5, signs=torch.ones(3))
    with pytest.raises(InputError, match="at least one token"):
        aligned_signs(torch.zeros(0, 3))


def test_a_removal_that_makes_no_sense_is_refused(model: Any, direction: Tensor) -> None:
    pisces = PISCES(model)
    with pytest.raises(InputError, match="direction of 32 numbers"):
        pisces.remove_direction(direction[:5], 1)
    with pytest.raises(InputError, match="other than 0"):
        pisces.remove_direction(torch.zeros(WIDTH), 1)
    with pytest.raises(InputError, match="expected a layer from 0 to 3, got 9"):
        pisces.remove_direction(direction, 9)
    with pytest.raises(InputError, match="expected a component among"):
        pisces.remove_direction(direction, 1, "mlp")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a finite strength"):
        pisces.remove_direction(direction, 1, strength=float("inf"))
    with pytest.raises(InputError, match="only resid_writers"):
        pisces.remove_direction(direction, 1, embedding=True)


def test_a_norm_that_centres_behind_a_part_is_refused(model: Any, direction: Tensor) -> None:
    block = model.base_model.layers[1]
    if not hasattr(block, "post_feedforward_layernorm"):
        pytest.skip("only Gemma 2 has a norm there")
    block.post_feedforward_layernorm = torch.nn.LayerNorm(WIDTH, dtype=torch.float64)
    with pytest.raises(ModelError, match="expected RMSNorm"):
        PISCES(model).remove_direction(direction, 1)
