"""A tiny model that can fill in, and one whose text everybody knows."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.sites import Site
from ace_analysis.source.sites import SiteKind

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


@pytest.fixture(scope="session")
def bundle_for(qwen: CausalModel) -> Callable[..., Bundle]:
    """A random bundle for the tiny model that scores every candidate site; keywords replace its own."""

    def make(**changes: object) -> Bundle:
        generator = torch.Generator().manual_seed(7)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        width, size, layer = qwen.info.d_model, 64, 1
        coder = SparseCoder(
            random(width, size),
            random(size) * 0.1,
            random(size, width),
            random(width) * 0.01,
            torch.full((size,), 0.3),
            Site(layer),
        )
        values: dict[str, object] = {
            "folder": Path("tiny"),
            "model": qwen.info.name,
            "fingerprint": qwen.info.fingerprint,
            "layer": layer,
            "coder": coder,
            "readout": Readout(
                weights=random(4, size) * 0.1,
                kind_bias={kind.value: -0.1 * index for index, kind in enumerate(SiteKind)},
                slots=(0, 1, 2, "line_end"),
            ),
            "calibration": Calibration(scale=0.5, offset=-1.0, prior=0.05, thresholds={1.0: 2.0}),
            "max_tokens": 256,
        }
        return Bundle(**{**values, **changes})  # pyright: ignore[reportArgumentType]

    return make
