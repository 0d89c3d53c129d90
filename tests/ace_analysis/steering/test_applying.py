"""What is added to the stream, and what is not."""

import pytest
import torch
from torch import Tensor

from ace_analysis.steering.applying import pushed


@pytest.fixture
def resid() -> Tensor:
    return torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


DIRECTION = torch.arange(8, dtype=torch.float64)


def test_the_direction_is_added_times_the_strength(resid: Tensor) -> None:
    moved = pushed(resid, DIRECTION, torch.tensor([[2.0]]), normalize=False)
    assert moved is not None
    torch.testing.assert_close(moved, resid + 2 * DIRECTION)


def test_each_row_and_each_token_has_its_own_strength(resid: Tensor) -> None:
    strengths = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 2.0]])
    moved = pushed(resid, DIRECTION, strengths, normalize=False)
    assert moved is not None
    torch.testing.assert_close(moved, resid + strengths[..., None].double() * DIRECTION)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_strength_of_zero_changes_no_bit(resid: Tensor, normalize: bool) -> None:
    assert pushed(resid, DIRECTION, torch.zeros(1, 1), normalize=normalize) is None
    moved = pushed(resid, DIRECTION, torch.tensor([[0.0], [1.0]]), normalize=normalize)
    assert moved is not None and torch.equal(moved[0], resid[0])


def test_a_normalized_token_keeps_its_length_and_turns_towards_the_direction(resid: Tensor) -> None:
    moved = pushed(resid, DIRECTION, torch.tensor([[3.0]]), normalize=True)
    assert moved is not None
    torch.testing.assert_close(moved.norm(dim=-1), resid.norm(dim=-1))
    before, after = (torch.cosine_similarity(each, DIRECTION, dim=-1) for each in (resid, moved))
    assert bool((after > before).all())


def test_a_token_of_length_zero_stays_a_number() -> None:
    moved = pushed(torch.zeros(1, 1, 8), DIRECTION.float(), torch.tensor([[1.0]]), normalize=True)
    assert moved is not None and bool(torch.isfinite(moved).all())
