"""Scores of sources in any order, and of those that no target can see."""

import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import freeze
from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.relp import bind
from ace_analysis.decomposition.targets import LogitDifference
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.decomposition.walker import Walker, own_scores
from ace_analysis.model.scan import never


def walker_of(anatomy: Anatomy, ids: Tensor, rows_at_once: int = 8) -> Walker:
    run = freeze(anatomy, ids, 4)
    return Walker(run, (bind(run, LogitDifference()),), CDTOptions(), rows_at_once, never)


def test_rows_come_back_in_the_order_of_their_sources(anatomy: Anatomy, ids: Tensor) -> None:
    """Though those that start together run together."""
    sources: list[frozenset[Node]] = [frozenset({each}) for each in (Mlp(3), Token(2), Head(1, 1))]
    for size in (1, 2, 8):
        walker = walker_of(anatomy, ids, size)
        forwards, backwards = walker.relevance(sources), walker.relevance(sources[::-1])
        assert torch.allclose(forwards, backwards.flip(0), rtol=0, atol=1e-10)


def test_what_is_not_run_has_no_part(anatomy: Anatomy, ids: Tensor) -> None:
    walker = walker_of(anatomy, ids)
    assert walker.relevance([frozenset({Token(99)}), frozenset({Mlp(7)})]).tolist() == [[0.0], [0.0]]


def test_only_nodes_that_are_sources_by_themselves_have_scores_of_their_own(
    anatomy: Anatomy, ids: Tensor
) -> None:
    sources = [
        frozenset({Head(1, 2)}),
        frozenset({Mlp(0), Mlp(1)}),
        frozenset({Mlp(2)}),
        frozenset({Token(3)}),
    ]
    parts = own_scores(sources, torch.tensor([[1.0], [2.0], [3.0], [4.0]]), freeze(anatomy, ids, 4))
    assert parts.heads.nonzero().tolist() == [[1, 2]] and parts.mlps.tolist() == [0.0, 0.0, 3.0, 0.0]
    assert parts.tokens.nonzero().flatten().tolist() == [3]
