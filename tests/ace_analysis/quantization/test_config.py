"""Formats that can't be what is asked of them are refused with the reason."""

import pytest
import torch

from ace_analysis.errors import SettingsError
from ace_analysis.quantization.config import PRECISIONS, QuantizationConfig, precision_name


@pytest.mark.parametrize("background", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8])
def test_narrow_backgrounds_go_with_a_wide_head(background: torch.dtype) -> None:
    assert QuantizationConfig(torch.float32, background).background_precision == background


def test_a_background_may_be_as_wide_as_the_head() -> None:
    assert QuantizationConfig(torch.float32, torch.float32).scales == "channel"


def test_fp16_as_a_target_is_refused_with_the_reason() -> None:
    with pytest.raises(SettingsError, match=r"got torch\.float16: attention .* is NaN for models of Qwen2's"):
        QuantizationConfig(torch.float16, torch.float8_e4m3fn)


@pytest.mark.parametrize("target", [torch.int8, torch.float8_e4m3fn, "float32"])
def test_a_target_that_nothing_is_computed_in_is_refused(target: torch.dtype) -> None:
    with pytest.raises(SettingsError, match="expected a target precision among"):
        QuantizationConfig(target, torch.int8)


@pytest.mark.parametrize("background", [torch.int16, torch.float8_e5m2, "fp8"])
def test_a_background_that_is_not_known_is_refused(background: torch.dtype) -> None:
    with pytest.raises(SettingsError, match=r"expected a background precision among .* got "):
        QuantizationConfig(torch.float32, background)


@pytest.mark.parametrize(
    ("target", "background"), [(torch.float32, torch.float64), (torch.bfloat16, torch.float16)]
)
def test_a_background_that_is_not_narrower_is_refused(target: torch.dtype, background: torch.dtype) -> None:
    with pytest.raises(SettingsError, match="narrower than the target's"):
        QuantizationConfig(target, background)


def test_scales_are_one_of_three() -> None:
    with pytest.raises(SettingsError, match="expected scales among channel, tensor, none, got 'head'"):
        QuantizationConfig(torch.float32, torch.int8, "head")  # pyright: ignore[reportArgumentType]


def test_int8_needs_a_scale() -> None:
    assert QuantizationConfig(torch.float32, torch.float8_e4m3fn, "none").scales == "none"
    with pytest.raises(SettingsError, match='for int8, got "none"'):
        QuantizationConfig(torch.float32, torch.int8, "none")


def test_each_format_has_a_short_name() -> None:
    assert [precision_name(dtype) for dtype in PRECISIONS.values()] == list(PRECISIONS)
    assert precision_name(torch.int16) == "torch.int16"
