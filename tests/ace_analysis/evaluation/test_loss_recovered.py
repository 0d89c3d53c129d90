"""The ends of the scale: a coder that loses nothing, and one that says the same of every token."""

from pathlib import Path

import pytest
import torch

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.loss_recovered import load_language_model, loss_recovered
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site
from ace_analysis.model.tokens import CodeTokenizer

D_MODEL = 32


def coder(scale: float = 1.0, layer: int = 1) -> SparseCoder:
    eye = torch.eye(D_MODEL)
    encoder = torch.cat([eye, -eye], dim=1)
    zeros = torch.zeros(2 * D_MODEL)
    return SparseCoder(encoder, zeros, scale * encoder.T, torch.zeros(D_MODEL), zeros, Site(layer))


@pytest.fixture
def functions(tiny_model: Path, some_python: str) -> list[torch.Tensor]:
    tokenizer = CodeTokenizer.from_folder(tiny_model)
    return [torch.tensor(tokenizer.encode(part).ids) for part in some_python.strip().split("\n\n\n")]


def test_a_coder_that_loses_nothing_recovers_exactly_all(
    tiny_model: Path, functions: list[torch.Tensor]
) -> None:
    model = load_language_model(str(tiny_model), "cpu", "float32")
    found = loss_recovered(model, coder(), functions)
    assert found.recovered == 1.0 and found.coded == found.clean != found.ablated
    assert found.tokens == sum(len(ids) - 1 for ids in functions)


def test_the_clean_loss_is_the_models_own_and_no_hook_stays(
    tiny_model: Path, functions: list[torch.Tensor]
) -> None:
    model = load_language_model(str(tiny_model), "cpu", "float32")

    def own() -> float:
        with torch.no_grad():
            return float(model(input_ids=functions[0][None], labels=functions[0][None]).loss)

    before = own()
    found = loss_recovered(model, coder(scale=0.0), functions[:1])
    assert found.clean == pytest.approx(before, rel=1e-4)
    assert found.coded != found.clean
    assert own() == before


def test_without_functions_and_after_a_stop_there_is_no_number(
    tiny_qwen2: Path, functions: list[torch.Tensor]
) -> None:
    model = load_language_model(str(tiny_qwen2), "cpu", "float32")
    with pytest.raises(InputError, match="at least one function"):
        loss_recovered(model, coder(), [])
    with pytest.raises(Cancelled, match="loss was stopped"):
        loss_recovered(model, coder(), functions, cancelled=lambda: True)
