"""Whichever way a model was loaded, its parts are found, as they are at the time of use."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MistralConfig

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import freeze
from ace_analysis.errors import ModelError
from ace_analysis.model.loading import load_hooked_model, load_scanner


def every_way(folder: Path) -> dict[str, Any]:
    """The same fp32 weights, loaded in each way that is known."""
    name = str(folder)
    return {
        "hooked": load_hooked_model(name, device="cpu", dtype="float32"),
        "causal": AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(),
        "decoder": AutoModel.from_pretrained(folder, dtype=torch.float32).eval(),
        "scanner": load_scanner(name, device="cpu", dtype="float32"),
        "first blocks": load_scanner(name, device="cpu", dtype="float32", n_blocks=2),
    }


def test_a_model_loaded_in_any_way_computes_the_same(tiny_model: Path, ids: Tensor) -> None:
    runs = {way: freeze(Anatomy.of(model), ids, 2).resid for way, model in every_way(tiny_model).items()}
    expected = runs.pop("causal")
    for way, got in runs.items():
        assert torch.equal(got, expected), way


def test_what_can_be_run_to_logits_has_an_unembedding_and_a_norm(tiny_model: Path) -> None:
    for way, model in every_way(tiny_model).items():
        anatomy, to_logits = Anatomy.of(model), way in ("hooked", "causal")
        assert (anatomy.unembedding is not None) == (anatomy.final_norm is not None) == to_logits


def test_first_blocks_know_how_many_blocks_the_model_has(tiny_qwen2: Path) -> None:
    anatomy = Anatomy.of(load_scanner(str(tiny_qwen2), device="cpu", n_blocks=2))
    assert (anatomy.n_blocks, anatomy.n_layers, anatomy.d_model, anatomy.n_heads) == (2, 4, 32, 4)


def test_gemmas_own_parts_are_found(tiny_gemma2: Path) -> None:
    anatomy = Anatomy.of(AutoModelForCausalLM.from_pretrained(tiny_gemma2))
    first, second = anatomy.blocks[:2]
    assert first.after_attention is not None and first.after_mlp is not None
    assert (first.attn.window, second.attn.window) == (8, None)
    assert first.attn.soft_cap == 50.0 and anatomy.logit_cap == 30.0
    assert torch.equal(first.before_mlp.gain, 1.0 + anatomy.blocks[0].before_mlp.module.weight)


def test_the_embedding_comes_scaled_where_the_family_scales_it(tiny_gemma2: Path, ids: Tensor) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_gemma2, dtype=torch.float32)
    plain = model.get_input_embeddings().weight[ids]
    assert torch.allclose(Anatomy.of(model).embed(ids), plain * 32**0.5)


def test_a_window_over_all_blocks_is_found_where_the_configuration_says_it() -> None:
    """Mistral says its window in one place."""
    shape = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = AutoModelForCausalLM.from_config(MistralConfig(**shape, **heads, sliding_window=4))
    assert [block.attn.window for block in Anatomy.of(model).blocks] == [4, 4]


def test_a_part_that_is_replaced_is_seen_at_once(causal: Any, ids: Tensor) -> None:
    """Quantization replaces linear maps; `weight` may then be a property."""

    class Halved(nn.Module):
        def __init__(self, linear: nn.Linear) -> None:
            super().__init__()
            self.linear = linear

        @property
        def weight(self) -> Tensor:
            return 0.5 * self.linear.weight

        @property
        def bias(self) -> Tensor | None:
            return self.linear.bias

    anatomy = Anatomy.of(causal)
    before = freeze(anatomy, ids, 1).blocks[0].mlp_write
    block = causal.model.layers[0]
    block.mlp.up_proj = Halved(block.mlp.up_proj)
    block.mlp.down_proj = Halved(block.mlp.down_proj)
    with torch.no_grad():
        expected = before * 0.25 if anatomy.blocks[0].after_mlp is None else None
    after = freeze(anatomy, ids, 1).blocks[0].mlp_write
    assert not torch.equal(after, before)
    if expected is not None:
        assert torch.allclose(after, expected)


def test_half_precision_weights_are_computed_with_in_fp32(tiny_qwen2: Path, ids: Tensor) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.bfloat16).eval()
    anatomy = Anatomy.of(model)
    resid = freeze(anatomy, ids, 4).resid
    assert resid.dtype == torch.float32
    with torch.no_grad():
        states = model.float().model(ids, output_hidden_states=True).hidden_states
    assert torch.allclose(freeze(anatomy, ids, 3).resid, states[3][0], atol=1e-2)


def test_another_family_is_an_error_that_names_the_known_ones() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=10))
    with pytest.raises(ModelError, match="types qwen2, llama, mistral, gemma2, starcoder2, got 'gpt2'"):
        Anatomy.of(model)


def test_a_missing_part_is_an_error_that_names_it(causal: Any) -> None:
    del causal.model.layers[1].mlp
    with pytest.raises(ModelError, match=r"expected a part 'mlp' in .*DecoderLayer, found none"):
        Anatomy.of(causal)


def test_a_norm_without_an_epsilon_is_an_error(causal: Any) -> None:
    causal.model.norm = nn.Identity()
    norm = Anatomy.of(causal).final_norm
    assert norm is not None
    with pytest.raises(ModelError, match="expected a norm with an epsilon, got Identity"):
        norm.eps  # noqa: B018


@pytest.mark.parametrize("model", ["gemma-2-2b", nn.Linear(1, 1)], ids=["a name", "a layer"])
def test_what_is_no_model_is_an_error(model: Any) -> None:
    with pytest.raises(ModelError, match=r"expected a model from load_hooked_model or load_scanner.*got"):
        Anatomy.of(model)
