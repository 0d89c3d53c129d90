"""A planted latent is found by what it writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ace_analysis.editing.concept import (
    Concept,
    concept_of_directions,
    concept_of_tokens,
    token_spellings,
    vocabulary_projection,
)
from ace_analysis.errors import InputError, ModelError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def coder_writing(rows: torch.Tensor) -> SparseCoder:
    n = len(rows)
    return SparseCoder(
        W_enc=rows.T.contiguous(),
        b_enc=torch.zeros(n),
        W_dec=rows,
        b_dec=torch.zeros(rows.shape[1]),
        threshold=torch.zeros(n),
        site=Site(3, "mlp_out"),
    )


def test_the_projection_is_what_the_unembedding_makes_of_the_gained_direction(model: Any) -> None:
    directions = torch.randn(3, 32)
    norm = model.base_model.norm
    gain = 1 + norm.weight if model.config.model_type == "gemma2" else norm.weight
    expected = (directions * gain.detach()) @ model.get_output_embeddings().weight.detach().T
    assert torch.allclose(vocabulary_projection(model, directions), expected, atol=1e-4)


def test_a_latent_that_writes_a_token_is_found_at_either_end(model: Any) -> None:
    unembedding = model.get_output_embeddings().weight.detach().float()
    rows = 0.01 * torch.randn(12, 32, generator=torch.Generator().manual_seed(0))
    rows[5], rows[9] = unembedding[70], -unembedding[70]
    found = concept_of_tokens(model, coder_writing(rows), [70], limit=2)
    assert dict(zip(found.latents, found.promotes, strict=True)) == {5: True, 9: False}
    assert found.tokens == (70,)


def test_tokens_that_no_latent_writes_are_said_so(model: Any) -> None:
    unembedding = model.get_output_embeddings().weight.detach().float()
    z = unembedding @ unembedding[70]
    middling = int((z - z.median()).abs().argmin())
    with pytest.raises(InputError, match="no latent has one of the 1 tokens"):
        concept_of_tokens(model, coder_writing(unembedding[70:71].clone()), [middling])


@pytest.mark.parametrize("tokens", [[], [-1], [10**6]])
def test_tokens_that_are_none_are_refused(model: Any, tokens: list[int]) -> None:
    with pytest.raises(InputError, match="expected tokens from 0 to"):
        concept_of_tokens(model, coder_writing(torch.randn(4, 32)), tokens)


def test_a_limit_of_none_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match="limit of at least 1"):
        concept_of_tokens(model, coder_writing(torch.randn(4, 32)), [3], limit=0)


def test_a_decoder_alone_has_no_logit_lens(model: Any) -> None:
    with pytest.raises(ModelError, match="expected a whole model"):
        vocabulary_projection(model.base_model, torch.randn(1, 32))
    with pytest.raises(ModelError, match="expected a whole model"):
        concept_of_tokens(model.base_model, coder_writing(torch.randn(4, 32)), [3])


def test_latents_nearest_to_directions_are_found() -> None:
    coder = coder_writing(torch.eye(6))
    found = concept_of_directions(coder, torch.tensor([[0.0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 2, 0.1]]), limit=2)
    assert sorted(found.latents) == [2, 4] and all(found.promotes)
    with pytest.raises(InputError, match=r"expected directions \[n, 6\]"):
        concept_of_directions(coder, torch.ones(1, 5))


def test_all_spellings_of_a_word_are_found() -> None:
    words = ["np", " np", "(np", "nop", "numpy", "np_"]
    assert token_spellings(words.__getitem__, 6, ["np"]) == (0, 1, 2)
    with pytest.raises(InputError, match="expected words that are one token"):
        token_spellings(words.__getitem__, 6, ["pandas"])


def test_a_concept_without_signs_or_with_a_latent_twice_is_refused() -> None:
    with pytest.raises(InputError, match="a sign for each of 2"):
        Concept(name="c", latents=(1, 2), promotes=(True,))
    with pytest.raises(InputError, match="each latent once"):
        replace(Concept.of_latents([1, 2]), latents=(1, 1))
