"""The transposed pass is the gradient of the frozen network, as autograd would find it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import (
    FROZEN_GATES,
    FrozenGate,
    FrozenRun,
    freeze,
    linear,
    normed,
    slopes_of,
)
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.decomposition.relp import bind
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference
from ace_analysis.decomposition.transposed import pull_back
from ace_analysis.errors import Cancelled


def replayed(run: FrozenRun, resid: Tensor, target: BoundTarget) -> Tensor:
    """The target's value with everything frozen, from another embedding: forwards, step by step."""
    z = resid
    for block, frozen in zip(run.anatomy.blocks, run.blocks, strict=False):
        x = normed(resid, block.before_attention, frozen.attention_scale)
        v = linear(x, block.attn.v).unflatten(-1, (block.attn.n_kv_heads, -1))
        v = v.repeat_interleave(block.attn.n_heads // block.attn.n_kv_heads, dim=1)
        z = torch.einsum("hqk,khd->qhd", frozen.pattern, v)
        written = linear(z.flatten(-2), block.attn.o)
        if block.after_attention is not None and frozen.after_attention_scale is not None:
            written = normed(written, block.after_attention, frozen.after_attention_scale)
        resid = resid + written
        x = normed(resid, block.before_mlp, frozen.mlp_scale)
        by_up, by_gate = slopes_of(block.mlp, frozen.gate, frozen.up, run.gate)
        hidden = by_up * linear(x, block.mlp.up)
        if block.mlp.gate is not None and by_gate is not None:
            hidden = hidden + by_gate * linear(x, block.mlp.gate)
        written = linear(hidden, block.mlp.down)
        if block.after_mlp is not None and frozen.after_mlp_scale is not None:
            written = normed(written, block.after_mlp, frozen.after_mlp_scale)
        resid = resid + written
    return target.readout(z[:, target.site.head] if target.site.stream == "z" else resid)


@pytest.mark.parametrize("gate", FROZEN_GATES)
def test_it_is_the_gradient_at_the_embedding(anatomy: Anatomy, ids: Tensor, gate: FrozenGate) -> None:
    for target, n_blocks in ((LogitDifference(position=9), 4), (HeadTarget(2, 1), 3)):
        run = freeze(anatomy, ids, n_blocks, gate=gate)
        bound = bind(run, target)
        embedding = run.blocks[0].resid_pre.detach().clone().requires_grad_()
        replayed(run, embedding, bound).backward()
        *_, first = pull_back(run, bound)
        assert embedding.grad is not None
        assert torch.allclose(first.resid_pre, embedding.grad, rtol=0, atol=1e-12)


def test_it_goes_from_the_targets_block_down_to_the_first(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    pulled = list(pull_back(run, bind(run, HeadTarget(2, 1))))
    assert [each.layer for each in pulled] == [2, 1, 0]
    assert pulled[0].resid_post is None and pulled[1].resid_post is not None
    assert pulled[0].z[:, [0, 2, 3]].abs().max() == 0


def test_constants_are_what_is_left_without_any_token(qwen2: Anatomy, starcoder2: Any, ids: Tensor) -> None:
    """In the frozen network with an embedding of zero, only biases are left."""
    for anatomy in (qwen2, Anatomy.of(starcoder2)):
        run = freeze(anatomy, ids, anatomy.n_blocks, gate="half")
        bound = bind(run, LogitDifference())
        with torch.no_grad():
            left = replayed(run, torch.zeros_like(run.resid), bound) - bound.readout.constant
        bias = sum(float(each.bias) for each in pull_back(run, bound))
        assert bias == pytest.approx(float(left), abs=1e-10)


def test_a_cancel_is_noticed_between_blocks(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    blocks = pull_back(run, bind(run, LogitDifference()), cancelled=lambda: True)
    assert next(blocks).layer == 3
    with pytest.raises(Cancelled):
        next(blocks)
