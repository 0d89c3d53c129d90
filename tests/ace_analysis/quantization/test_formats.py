"""What each format promises of its error, on every one of its values or on many numbers."""

import pytest
import torch
from torch import Tensor

from ace_analysis.errors import ModelError
from ace_analysis.quantization.formats import Packed, lost_and_whole, pack, unpack

FP8 = torch.float8_e4m3fn


def some_weights(rows: int = 64, columns: int = 48, spread: float = 3.0) -> Tensor:
    """Rows of very different sizes."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.exp(torch.randn(rows, 1, generator=generator) * spread)
    return torch.randn(rows, columns, generator=generator) * sizes * 0.02


def error_of(weight: Tensor, packed: Packed) -> float:
    lost, whole = lost_and_whole(weight, packed)
    return (lost / whole) ** 0.5


def through(values: Tensor) -> Tensor:
    """Numbers through E4M3 without a scale."""
    return unpack(pack(values[None], FP8, scales="none"), torch.float64)[0]


def test_e4m3_rounds_normal_numbers_by_a_sixteenth_of_themselves_at_most() -> None:
    numbers = torch.logspace(-6, 8.8, 20_001, base=2, dtype=torch.float64)
    numbers = torch.cat([numbers, -numbers])
    errors = (through(numbers) - numbers).abs() / numbers.abs()
    assert errors.max() <= 2**-4
    assert errors.max() > 0.99 / 17, "1 + 2^-4 becomes 1, or the numbers don't test it"


def test_e4m3_rounds_subnormal_numbers_by_half_a_step_at_most() -> None:
    numbers = torch.linspace(0, 2**-6, 10_001, dtype=torch.float64)
    assert (through(numbers) - numbers).abs().max() <= 2**-10


def test_e4m3_makes_zero_of_what_is_below_half_its_smallest_number() -> None:
    numbers = torch.tensor([2**-10, -(2**-10), 2**-11, 1e-30, 0.0], dtype=torch.float64)
    assert torch.equal(through(numbers), torch.zeros(5, dtype=torch.float64))
    assert through(torch.tensor([2**-10 * 1.01], dtype=torch.float64)).item() == 2**-9


def test_e4m3_clips_at_448() -> None:
    numbers = torch.tensor([448.0, 449.0, 465.0, 1e30, -1e30], dtype=torch.float64)
    assert through(numbers).tolist() == [448.0, 448.0, 448.0, 448.0, -448.0]


def test_all_256_codes_of_e4m3_are_widened_as_torch_widens_them() -> None:
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(FP8)
    expected = codes.to(torch.float64)
    numbers = ~expected.isnan()
    assert numbers.sum() == 254
    widened = unpack(Packed(codes[None]), torch.float64)[0]
    assert torch.equal(widened[numbers], expected[numbers])
    assert torch.equal(widened.signbit(), expected.signbit())


@pytest.mark.parametrize("precision", [FP8, torch.int8])
def test_a_scale_for_each_channel_loses_less_than_one_for_all_and_that_less_than_none(
    precision: torch.dtype,
) -> None:
    weight = some_weights()
    channel, tensor = (
        error_of(weight, pack(weight, precision, scales=each)) for each in ("channel", "tensor")
    )
    assert channel < tensor
    if precision == FP8:
        small = weight / weight.abs().max() * 0.05
        assert error_of(small, pack(small, FP8, scales="tensor")) < error_of(
            small, pack(small, FP8, scales="none")
        )


def test_int8_with_a_scale_for_each_channel_loses_less_in_each_but_the_largest() -> None:
    weight = some_weights()
    channel, tensor = (
        (unpack(pack(weight, torch.int8, scales=each), torch.float64) - weight).square().sum(1)
        for each in ("channel", "tensor")
    )
    small = weight.abs().amax(1) < weight.abs().max() / 4
    assert small.sum() > 5 and bool((channel[small] < tensor[small]).all())


def test_int8_is_off_by_half_a_step_of_its_channel_at_most() -> None:
    weight = some_weights().to(torch.float64)
    packed = pack(weight, torch.int8)
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((unpack(packed, torch.float64) - weight).abs() <= step / 2 * (1 + 1e-12)).all()
    assert packed.values.abs().max() == 127


@pytest.mark.parametrize("precision", [FP8, torch.int8])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_largest_weight_of_a_channel_stays_itself(precision: torch.dtype, dtype: torch.dtype) -> None:
    weight = some_weights().to(dtype)
    kept = unpack(pack(weight, precision), torch.float64)
    largest = weight.abs().argmax(1, keepdim=True)
    exact = weight.to(torch.float64).gather(1, largest)
    assert torch.allclose(kept.gather(1, largest), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("precision", [FP8, torch.int8])
def test_zeros_and_the_smallest_numbers_stay_finite(precision: torch.dtype) -> None:
    weight = torch.zeros(3, 4)
    weight[1] = torch.finfo(torch.float32).tiny
    weight[2] = 1e-45
    kept = unpack(pack(weight, precision), torch.float32)
    assert torch.equal(kept[0], torch.zeros(4)) and bool(kept.isfinite().all())


@pytest.mark.parametrize("precision", [torch.float64, torch.float32, torch.bfloat16])
def test_its_own_format_gives_a_matrix_the_same_bits(precision: torch.dtype) -> None:
    weight = some_weights().to(precision)
    assert torch.equal(unpack(pack(weight, precision), precision), weight)


def test_weights_that_came_from_bf16_lose_nothing_in_it() -> None:
    weight = some_weights().to(torch.bfloat16).to(torch.float32)
    assert error_of(weight, pack(weight, torch.bfloat16)) == 0.0


def test_fp16_refuses_what_is_too_large_for_it_and_says_where() -> None:
    weight = torch.ones(2, 2)
    assert torch.equal(unpack(pack(weight * 65504, torch.float16), torch.float32), weight * 65504)
    weight[1, 0] = -70_000
    with pytest.raises(ModelError, match=r"up to 65504 for fp16, got 70000 in block 3's q: it would"):
        pack(weight, torch.float16, name="block 3's q")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", [torch.bfloat16, FP8, torch.int8])
def test_weights_that_are_no_numbers_are_refused(value: float, precision: torch.dtype) -> None:
    weight = torch.ones(2, 2)
    weight[0, 1] = value
    with pytest.raises(ModelError, match="expected finite weights in a matrix, got NaN or infinity"):
        pack(weight, precision)


def test_packing_does_not_change_the_matrix() -> None:
    weight = some_weights()
    before = weight.clone()
    for precision in (torch.bfloat16, torch.float16, FP8, torch.int8):
        pack(weight, precision)
    assert torch.equal(weight, before)
