"""Tiny random models in float64, in which no weight is left at what it was initialised to.

A new model's biases are 0 and its norms' gains are 1: a rule that forgot them would pass every test.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy

LENGTH = 14
"""Longer than Gemma's window."""


def shaken(model: Any) -> Any:
    """Biases and gains moved away from 0 and 1."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def read_causal(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return shaken(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64))


@pytest.fixture
def causal(tiny_model: Path) -> Any:
    """A Hugging Face causal model, once for each family."""
    return read_causal(tiny_model)


@pytest.fixture
def anatomy(causal: Any) -> Anatomy:
    return Anatomy.of(causal)


@pytest.fixture
def qwen2(tiny_qwen2: Path) -> Anatomy:
    """Biases of queries, keys and values, and grouped heads."""
    return Anatomy.of(read_causal(tiny_qwen2))


@pytest.fixture
def starcoder2() -> Any:
    """LayerNorm, biases everywhere, no gate."""
    from transformers import AutoModelForCausalLM, Starcoder2Config

    config = Starcoder2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        sliding_window=None,
        use_bias=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(1)
    return shaken(AutoModelForCausalLM.from_config(config, dtype=torch.float64))


@pytest.fixture
def without_mlps() -> Callable[[Anatomy], Anatomy]:
    """A model whose MLPs write nothing."""

    def silence(anatomy: Anatomy) -> Anatomy:
        for block in anatomy.blocks:
            down: Any = block.mlp.down
            down.weight = nn.Parameter(torch.zeros_like(down.weight))
            if down.bias is not None:
                down.bias = nn.Parameter(torch.zeros_like(down.bias))
        return anatomy

    return silence


@pytest.fixture
def ids() -> Tensor:
    """One text."""
    torch.manual_seed(3)
    return torch.randint(1, 50, (1, LENGTH))
