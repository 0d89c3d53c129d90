"""Tiny models of each family.

Quantizing changes a model in place, so a test gets a copy of a plain model; hooked models and scanners are
loaded once, and a test gives them back as they were.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.quantization.config import QuantizationConfig

FP8 = QuantizationConfig(torch.float32, torch.float8_e4m3fn)
INT8 = QuantizationConfig(torch.float32, torch.int8)

Load = Callable[[Path], Any]


def load_plain(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A model of one's own."""
    return deepcopy(_plain(folder, dtype))


@cache
def _plain(folder: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()


@cache
def load_bridge(folder: Path) -> Any:
    return load_hooked_model(str(folder), device="cpu", dtype="float32")


@cache
def load_blocks(folder: Path) -> Any:
    """A scanner of the first three blocks of four."""
    return load_scanner(str(folder), device="cpu", dtype="float32", n_blocks=3)


LOADERS = {"plain": load_plain, "hooked": load_bridge, "scanner": load_blocks}


@pytest.fixture(params=LOADERS)
def load(request: pytest.FixtureRequest) -> Load:
    """The three ways in which a model comes; the test runs once for each."""
    return LOADERS[request.param]


@pytest.fixture
def plain(tiny_model: Path) -> Any:
    """Hugging Face's causal model, once for each family."""
    return load_plain(tiny_model)


@pytest.fixture
def qwen2(tiny_qwen2: Path) -> Any:
    return load_plain(tiny_qwen2)


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 150, (2, 12), generator=torch.Generator().manual_seed(0))


def output_of(model: Any, ids: Tensor) -> Tensor:
    """Logits, or a scanner's last residual stream."""
    with torch.no_grad():
        if hasattr(model, "resid_post"):
            return model.resid_post(ids, model.n_blocks - 1)
        output = model(ids)
        return output if isinstance(output, Tensor) else output.logits


def root_of(model: Any) -> nn.Module:
    """The module that holds the weights."""
    return getattr(model, "decoder", None) or getattr(model, "original_model", None) or model


def linears_of(model: Any) -> dict[str, Any]:
    """The linear maps of the blocks, whatever they are now, by the names that Hugging Face gives them."""
    named = root_of(model).named_modules(remove_duplicate=False)
    plain = {name.replace("._original_component", ""): each for name, each in named}
    wanted = re.compile(r".*layers\.\d+\.(self_attn|mlp)\.\w+_proj")
    return {name: each for name, each in plain.items() if wanted.fullmatch(name)}


def state_of(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in root_of(model).state_dict().items()}


def same_state(model: Any, before: dict[str, Tensor]) -> bool:
    """Whether all weights have the same names, order, dtypes and bits."""
    now = root_of(model).state_dict()
    return list(now) == list(before) and all(
        now[name].dtype == value.dtype and torch.equal(now[name], value) for name, value in before.items()
    )
