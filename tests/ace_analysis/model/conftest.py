"""The tiny models, loaded once for all tests that only read them."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.scan import ResidualScanner

Close = Callable[[Tensor, Tensor], None]


@cache
def _scanner(folder: Path) -> ResidualScanner:
    return load_scanner(str(folder), device="cpu", dtype="float32")


@cache
def _hooked(folder: Path) -> Any:
    return load_hooked_model(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def scanner(tiny_model: Path) -> ResidualScanner:
    """Once for each family."""
    return _scanner(tiny_model)


@pytest.fixture
def hooked(tiny_model: Path) -> Any:
    """The same weights as the scanner's."""
    return _hooked(tiny_model)


@pytest.fixture
def ids(scanner: ResidualScanner, some_python: str) -> Tensor:
    """One text, longer than Gemma's window."""
    return torch.tensor([scanner.tokenizer.encode(some_python).ids[:24]])


@pytest.fixture
def close() -> Close:
    """Checks that two tensors differ by fp32's rounding at most: 1e-5 of the largest value."""

    def check(got: Tensor, expected: Tensor) -> None:
        assert got.shape == expected.shape
        difference, scale = (got - expected).abs().max().item(), expected.abs().max().item()
        assert difference <= 1e-5 * max(1.0, scale), f"{difference:.2e} apart, largest value {scale:.2f}"

    return check


@pytest.fixture(scope="session")
def tiny_gguf(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Qwen2 as a GGUF file, whose embedding is kept twice: coarsely, and finely as the output."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(tiny_qwen2, path)
    return path


@pytest.fixture
def gguf_of() -> Callable[[Path, Path, str], None]:
    """Writes a folder as a GGUF file that names its pre-tokenizer."""
    return write_gguf


GGUF_NAMES = {
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def write_gguf(folder: Path, path: Path, pre_tokenizer: str = "qwen2") -> None:
    """A Hugging Face folder of the Qwen2 family as GGUF, in fp32."""
    from gguf import GGUFWriter
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].__getitem__)
    writer = GGUFWriter(path, "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["merges"]])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", tensor.half().float().numpy())
            writer.add_tensor("output.weight", tensor.numpy())
            continue
        for theirs, ours in GGUF_NAMES.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
