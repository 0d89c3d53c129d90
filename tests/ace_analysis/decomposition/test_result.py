"""What a result says of itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.cdt import ContextualDecomposition
from ace_analysis.decomposition.nodes import Head, Mlp, Node
from ace_analysis.errors import InputError


def test_what_is_not_relevant_is_unexplained(anatomy: Anatomy, ids: Tensor) -> None:
    result = ContextualDecomposition(anatomy).decompose(ids, sources=[Head(1, 1), Mlp(2)])
    assert result.unexplained == result.value - result.relevant and result.unit == "logit"
    assert result.relevance.shape == (2, 1) and result.tokens.shape == (ids.shape[1],)


def test_a_source_is_asked_for_by_node_or_by_set(anatomy: Anatomy, ids: Tensor) -> None:
    both: frozenset[Node] = frozenset({Head(1, 1), Mlp(2)})
    result = ContextualDecomposition(anatomy).decompose(ids, sources=[both, Mlp(2)])
    assert result.score(both) == float(result.relevance[0, 0])
    assert result.score(Mlp(2)) == float(result.relevance[1, 0]) == float(result.mlps[2])
    assert torch.equal(result.heads, torch.zeros_like(result.heads))


def test_a_source_that_was_not_decomposed_is_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    result = ContextualDecomposition(anatomy).decompose(ids, sources=[Mlp(2)])
    with pytest.raises(InputError, match="expected one of the 1 sources decomposed, got L1H1"):
        result.score(Head(1, 1))


def test_sources_whose_parts_grow_beyond_all_numbers_are_told(anatomy: Anatomy, ids: Tensor) -> None:
    result = ContextualDecomposition(anatomy).decompose(ids, sources=[Mlp(0), Head(3, 0)])
    assert result.note == ""
    lost = replace(result, relevance=torch.tensor([[float("nan")], [1.0]]))
    assert lost.note.startswith("the parts of 1 of 2 sources grew beyond all numbers; the MLP rules half")
