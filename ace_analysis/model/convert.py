"""GGUF to a folder that Hugging Face, TransformerLens and `tokenizers` read, in bf16.

A GGUF file is quantised in its own way and slow to open (some 30 s), so each is converted once. What is done,
and why, is the recipe; its version is a part of the model's fingerprint, because other weights mean other
activations:

    dequantised to bf16       the precision that the model was published in
    the output matrix is the embedding   where the original ties them and the file keeps two copies that were
                              quantised differently: the finer copy (the output matrix) is taken for both
    no trace of quantisation  transformers would otherwise refuse to save, and to load
    tokenizer for source code see tokens.py; a pre-tokenizer that transformers does not know is put right
    neutral names             a path or name with "llama" or "gemma" in it can select another architecture
"""

import json
import mmap
import struct
from pathlib import Path
from typing import Any

from ace_analysis.errors import ModelError
from ace_analysis.model.quiet import quiet_transformers, unseen_bars
from ace_analysis.model.tokens import for_source_code

RECIPE = 1
"""Raised whenever the same GGUF would become other weights or other tokens."""

_DIGITS_THEN_BYTES = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {"smollm": _DIGITS_THEN_BYTES}
"""`tokenizer.ggml.pre` to the pre-tokenizer that it means, where transformers does not know it."""

_PRE_TOKENIZER_KEY = b"tokenizer.ggml.pre"
_HEADER = struct.Struct("<IQ")
_GGUF_STRING = 8
_LONGEST_NAME = 256


def convert_gguf(gguf: Path, folder: Path, *, name: str, tied: bool) -> None:
    """Write config, weights and tokenizer into a folder.

    Args:
        gguf: the file.
        folder: an empty folder.
        name: what the configuration calls the model.
        tied: whether the output matrix belongs in the embedding's place.
    """
    with quiet_transformers():
        try:
            _convert_weights(gguf, folder, name, tied)
            _convert_tokenizer(gguf, folder)
        except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
            raise ModelError(
                f"expected a GGUF file of a supported architecture, got {gguf}: {error};"
                " give a folder in the Hugging Face format instead"
            ) from error


def _convert_weights(gguf: Path, folder: Path, name: str, tied: bool) -> None:
    from transformers import AutoModelForCausalLM

    with unseen_bars():
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype="bfloat16", local_files_only=True
        )
    if tied:
        model.get_input_embeddings().weight.data = model.get_output_embeddings().weight.data
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.hf_quantizer = None
    model.is_quantized = False
    model.quantization_method = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.name_or_path = name
    model.save_pretrained(folder)


def _convert_tokenizer(gguf: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    pre_tokenizer = PRE_TOKENIZERS.get(pre_tokenizer_of(gguf))
    if pre_tokenizer is not None:
        described["pre_tokenizer"] = pre_tokenizer
    special = {
        key: str(value) for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)
    }
    config = {**special, "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if tokenizer.chat_template:
        config["chat_template"] = tokenizer.chat_template
    _write_json(folder / "tokenizer.json", for_source_code(described))
    _write_json(folder / "tokenizer_config.json", config)


def pre_tokenizer_of(gguf: Path) -> str:
    """What the file calls its pre-tokenizer; empty where it says nothing.

    Read straight from the file's metadata (key, type 8 for a string, length, bytes): parsing all of it for
    this one word takes ten seconds.
    """
    with gguf.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_PRE_TOKENIZER_KEY)
        at += len(_PRE_TOKENIZER_KEY)
        if at < len(_PRE_TOKENIZER_KEY) or at + _HEADER.size > len(content):
            return ""
        kind, length = _HEADER.unpack_from(content, at)
        if kind != _GGUF_STRING or length > _LONGEST_NAME:
            return ""
        at += _HEADER.size
        return content[at : at + length].decode("utf-8", "replace")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
