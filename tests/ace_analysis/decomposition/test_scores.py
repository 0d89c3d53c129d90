"""Scores are signed, and found by node."""

import torch

from ace_analysis.decomposition.nodes import Head, Mlp, Token
from ace_analysis.decomposition.scores import NodeScores

SCORES = NodeScores(
    heads=torch.tensor([[0.5, -2.0], [1.0, 0.0]]),
    mlps=torch.tensor([0.25, -3.0]),
    tokens=torch.tensor([1.0, -1.0, 2.0]),
    bias=0.5,
    total=2.5,
    unexplained=0.0,
    unit="logit",
)


def test_a_score_is_found_by_its_node() -> None:
    assert (SCORES[Head(0, 1)], SCORES[Mlp(1)], SCORES[Token(2)]) == (-2.0, -3.0, 2.0)


def test_the_top_is_by_size_and_keeps_its_sign() -> None:
    assert SCORES.top_heads(2) == [(Head(0, 1), -2.0), (Head(1, 0), 1.0)]
    assert SCORES.top_layers(5) == [(1, -2.0), (0, -1.25)]
