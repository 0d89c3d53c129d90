"""Places where latents fire are those that the coder says, and signs are those of the neurons there."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ace_analysis.editing.firing import Firing, firing_on
from ace_analysis.editing.pisces import aligned_signs
from ace_analysis.errors import InputError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.hooks import hooks
from ace_analysis.model.sites import Site

LAYER, LATENTS = 1, [2, 5]
TEXTS = [torch.tensor([3, 9, 70, 4, 70, 6]), torch.tensor([8, 70, 5])]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture
def coder() -> SparseCoder:
    rows = torch.randn(8, 32, generator=torch.Generator().manual_seed(3))
    zeros = torch.zeros(8)
    return SparseCoder(rows.T.contiguous(), zeros, rows, torch.zeros(32), zeros, Site(LAYER, "mlp_out"))


def seen(model: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    neurons: list[torch.Tensor] = []
    written: list[torch.Tensor] = []
    mlp = model.base_model.layers[LAYER].mlp
    with (
        torch.no_grad(),
        hooks(
            before=[(mlp.down_proj, lambda _, arguments: neurons.append(arguments[0][0, 1:]))],
            after=[(mlp, lambda _, __, output: written.append(output[0, 1:]))],
        ),
    ):
        for ids in TEXTS:
            model(input_ids=ids[None])
    return neurons, written


def test_what_fires_is_what_the_coder_says_of_what_the_mlp_writes(model: Any, coder: SparseCoder) -> None:
    neurons, written = seen(model)
    strongest = coder.encode(torch.cat(written))[:, LATENTS].amax(dim=1).sort().values
    coder = replace(coder, threshold=strongest[3].expand(8))  # of seven tokens three fire
    code = coder.encode(torch.cat(written))[:, LATENTS]
    here = (code > 0).any(dim=1)
    fired = firing_on(model, coder, LATENTS, TEXTS)
    assert (fired.tokens, fired.places) == (7, 3)
    assert fired.activation == pytest.approx(float(code.sum()) / 7, rel=1e-5)
    assert torch.equal(fired.signs(), aligned_signs(torch.cat(neurons)[here]))


def test_latents_that_fire_nowhere_have_no_signs(model: Any, coder: SparseCoder) -> None:
    silent = replace(coder, threshold=torch.full((8,), 1e6))
    fired = firing_on(model, silent, LATENTS, TEXTS)
    assert (fired.activation, fired.places) == (0.0, 0)
    with pytest.raises(InputError, match="expected a text on which one of the latents fires, got none in 7"):
        fired.signs()
    assert firing_on(model, coder, LATENTS, []).tokens == 0


def test_unknown_latents_and_layers_are_refused(model: Any, coder: SparseCoder) -> None:
    with pytest.raises(InputError, match=re.escape("expected latents from 0 to 7, got [8]")):
        firing_on(model, coder, [1, 8], TEXTS)
    with pytest.raises(InputError, match="expected a layer from 0 to 3, got 4"):
        firing_on(model, replace(coder, site=Site(4, "mlp_out")), LATENTS, TEXTS)


def test_a_tie_counts_as_positive() -> None:
    fired = Firing(activation=1.0, tokens=2, places=2, neurons=torch.tensor([[1.0, -1.0], [-1.0, -1.0]]))
    assert fired.signs().tolist() == [1.0, -1.0]
