"""The tiny models, loaded once for all tests that only read them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.scan import ResidualScanner

Close = Callable[[Tensor, Tensor], None]


@cache
def _scanner(folder: Path) -> ResidualScanner:
    return load_scanner(str(folder), device="cpu", dtype="float32")


@cache
def _hooked(folder: Path) -> Any:
    return load_hooked_model(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def scanner(tiny_model: Path) -> ResidualScanner:
    """Once for each family."""
    return _scanner(tiny_model)


@pytest.fixture
def hooked(tiny_model: Path) -> Any:
    """The same weights as the scanner's."""
    return _hooked(tiny_model)


@pytest.fixture
def ids(scanner: ResidualScanner, some_python: str) -> Tensor:
    """One text, longer than Gemma's window."""
    return torch.tensor([scanner.tokenizer.encode(some_python).ids[:24]])


@pytest.fixture
def close() -> Close:
    """Checks that two tensors differ by fp32's rounding at most: 1e-5 of the largest value."""

    def check(got: Tensor, expected: Tensor) -> None:
        assert got.shape == expected.shape
        difference, scale = (got - expected).abs().max().item(), expected.abs().max().item()
        assert difference <= 1e-5 * max(1.0, scale), f"{difference:.2e} apart, largest value {scale:.2f}"

    return check
