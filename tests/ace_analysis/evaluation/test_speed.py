"""That the measurements measure what they say."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM

from ace_analysis.engine import Engine
from ace_analysis.errors import InputError
from ace_analysis.evaluation.speed import ScanThroughput, measure_scan_throughput
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.sites import Site
from ace_analysis.source.corpus import CodeFunction


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A two-block model that reads single bytes, and a bundle that weighs nothing."""
    folder = tmp_path_factory.mktemp("tiny")
    alphabet = {"<|endoftext|>": 0}
    alphabet |= {byte: number + 1 for number, byte in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=300, num_key_value_heads=1, bos_token_id=0, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    scanner = load_scanner(str(folder), device="cpu", dtype="float32", n_blocks=1)
    bundle = Bundle(
        folder=Path("tiny"),
        model=scanner.info.name,
        fingerprint=scanner.info.fingerprint,
        layer=0,
        coder=SparseCoder(
            torch.randn(16, 8), torch.zeros(8), torch.randn(8, 16), torch.zeros(16), torch.zeros(8), Site(0)
        ),
        readout=Readout(weights=torch.ones(1, 8), kind_bias={"name": 0.0}, slots=(0,)),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: 0.0}),
    )
    return Engine(scanner, bundle)


def function(text: str) -> CodeFunction:
    return CodeFunction(project="p", path="f.py::f", text=text, header="")


FUNCTIONS = [function(f"    def f{i}(self, a):\n        return self.b + a + {i}\n") for i in range(25)]


def test_both_sides_are_told_in_tokens_of_the_same_texts(engine: Engine) -> None:
    measured = measure_scan_throughput(engine, FUNCTIONS, rounds=2)
    assert measured.tokens > 25 * 40 and len(measured.ratios) == 2
    assert measured.plain_tokens_per_second > 0 and measured.scan_tokens_per_second > 0
    assert min(measured.ratios) <= measured.ratio <= max(measured.ratios)


def test_nothing_is_measured_from_a_cache_and_nothing_is_left_in_one(engine: Engine) -> None:
    before = engine.counters.tokens_run
    first, second = (measure_scan_throughput(engine, FUNCTIONS, rounds=1) for _ in range(2))
    assert first.tokens == second.tokens > 0
    assert engine.counters.tokens_run == before


def test_the_ratio_is_the_median_rounds() -> None:
    measured = ScanThroughput(
        tokens=1, plain_tokens_per_second=1, scan_tokens_per_second=1, ratios=(0.9, 0.1, 0.95)
    )
    assert measured.ratio == 0.9


@pytest.mark.parametrize(
    ("functions", "rounds", "message"),
    [
        ([], 1, "expected functions and at least one round, got 0 and 1"),
        (FUNCTIONS, 0, "expected functions and at least one round, got 25 and 0"),
        ([function("def f():\n    pass\n")], 1, "expected functions with candidate sites, got none"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    engine: Engine, functions: list[CodeFunction], rounds: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        measure_scan_throughput(engine, functions, rounds=rounds)
