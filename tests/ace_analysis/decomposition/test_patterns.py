"""Attention's steps, and their transposes."""

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.patterns import (
    mixed,
    pattern_of,
    rotated,
    scores_of,
    split_heads,
    through_scores,
    turned_back,
    visible,
)


def test_a_window_hides_what_is_further_back() -> None:
    seen = visible(5, 2, torch.device("cpu"))
    assert seen.tolist()[4] == [False, False, False, True, True]


def test_turning_back_is_the_transpose_of_turning(anatomy: Anatomy) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    rope = anatomy.rope(6)
    there = float((rotated(x, rope) * y).sum())
    assert there == pytest.approx(float((x * turned_back(y, rope)).sum()), abs=1e-12)


def test_scores_are_gone_through_backwards_as_autograd_does(anatomy: Anatomy) -> None:
    for block in anatomy.blocks[:2]:
        torch.manual_seed(0)
        q = torch.randn(4, 9, 8, dtype=torch.float64, requires_grad=True)
        k, weights = torch.randn(2, 9, 8, dtype=torch.float64), torch.randn(4, 9, 9, dtype=torch.float64)
        scores = scores_of(q, k, block.attn)
        pattern = pattern_of(scores, block.attn)
        (expected,) = torch.autograd.grad((pattern * weights).sum(), q)
        at_scores = through_scores(pattern, weights, scores, block.attn).detach()
        got = at_scores @ k.repeat_interleave(2, dim=0)
        assert torch.allclose(got, expected, rtol=0, atol=1e-12)


def test_heads_of_a_group_mix_the_same_values() -> None:
    pattern = torch.eye(3).expand(4, 3, 3)
    v: Tensor = torch.arange(2.0)[:, None, None].expand(2, 3, 5)
    assert mixed(pattern, v)[0, :, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert split_heads(torch.zeros(3, 20), 5).shape == (4, 3, 5)
