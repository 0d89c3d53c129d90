"""A narrow linear map is a linear map: forward, backward, and the part in focus exact."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ace_analysis.errors import InputError
from ace_analysis.quantization.formats import pack, unpack
from ace_analysis.quantization.linear import Exact, FocusedLinear, make_focused, make_plain

INT8 = torch.int8


def focused(precision: torch.dtype = INT8, bias: bool = True) -> tuple[FocusedLinear, Tensor]:
    """A narrow map of 6 rows and 4 columns, and its exact weight."""
    torch.manual_seed(0)
    linear = nn.Linear(4, 6, bias=bias)
    exact = linear.weight.detach().clone()
    make_focused(linear, pack(exact, precision), torch.float32)
    assert isinstance(linear, FocusedLinear)
    return linear, exact


@pytest.mark.parametrize("bias", [True, False])
def test_it_multiplies_by_what_its_weight_says(bias: bool) -> None:
    linear, exact = focused(bias=bias)
    x = torch.randn(2, 3, 4)
    assert torch.equal(linear.weight, unpack(pack(exact, INT8), torch.float32))
    assert not torch.equal(linear.weight, exact)
    assert torch.equal(linear(x), functional.linear(x, linear.weight, linear.bias))


def test_it_is_the_same_object_and_still_a_linear_map() -> None:
    linear = nn.Linear(4, 6)
    before, bias = id(linear), linear.bias
    make_focused(linear, pack(linear.weight.detach(), INT8), torch.float32)
    assert id(linear) == before and isinstance(linear, nn.Linear) and linear.bias is bias
    assert (linear.in_features, linear.out_features) == (4, 6)


def test_only_the_narrow_values_are_held() -> None:
    linear, _ = focused()
    held = {name: value.dtype for name, value in linear.state_dict().items()}
    assert held == {"bias": torch.float32, "values": INT8, "scale": torch.float32}


@pytest.mark.parametrize(("rows", "columns"), [(slice(2, 4), slice(None)), (slice(None), slice(1, 3))])
@pytest.mark.parametrize("precision", [INT8, torch.float16, torch.float32])
def test_the_part_in_focus_is_exact_and_no_other(precision: torch.dtype, rows: slice, columns: slice) -> None:
    linear, exact = focused(precision)
    before = linear.weight.clone()
    linear.focus(Exact(rows, columns, exact[rows, columns]))
    now = linear.weight
    assert torch.equal(now[rows, columns], exact[rows, columns])
    others = torch.ones_like(now, dtype=torch.bool)
    others[rows, columns] = False
    assert torch.equal(now[others], before[others])
    linear.focus(None)
    assert torch.equal(linear.weight, before)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_the_map_that_ran(bias: bool) -> None:
    linear, exact = focused(bias=bias)
    linear.focus(Exact(slice(0, 2), slice(None), exact[:2]))
    x = torch.randn(2, 3, 4, requires_grad=True)
    upstream = torch.randn(2, 3, 6)
    got = torch.autograd.grad(linear(x), [x, *linear.parameters()], upstream)
    plain = [linear.bias] if bias else []
    expected = torch.autograd.grad(functional.linear(x, linear.weight, linear.bias), [x, *plain], upstream)
    assert len(got) == len(expected)
    for each, other in zip(got, expected, strict=True):
        assert torch.allclose(each, other, atol=1e-6)


def test_with_and_without_gradients_it_gives_the_same_bits() -> None:
    linear, _ = focused()
    x = torch.randn(2, 3, 4)
    assert torch.equal(linear(x.clone().requires_grad_()), linear(x))


def test_the_way_back_keeps_no_wide_matrix() -> None:
    linear, _ = focused()
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: saved.append(each) or each, lambda each: each):
        linear(torch.randn(3, 4, requires_grad=True))
    assert not saved


def test_a_focus_that_changes_before_the_way_back_is_refused() -> None:
    linear, exact = focused()
    loss = linear(torch.randn(3, 4, requires_grad=True)).sum()
    linear.focus(Exact(slice(0, 1), slice(None), exact[:1]))
    with pytest.raises(InputError, match="expected the backward pass before the focus changed, got it after"):
        loss.backward()


def test_a_model_that_is_plain_again_before_the_way_back_is_refused() -> None:
    linear, exact = focused()
    loss = linear(torch.randn(3, 4, requires_grad=True)).sum()
    make_plain(linear, nn.Parameter(exact))
    with pytest.raises(InputError, match="expected the backward pass before the focus changed"):
        loss.backward()


def test_made_plain_nothing_of_it_is_left() -> None:
    linear, exact = focused()
    parameter = nn.Parameter(exact)
    make_plain(linear, parameter)
    fresh = nn.Linear(4, 6)
    assert type(linear) is nn.Linear and linear.weight is parameter
    assert list(linear.state_dict()) == list(fresh.state_dict())
    assert set(vars(linear)) == set(vars(fresh))
