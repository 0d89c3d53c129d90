"""Signs are those of the activations in front of the concept's tokens, and of no others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ace_analysis.editing.pisces import aligned_signs
from ace_analysis.editing.signs import signs_on
from ace_analysis.errors import InputError
from ace_analysis.model.hooks import hooks

TEXTS = [torch.tensor([3, 9, 70, 4, 70, 6]), torch.tensor([8, 70, 5]), torch.tensor([11, 12, 13])]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def test_they_are_those_in_front_of_the_tokens(model: Any) -> None:
    seen: list[torch.Tensor] = []
    down = model.base_model.layers[1].mlp.down_proj
    with torch.no_grad(), hooks(before=[(down, lambda _, arguments: seen.append(arguments[0][0]))]):
        for ids in TEXTS:
            model(input_ids=ids[None])
    expected = aligned_signs(torch.cat([seen[0][[1, 3]], seen[1][[0]]]))
    assert torch.equal(signs_on(model, 1, TEXTS, [70]), expected)
    assert set(expected.tolist()) == {-1.0, 1.0}


def test_texts_without_the_tokens_and_layers_that_are_none_are_refused(model: Any) -> None:
    with pytest.raises(InputError, match="expected a text in which one of the concept's 1 tokens comes"):
        signs_on(model, 1, TEXTS, [3])
    with pytest.raises(InputError, match="expected a layer from 0 to 3, got 4"):
        signs_on(model, 4, TEXTS, [70])
