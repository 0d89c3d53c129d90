"""Which number formats a quantized model is kept and computed in.

The paper keeps the head under test in fp32 and the others in fp8 (arXiv 2510.23264 §3). A format that can't
be what is asked of it is refused here, with the reason, and not found out from a score that is NaN.

What a background was measured to do to scores: rank correlation with fp32 (Spearman, over all 150 heads and
MLPs upstream of two findings, and 20,830 edges), in the model that ships, on a processor without fp8 or int8
products (`ace bench precision --findings 2 --heads 7`). Memory is that of its first ten blocks:

    background    exact ablation   one-pass   EAP's edges   weights' error   weights, MiB   process, MiB
    bf16, fp16    1.00             1.00       1.00          0                829 to 544     973 to 689
    int8          0.95             0.94       0.95          0.010            829 to 402     973 to 547
    fp8           0.88             0.80       0.83          0.026            829 to 402     973 to 547

bf16 loses nothing because that is what these weights are stored in. Seconds of exact ablation are 0.93 to
0.98 of fp32's: products are still made in full precision, so what is saved is memory. That a head in focus
is scored more rightly than the same head rounded, the paper's claim (§4), was not seen on 14 heads: the
mean error is 0.38 of the scores' size beside 0.38 (fp8), 0.14 beside 0.13 (int8). It is the rest that
carries the error.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ace_analysis.errors import SettingsError

Scales = Literal["channel", "tensor", "none"]

PRECISIONS: dict[str, torch.dtype] = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.float8_e4m3fn,
    "int8": torch.int8,
}
"""Short names of what a background may be kept in."""

SCALED = (torch.float8_e4m3fn, torch.int8)
"""Formats too narrow to hold weights without a scale."""

_TARGETS = (torch.float64, torch.float32, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """What the focused head is exact in, and what everything else is kept in.

    Attributes:
        target_precision: what the whole model computes in, and what a focused head's weights are in: fp64,
            fp32 or bf16, at least as wide as the model is loaded in.
        background_precision: what the other weights are kept in: the target precision itself (then nothing
            is rounded), bf16, fp16, fp8 (torch.float8_e4m3fn) or int8; int8 with a scale for each channel was
            measured to keep ranks better than fp8, see above.
        scales: fp8 and int8 only: one scale for each output channel, or one for the whole matrix, or (fp8)
            none, which is what the paper's published code does and loses most small weights.

    Raises:
        SettingsError: a format that can't be used, or two that don't go together.
    """

    target_precision: torch.dtype = torch.float32
    background_precision: torch.dtype = torch.float8_e4m3fn
    scales: Scales = "channel"

    def __post_init__(self) -> None:
        _check_target(self.target_precision)
        _check_background(self.background_precision, self.target_precision)
        if self.scales not in get_args(Scales):
            known = ", ".join(get_args(Scales))
            raise SettingsError(f"expected scales among {known}, got {self.scales!r}")
        if self.scales == "none" and self.background_precision == torch.int8:
            raise SettingsError('expected scales per "channel" or "tensor" for int8, got "none"')

    @property
    def is_lossless(self) -> bool:
        """Whether the background is kept as wide as the target, so that nothing is rounded."""
        return self.background_precision == self.target_precision


def precision_name(dtype: torch.dtype) -> str:
    """`fp8` for torch.float8_e4m3fn, and so on."""
    return next((name for name, each in PRECISIONS.items() if each == dtype), str(dtype))


def _check_target(target: torch.dtype) -> None:
    if target == torch.float16:
        raise SettingsError(
            "expected a target precision of torch.float32, torch.float64 or torch.bfloat16, got"
            " torch.float16: attention computed step by step in it is NaN for models of Qwen2's family, whose"
            " scores pass 65504; as a background fp16 is safe, since only weights are kept in it"
        )
    if target not in _TARGETS:
        raise SettingsError(
            f"expected a target precision among {', '.join(map(str, _TARGETS))}, got {target!r}"
        )


def _check_background(background: torch.dtype, target: torch.dtype) -> None:
    if background not in PRECISIONS.values():
        known = ", ".join(map(str, PRECISIONS.values()))
        raise SettingsError(f"expected a background precision among {known}, got {background!r}")
    if background != target and background.itemsize >= target.itemsize:
        raise SettingsError(
            f"expected a background precision narrower than the target's {target}, or the same,"
            f" got {background}"
        )
