"""The whole model gives the plain model's logits, and knows what it is."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, T5Config, T5Model

from ace_analysis.errors import ModelError
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.scan import ResidualScanner

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


def test_a_folder_without_an_unembedding_is_refused(tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    config = T5Config(d_model=8, d_kv=4, d_ff=8, num_heads=2, num_layers=1, vocab_size=9)
    T5Model(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_qwen2 / name).read_bytes())
    with pytest.raises(ModelError, match="causal language model"):
        load_causal(str(folder), device="cpu", dtype="float32")
