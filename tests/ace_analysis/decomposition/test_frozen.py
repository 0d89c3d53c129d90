"""The written-out forward pass is the model's own, and says what it froze."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import (
    FROZEN_GATES,
    FrozenGate,
    derivatives_of,
    freeze,
    secant,
    slopes_of,
)
from ace_analysis.decomposition.logits import logits_of
from ace_analysis.decomposition.patterns import visible
from ace_analysis.errors import Cancelled, InputError

OWN = 2e-5
"""Hugging Face computes norms, rotations and patterns in fp32 even in a float64 model."""


def test_the_logits_are_the_models_own(causal: Any, ids: Tensor) -> None:
    anatomy = Anatomy.of(causal)
    run = freeze(anatomy, ids, anatomy.n_blocks)
    with torch.no_grad():
        expected = causal(ids).logits[0]
    assert (logits_of(anatomy, run.resid) - expected).abs().max() < OWN * expected.abs().max()


def test_so_are_those_of_a_model_with_layer_norms_and_without_gates(starcoder2: Any, ids: Tensor) -> None:
    anatomy = Anatomy.of(starcoder2)
    run = freeze(anatomy, ids, anatomy.n_blocks)
    with torch.no_grad():
        expected = starcoder2(ids).logits[0]
    assert (logits_of(anatomy, run.resid) - expected).abs().max() < OWN * expected.abs().max()


def test_every_blocks_stream_is_the_models_own(causal: Any, ids: Tensor) -> None:
    anatomy = Anatomy.of(causal)
    run = freeze(anatomy, ids, anatomy.n_blocks)
    with torch.no_grad():
        states = causal.model(ids, output_hidden_states=True).hidden_states
    for layer in range(anatomy.n_blocks - 1):  # the last state there is already normalised
        got, expected = run.resid_post(layer), states[layer + 1][0]
        assert (got - expected).abs().max() < OWN * expected.abs().max()


def test_what_a_block_writes_adds_up_to_the_stream_behind_it(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 3)
    for layer, block in enumerate(run.blocks):
        after = block.resid_pre + block.attention_write + block.mlp_write
        assert torch.allclose(after, run.resid_post(layer), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gate", FROZEN_GATES)
def test_slopes_are_complete_and_derivatives_are_autograds(
    anatomy: Anatomy, starcoder2: Any, ids: Tensor, gate: FrozenGate
) -> None:
    for each in (anatomy, Anatomy.of(starcoder2)):
        mlp, frozen = each.blocks[0].mlp, freeze(each, ids, 1).blocks[0]
        up = frozen.up.clone().requires_grad_()
        opened = None if frozen.gate is None else frozen.gate.clone().requires_grad_()
        inside = mlp.activation(up) if opened is None else mlp.activation(opened) * up
        by_up, by_gate = slopes_of(mlp, frozen.gate, frozen.up, gate)
        whole = by_up * frozen.up
        whole = whole if by_gate is None or frozen.gate is None else whole + by_gate * frozen.gate
        assert torch.allclose(whole, inside, rtol=0, atol=1e-12)
        sides = [up] if opened is None else [up, opened]
        for expected, got in zip(
            torch.autograd.grad(inside.sum(), sides),
            derivatives_of(mlp, frozen.gate, frozen.up),
            strict=False,
        ):
            assert got is not None and torch.allclose(got, expected, rtol=0, atol=1e-12)


def test_patterns_are_causal_sum_to_one_and_keep_to_the_window(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 2)
    for block, frozen in zip(anatomy.blocks, run.blocks, strict=False):
        unseen = ~visible(ids.shape[1], block.attn.window, ids.device)
        assert (frozen.pattern.sum(-1) - 1).abs().max() < 1e-12
        assert frozen.pattern[:, unseen].abs().max() == 0


def test_the_secant_is_the_activation_over_its_argument_also_at_zero() -> None:
    x = torch.tensor([-2.0, 0.0, 1e-30, 3.0], dtype=torch.float64)
    silu = torch.nn.functional.silu
    assert torch.allclose(secant(x, silu) * x, silu(x), rtol=1e-12, atol=0)
    assert secant(x, silu)[1] == 0.5


def test_a_text_is_one_row_or_none(anatomy: Anatomy, ids: Tensor) -> None:
    assert torch.equal(freeze(anatomy, ids, 2).resid, freeze(anatomy, ids[0], 2).resid)


@pytest.mark.parametrize("shape", [(2, 3), (0,), (1, 0), (1, 1, 3)])
def test_other_shapes_of_ids_are_an_error(anatomy: Anatomy, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected the token ids of one text.*got \["):
        freeze(anatomy, torch.ones(shape, dtype=torch.long), 1)


def test_an_unknown_gate_is_an_error_that_names_the_known_ones(anatomy: Anatomy, ids: Tensor) -> None:
    unknown: Any = "open"
    with pytest.raises(InputError, match=r"expected a frozen gate among gate_frozen, half.*got 'open'"):
        freeze(anatomy, ids, 1, gate=unknown)


def test_a_cancel_is_noticed_before_the_next_block(anatomy: Anatomy, ids: Tensor) -> None:
    asked: list[bool] = []

    def second() -> bool:
        asked.append(True)
        return len(asked) == 2

    with pytest.raises(Cancelled, match="nothing was kept"):
        freeze(anatomy, ids, 4, cancelled=second)
    assert len(asked) == 2
