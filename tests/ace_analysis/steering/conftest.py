"""A tiny model that can fill in, and one whose text everybody knows."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.model.causal import CausalModel, load_causal

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


@cache
def loaded(folder: Path) -> CausalModel:
    return load_causal(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def causal(tiny_model: Path) -> CausalModel:
    """The whole of a tiny model, once for each family."""
    return loaded(tiny_model)


@pytest.fixture(scope="session")
def qwen(tiny_qwen2: Path) -> CausalModel:
    return loaded(tiny_qwen2)


@pytest.fixture(scope="session")
def filling(tmp_path_factory: pytest.TempPathFactory, tiny_qwen2: Path) -> CausalModel:
    """A tiny model with the tokens of fill-in-the-middle."""
    folder = tmp_path_factory.mktemp("filling")
    described = json.loads((tiny_qwen2 / "tokenizer.json").read_text(encoding="utf-8"))
    size = len(described["model"]["vocab"])
    for number, token in enumerate(FIM):
        described["model"]["vocab"][token] = size + number
        described["added_tokens"].append(
            {
                "id": size + number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        )
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    about = (tiny_qwen2 / "tokenizer_config.json").read_text(encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(about, encoding="utf-8")
    _model_of_size(tiny_qwen2, size + len(FIM)).save_pretrained(folder)
    return loaded(folder)


def _model_of_size(folder: Path, size: int) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    config.vocab_size = size
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.fixture
def ids_of(causal: CausalModel) -> Callable[[str], torch.Tensor]:
    return lambda text: torch.tensor([causal.tokenizer.encode(text).ids])
