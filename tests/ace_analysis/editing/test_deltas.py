"""Deltas go on and come off; what they don't fit is refused before anything changes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ace_analysis.editing.deltas import RowDelta, apply_deltas, is_tied, with_deltas
from ace_analysis.errors import InputError


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64).eval()


def delta(**changed: Any) -> RowDelta:
    parts: dict[str, Any] = {
        "layer": 1,
        "module": "mlp.down",
        "rows": (3, 40),
        "left": torch.tensor([[1.0], [2.0]]),
        "right": torch.linspace(-1, 1, 32)[None],
    }
    return RowDelta(**(parts | changed))


def test_rows_are_columns_of_the_linear_maps_weight(model: Any) -> None:
    weight = model.base_model.layers[1].mlp.down_proj.weight
    before = weight.detach().clone()
    apply_deltas(model, [delta()])
    changed = weight.detach() - before
    assert torch.allclose(changed[:, 40], 2 * torch.linspace(-1, 1, 32).double())
    assert sorted(changed.any(dim=0).nonzero().flatten().tolist()) == [3, 40]


def test_behind_the_block_all_weights_are_the_same_to_the_bit(model: Any) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    twice = [delta(), delta(left=torch.full((2, 1), 1 / 3)), delta(module="attn.o", rows=(0, 1))]
    with pytest.raises(KeyError), with_deltas(model, twice):
        weight = model.base_model.layers[1].mlp.down_proj.weight
        assert not torch.equal(weight, before["model.layers.1.mlp.down_proj.weight"])
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_blocks_that_are_not_loaded_are_left_out(model: Any) -> None:
    decoder = model.base_model
    decoder.layers = decoder.layers[:2]
    weight = decoder.layers[1].mlp.down_proj.weight
    before = weight.detach().clone()
    decoder.config.num_hidden_layers = 2
    assert not torch.equal(before, torch.zeros_like(before))
    apply_deltas(model, [delta()])
    assert not torch.equal(weight, before)


def test_whether_the_embedding_is_tied_is_known(model: Any) -> None:
    assert is_tied(model)
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    assert not is_tied(model)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"layer": 4}, "expected a layer from 0 to 3, got 4"),
        ({"rows": (3, 48)}, "expected rows below 48 of 32 numbers, got row 48"),
        ({"rows": (-1, 3)}, "expected rows below 48"),
        ({"right": torch.ones(1, 31)}, "got row 40 of 31"),
        (
            {"module": "mlp.down.bias", "rows": None, "left": torch.ones(1, 1)},
            "has no such bias",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(model: Any, changed: Any, said: str) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with pytest.raises(InputError, match=said):
        apply_deltas(model, [delta(), delta(**changed)])
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_a_delta_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="expected a module among"):
        delta(module="mlp.up")
    with pytest.raises(InputError, match=r"expected left \[rows, rank\]"):
        delta(left=torch.ones(2, 2))
    with pytest.raises(InputError, match="a row of left for each of 2"):
        delta(left=torch.ones(3, 1))
