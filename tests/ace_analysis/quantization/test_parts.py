"""The linear maps are found in every kind of model, and what is not one is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from ace_analysis.errors import InputError, ModelError
from ace_analysis.quantization.formats import pack
from ace_analysis.quantization.linear import make_focused
from ace_analysis.quantization.parts import Heads, Parts

from .conftest import Load, load_blocks, load_bridge, load_plain


def test_every_linear_map_of_every_block_is_found_once(load: Load, tiny_model: Path) -> None:
    parts = Parts.of(load(tiny_model))
    for block in parts.blocks:
        assert len(block) == len({id(part.linear) for part in block}) == 7
        assert sorted(part.role for part in block if part.role) == ["k", "o", "q", "v"]
    assert len(parts.blocks) in (3, 4)


def test_the_folder_of_the_weights_is_known(load: Load, tiny_model: Path) -> None:
    assert Parts.of(load(tiny_model)).folder == tiny_model


def test_a_model_that_was_built_in_memory_has_no_folder(qwen2: Any) -> None:
    qwen2.config.name_or_path = ""
    assert Parts.of(qwen2).folder is None


def test_names_are_those_of_the_files_through_wrappers(tiny_model: Path) -> None:
    def names(model: Any) -> list[str]:
        return [part.names[0] for part in Parts.of(model)]

    assert names(load_bridge(tiny_model)) == names(load_plain(tiny_model))
    assert names(load_blocks(tiny_model)) == names(load_plain(tiny_model))[: 3 * 7]


def test_a_loaded_model_with_its_tokenizer_is_taken_as_its_model(qwen2: Any) -> None:
    class Loaded:
        model = qwen2

    assert Parts.of(Loaded()).root is qwen2


def test_a_key_value_head_belongs_to_a_group_of_heads() -> None:
    heads = Heads(n_heads=14, n_kv_heads=2, head_dim=64)
    assert [heads.kv_head_of(head) for head in (0, 6, 7, 13)] == [0, 0, 1, 1]
    assert heads.sharing(9) == (7, 8, 9, 10, 11, 12, 13)
    assert heads.slice_of("q", 9) == heads.slice_of("o", 9) == slice(576, 640)
    assert heads.slice_of("k", 9) == heads.slice_of("v", 9) == slice(64, 128)


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        (4, 0, "layer from 0 to 3, got 4"),
        (-1, 0, "layer"),
        (0, 4, "head from 0 to 3, got 4"),
        (0, -1, "head"),
    ],
)
def test_a_head_that_is_not_there_is_refused(qwen2: Any, layer: int, head: int, message: str) -> None:
    with pytest.raises(InputError, match=f"expected a {message}"):
        Parts.of(qwen2).check(layer, head)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"expected a model from load_hooked_model .* got dict"):
        Parts.of({})


def test_a_model_without_separate_heads_is_refused_by_naming_what_is_there() -> None:
    fused = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=16))
    with pytest.raises(ModelError, match="q_proj, k_proj, v_proj, o_proj in block 0, got none"):
        Parts.of(fused)


def test_a_configuration_that_does_not_fit_the_weights_is_refused(qwen2: Any) -> None:
    qwen2.config.num_attention_heads = 2
    qwen2.config.head_dim = 8
    with pytest.raises(
        ModelError, match=r"q, k, v and o of block 0 to have 16, 16, 16 and 16 .* got \(32, 16,"
    ):
        Parts.of(qwen2)


def test_a_quantized_model_is_refused(qwen2: Any) -> None:
    linear = qwen2.model.layers[2].mlp.up_proj
    make_focused(linear, pack(linear.weight.detach(), torch.int8), torch.float32)
    with pytest.raises(ModelError, match="expected a model that is not quantized, got one that is; restore"):
        Parts.of(qwen2)


def test_another_quantizers_linear_map_is_refused(qwen2: Any) -> None:
    class Adapted(nn.Linear):
        pass

    qwen2.model.layers[1].self_attn.q_proj = Adapted(32, 32)
    with pytest.raises(ModelError, match=r"plain linear maps, got Adapted at self_attn\.q_proj of block 1"):
        Parts.of(qwen2)
