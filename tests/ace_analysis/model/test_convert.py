"""A GGUF file and the folder that it becomes are the same model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ace_analysis.errors import ModelError
from ace_analysis.model.convert import convert_gguf, pre_tokenizer_of
from ace_analysis.model.tokens import CodeTokenizer


@pytest.fixture(scope="module")
def converted(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    convert_gguf(tiny_gguf, folder, name="tiny", tied=True)
    return folder


def weights_of(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).state_dict()


def test_every_weight_is_the_originals_in_bf16(converted: Path, tiny_qwen2: Path) -> None:
    original, new = weights_of(tiny_qwen2, torch.float32), weights_of(converted, torch.bfloat16)
    assert original.keys() == new.keys()
    for name, weight in original.items():
        assert torch.equal(weight.bfloat16(), new[name]), name


def test_the_output_matrix_is_taken_for_the_embedding(converted: Path) -> None:
    assert AutoConfig.from_pretrained(converted).tie_word_embeddings
    model = AutoModelForCausalLM.from_pretrained(converted)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_an_untied_model_stays_untied(tiny_gguf: Path, tmp_path: Path) -> None:
    convert_gguf(tiny_gguf, tmp_path, name="tiny", tied=False)
    assert not AutoConfig.from_pretrained(tmp_path).tie_word_embeddings


def test_nothing_of_the_quantisation_and_no_path_is_left(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config and config["dtype"] == "bfloat16"
    assert str(converted.parent) not in json.dumps(config)


def test_code_becomes_the_same_tokens(converted: Path, tiny_qwen2: Path, some_python: str) -> None:
    text = some_python + "cafe\u0301 🙂\r\n\t'<|im_end|>'"
    new, original = CodeTokenizer.from_folder(converted), CodeTokenizer.from_folder(tiny_qwen2)
    assert new.decode(new.encode(text).ids) == text
    assert new.prefix_id == original.prefix_id


def test_the_tokenizer_does_not_rewrite_accents(converted: Path) -> None:
    assert json.loads((converted / "tokenizer.json").read_text(encoding="utf-8"))["normalizer"] is None


def test_a_pre_tokenizer_that_transformers_does_not_know_is_put_right(
    tiny_qwen2: Path, tmp_path: Path, gguf_of: Callable[[Path, Path, str], None]
) -> None:
    """SmolLM2's: each digit for itself."""
    gguf_of(tiny_qwen2, tmp_path / "tiny.gguf", "smollm")
    (tmp_path / "into").mkdir()
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "into", name="tiny", tied=True)
    tokenizer = CodeTokenizer.from_folder(tmp_path / "into")
    tokenized = tokenizer.encode("x = 1234")
    assert [len(span) for span in tokenized.spans[-4:]] == [1, 1, 1, 1]


def test_the_pre_tokenizers_name_is_read_from_the_file(tiny_gguf: Path) -> None:
    assert pre_tokenizer_of(tiny_gguf) == "qwen2"


@pytest.mark.parametrize(
    "content",
    [b"GGUF without it", b"tokenizer.ggml.pre" + b"\x08\0\0\0" + b"\xff" * 8, b"tokenizer.ggml.pre"],
)
def test_a_file_without_a_usable_name_has_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.gguf").write_bytes(content)
    assert pre_tokenizer_of(tmp_path / "f.gguf") == ""


def test_a_file_that_can_not_be_converted_is_told(tmp_path: Path) -> None:
    (tmp_path / "f.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    (tmp_path / "into").mkdir()
    with pytest.raises(ModelError, match=r"expected a GGUF file of a supported architecture, got .*f\.gguf"):
        convert_gguf(tmp_path / "f.gguf", tmp_path / "into", name="f", tied=False)
