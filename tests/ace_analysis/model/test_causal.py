"""The whole model gives the plain model's logits, and knows what it is."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, T5Config, T5Model

from ace_analysis.errors import ModelError
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner, blocks_of

from .conftest import Close


@pytest.fixture
def causal(tiny_model: Path) -> CausalModel:
    return load_causal(str(tiny_model), device="cpu", dtype="float32")


def test_logits_are_those_of_the_plain_forward(causal: CausalModel, tiny_model: Path, close: Close) -> None:
    ids = torch.tensor([causal.tokenizer.encode("def f(x):\n    return x\n").ids])
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        close(causal.model(ids).logits, plain(ids).logits)


def test_it_is_in_eval_mode_with_the_fast_attention(causal: CausalModel) -> None:
    assert not causal.model.training
    assert causal.model.config._attn_implementation in ("sdpa", "eager")


def test_it_carries_the_fingerprint_of_the_scanner(causal: CausalModel, scanner: ResidualScanner) -> None:
    assert causal.info.fingerprint == scanner.info.fingerprint
    assert causal.info.n_layers == len(causal.blocks) == 4


def test_its_own_scanner_reads_the_same_blocks(
    causal: CausalModel, scanner: ResidualScanner, ids: torch.Tensor, close: Close
) -> None:
    close(causal.scanner.resid_post(ids, 2), scanner.resid_post(ids, 2))
    assert causal.scanner.decoder is causal.decoder


def test_memory_counts_a_tied_matrix_once(causal: CausalModel) -> None:
    parameters = {id(each): each.numel() * 4 for each in causal.model.parameters()}
    assert causal.megabytes == pytest.approx(sum(parameters.values()) / 1e6, rel=0.05)


def test_what_ends_a_text_is_known(causal: CausalModel) -> None:
    assert causal.end_ids == {0}


@pytest.fixture
def narrow(tiny_model: Path, tmp_path: Path) -> Path:
    """The same model stored in bf16."""
    folder = tmp_path / "narrow"
    load_causal(str(tiny_model), device="cpu", dtype="bfloat16").model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_model / name).read_bytes())
    return folder


def test_weights_stored_in_bf16_are_widened_to_the_very_numbers_that_loading_in_fp32_gives(
    narrow: Path,
) -> None:
    widened = load_causal(str(narrow), device="cpu", dtype="float32").model
    plain = AutoModelForCausalLM.from_pretrained(narrow, dtype=torch.float32).eval()
    for name, weight in plain.state_dict().items():
        assert weight.dtype == torch.float32 and torch.equal(widened.state_dict()[name], weight), name
    assert widened.get_output_embeddings().weight is widened.get_input_embeddings().weight
    assert widened.config.dtype == plain.config.dtype == torch.float32
    ids = torch.tensor([[3, 9, 27, 5]])
    with torch.no_grad():
        assert torch.equal(widened(ids).logits, plain(ids).logits)


def test_blocks_that_a_scanner_holds_are_taken_instead_of_copied(narrow: Path) -> None:
    held = load_scanner(str(narrow), "cpu", "float32", n_blocks=2)
    causal = load_causal(str(narrow), "cpu", "float32", held)
    plain = load_causal(str(narrow), "cpu", "float32")
    for own, other in zip(causal.blocks, blocks_of(held.decoder), strict=False):
        for name, weight in other.named_parameters():
            assert own.get_parameter(name).data_ptr() == weight.data_ptr()
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(causal.model.state_dict()[name], weight), name


def test_blocks_of_another_model_or_dtype_are_not_taken(narrow: Path, tiny_model: Path) -> None:
    for held in (
        load_scanner(str(tiny_model), "cpu", "float32"),
        load_scanner(str(narrow), "cpu", "bfloat16"),
    ):
        causal = load_causal(str(narrow), "cpu", "float32", held)
        theirs = {weight.data_ptr() for weight in blocks_of(held.decoder).parameters()}
        assert not theirs & {weight.data_ptr() for weight in causal.blocks.parameters()}


def test_a_folder_without_an_unembedding_is_refused(tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    config = T5Config(d_model=8, d_kv=4, d_ff=8, num_heads=2, num_layers=1, vocab_size=9)
    T5Model(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_qwen2 / name).read_bytes())
    with pytest.raises(ModelError, match="causal language model"):
        load_causal(str(folder), device="cpu", dtype="float32")
