"""Two parts that stay together."""

import torch

from ace_analysis.decomposition.decomposition import Decomposition


def test_parts_go_through_linear_maps_and_sums_together() -> None:
    x = Decomposition(torch.ones(1, 2, 3), torch.full((1, 2, 3), 2.0))
    assert torch.equal(x.total, torch.full((1, 2, 3), 3.0))
    assert torch.equal((x + x).total, 2 * x.total)
    assert torch.equal(x.through(lambda each: each.mean(-1)).irrelevant, torch.full((1, 2), 2.0))
