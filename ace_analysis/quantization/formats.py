"""A matrix in a narrow number format, and back.

E4M3 has 4 bits of exponent and 3 of mantissa: it rounds normal numbers by at most 2^-4 of themselves, knows
nothing between 0 and 2^-9, and ends at 448 (arXiv 2209.05433 §3). A model's weights are a few hundredths, at
the bottom of that range; a scale for each output channel moves its largest weight to the top. int8 has
127 equal steps on each side of zero, so a channel's scale bounds its error by half a step.

torchao has these formats, too. It is not used: it takes seconds to import, its matrices can't hold a few
exact rows, its E4M3 multiplies on CUDA only, and its int8 on a CPU costs what widening here and multiplying
costs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ace_analysis.errors import ModelError
from ace_analysis.quantization.config import SCALED, Scales, precision_name

LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
"""What a scaled format's largest value is; a scale maps the largest weight to it."""

_MANTISSA_OF_HALF_BEYOND_E4M3 = 7
_BIT_14 = 0x4000
_BIAS_OF_HALF_BEYOND_E4M3 = 256.0


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A matrix `values * scale`. `scale` is [out, 1] or [1, 1], and None where the format needs none."""

    values: Shaped[Tensor, "out in"]
    scale: Float[Tensor, "..."] | None = None


def pack(
    weight: Float[Tensor, "out in"], precision: torch.dtype, *, scales: Scales = "channel", name: str = ""
) -> Packed:
    """Round a matrix to a format, to the nearest value, ties to even.

    Args:
        weight: the exact matrix, not changed.
        precision: the format; the matrix's own one gives the same bits.
        scales: for fp8 and int8 only: per output channel (row), per matrix, or none. Without a scale what is
            beyond 448 becomes 448.
        name: what the matrix is called in messages.

    Raises:
        ModelError: a weight that is not finite, or that the format is too short for.
    """
    if not bool(torch.isfinite(weight).all()):
        raise ModelError(f"expected finite weights in {name or 'a matrix'}, got NaN or infinity")
    if precision not in SCALED:
        return Packed(_checked(weight.to(precision), weight, name))
    scale = None if scales == "none" else _scale(weight, LARGEST[precision], scales)
    wide = weight.to(_working(weight.dtype))
    scaled = (wide if scale is None else wide / scale).clamp(-LARGEST[precision], LARGEST[precision])
    return Packed((scaled.round() if precision == torch.int8 else scaled).to(precision), scale)


def unpack(packed: Packed, dtype: torch.dtype) -> Float[Tensor, "out in"]:
    """The matrix in a wider dtype; the stored tensor itself where it has that dtype already."""
    values, scale = packed.values, packed.scale
    if values.dtype not in SCALED:
        return values.to(dtype)
    working = _working(dtype)
    is_slow = values.dtype == torch.float8_e4m3fn and values.device.type == "cpu"
    wide = _widened_e4m3(values).to(working) if is_slow else values.to(working)
    return (wide if scale is None else wide.mul_(scale)).to(dtype)


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _scale(weight: Tensor, largest: float, scales: Scales) -> Tensor:
    """What divides each row; of zeros alone, a scale that keeps them zeros."""
    sizes = weight.abs().amax(dim=1, keepdim=True) if scales == "channel" else weight.abs().amax()[None, None]
    wide = sizes.to(_working(weight.dtype)) / largest
    return wide.clamp_min(torch.finfo(wide.dtype).tiny)


def _checked(values: Tensor, weight: Tensor, name: str) -> Tensor:
    if bool(torch.isfinite(values).all()):
        return values
    precision = precision_name(values.dtype)
    raise ModelError(
        f"expected weights up to {torch.finfo(values.dtype).max:g} for {precision}, got"
        f" {weight.abs().max().item():g} in {name or 'a matrix'}: it would overflow; take bf16, or fp8 or"
        " int8 with their scales, as the background precision"
    )


def _widened_e4m3(values: Tensor) -> Tensor:
    """E4M3 as fp32, exactly; torch converts it on a CPU number by number, four times slower.

    Its bits s eeee mmm are those of an fp16 number s 0eeee mmm0000000 that is 2^8 times smaller, since the
    exponents' biases are 7 and 15; that holds for subnormal numbers, too.
    """
    bits = values.view(torch.int8).to(torch.int16)  # extends the sign over bits 8 to 15
    bits = bits.bitwise_left_shift_(_MANTISSA_OF_HALF_BEYOND_E4M3).bitwise_and_(~_BIT_14)
    return bits.view(torch.float16).to(torch.float32).mul_(_BIAS_OF_HALF_BEYOND_E4M3)


def lost_and_whole(weight: Float[Tensor, "out in"], packed: Packed) -> tuple[float, float]:
    """Squared norms of what rounding took from a matrix, and of the matrix."""
    exact = weight.to(torch.float64)
    lost = exact - unpack(packed, torch.float64)
    return lost.square().sum().item(), exact.square().sum().item()
