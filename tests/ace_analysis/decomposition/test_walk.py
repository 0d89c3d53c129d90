"""Where a walk starts, and what it sets."""

import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import freeze
from ace_analysis.decomposition.nodes import Head, Mlp, Token
from ace_analysis.decomposition.walk import CDTOptions, start_of, walk


def test_a_walk_starts_at_the_first_layer_of_any_source(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    rows = [frozenset({Head(2, 1), Mlp(3)}), frozenset({Mlp(3)})]
    assert [block.layer for block in walk(run, rows, CDTOptions())] == [2, 3]
    assert [start_of(row, 4) for row in rows] == [2, 3] and start_of(frozenset({Token(5)}), 4) == 0


def test_a_walk_without_a_source_goes_nowhere(anatomy: Anatomy, ids: Tensor) -> None:
    assert list(walk(freeze(anatomy, ids, 4), [frozenset()], CDTOptions())) == []


def test_a_source_is_relevant_with_all_of_its_output(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    (third, _) = walk(run, [frozenset({Head(2, 1)}), frozenset({Mlp(2)})], CDTOptions())
    assert torch.allclose(third.z.relevant[0, :, 1], run.blocks[2].z[:, 1])
    assert not third.z.relevant[0, :, [0, 2, 3]].any() and not third.z_before.relevant.any()
    assert torch.allclose(third.mlp_write.relevant[1], run.blocks[2].mlp_write)
    assert torch.allclose(third.resid_post.relevant[1], run.blocks[2].mlp_write)
