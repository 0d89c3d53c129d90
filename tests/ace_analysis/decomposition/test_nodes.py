"""Names of nodes are values."""

import pytest

from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.errors import InputError


def test_nodes_of_different_kinds_are_never_equal() -> None:
    nodes: set[Node] = {Head(1, 1), Mlp(1), Token(1), Head(1, 1)}
    assert len(nodes) == 3


def test_nodes_read_as_the_literature_writes_them() -> None:
    assert [str(each) for each in (Head(9, 2), Mlp(3), Token(0))] == ["L9H2", "MLP3", "T0"]


def test_nodes_below_zero_are_an_error() -> None:
    with pytest.raises(InputError, match="expected a layer and a head from 0 up, got 1, -1"):
        Head(1, -1)
    with pytest.raises(InputError, match="expected a layer from 0 up, got -1"):
        Mlp(-1)
    with pytest.raises(InputError, match="expected a position from 0 up, got -3"):
        Token(-3)
