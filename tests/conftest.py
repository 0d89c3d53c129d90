"""Tiny random models for every test, and a cache of their own; nothing here needs the network.

The three families differ in what a reader of activations can get wrong: Qwen2 has biases and no BOS,
Llama has a BOS, Gemma-2 scales its embedding, caps its attention scores and sees only a window in every
second block. Their weights are larger than a new model's, so that attention is far from uniform and a wrong
mask shows.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

UNCHECKED = {
    # Statistics are NumPy's business, which takes an int for a float.
    "features": "comparison contrast inputs matrices moments pairs significance table unpaired",
    # They refuse wrong options themselves, in words for a user.
    "decomposition": "frozen relp walk",
    "quantization": "config",
}


def checked_modules() -> list[str]:
    """All of model/ and engine/, and most modules of the packages above."""
    found = ["ace_analysis.model", "ace_analysis.engine"]
    for package, left_out in UNCHECKED.items():
        folder = Path(__file__).parents[1] / "ace_analysis" / package
        names = {path.stem for path in folder.glob("*.py")} - {"__init__", *left_out.split()}
        found += [f"ace_analysis.{package}.{name}" for name in sorted(names)]
    return found


try:
    import jaxtyping
except ImportError:  # only the server is installed
    jaxtyping = None
else:
    # Shapes and types of every call into these are checked while the tests run.
    jaxtyping.install_import_hook(checked_modules(), "beartype.beartype")

FAMILIES = ("qwen2", "llama", "gemma2")

TINY_LAYERS, TINY_WIDTH, TINY_WINDOW = 4, 32, 8

SOME_PYTHON = '''
def mean(values):
    """The average; 0.0 of nothing."""
    total = 0.0
    for index, value in enumerate(values):
        if value is not None and index >= 0:
            total += value
    return total / len(values) if values else 0.0


class Stack:
    def __init__(self, items=()):
        self.items = list(items)

    def push(self, item):
        self.items.append(item)
        return self

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()


def read_lines(path, encoding="utf-8"):
    with open(path, encoding=encoding) as file:
        return [line.rstrip("\\n") for line in file if line.strip()]
'''


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a test keeps goes into a folder of the session; only tests of the real weights see the user's."""
    if request.node.get_closest_marker("model") is None:
        monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ace-cache"))


@pytest.fixture
def unchecked_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of our own messages about wrong shapes: at a user's, nothing else checks them."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family to a Hugging Face folder: four blocks, random weights, fp32, a working tokenizer."""
    root = tmp_path_factory.mktemp("tiny-models")
    return {family: make_tiny_model(family, root / f"model-{index}") for index, family in enumerate(FAMILIES)}


@pytest.fixture(params=FAMILIES)
def tiny_model(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    """The folder of a tiny model; the test runs once for each family."""
    return tiny_models[request.param]


@pytest.fixture(scope="session")
def tiny_qwen2(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["qwen2"]


@pytest.fixture(scope="session")
def tiny_llama(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["llama"]


@pytest.fixture(scope="session")
def tiny_gemma2(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["gemma2"]


@pytest.fixture(scope="session")
def tiny_gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fourth family, for the few tests of what is its own: a rotary embedding for each kind of block."""
    return make_tiny_model("gemma3", tmp_path_factory.mktemp("tiny-gemma3") / "model")


@pytest.fixture(scope="session")
def some_python() -> str:
    """The text that the tiny tokenizers were trained on."""
    return SOME_PYTHON


@pytest.fixture
def disentangled(tiny_qwen2: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A tiny model that can be edited: a cache of its own holds its random bundle and a disentangler."""
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    write_tiny_disentangler(tiny_qwen2, tmp_path / "cache" / "bundles" / "tiny")
    return tiny_qwen2


def write_tiny_disentangler(model: Path, folder: Path, layer: int = 3, latents: int = 24) -> None:
    """A random bundle with one error feature, of the kind "comparison", and a disentangler beside it."""
    import torch

    from ace_analysis.editing.disentangler import FOLDER, Disentangler
    from ace_analysis.features.bundle import Bundle, Calibration, ErrorFeature, Readout
    from ace_analysis.features.sparse_coder import SparseCoder
    from ace_analysis.model.sites import Site
    from ace_analysis.model.store import resolve_model

    generator = torch.Generator().manual_seed(7)
    stored = resolve_model(str(model))
    names = ("t_statistic", "paired_t", "q_value", "separation", "rate_buggy", "rate_matched", "density")
    feature = ErrorFeature(feature_idx=2, kinds=("comparison",), **dict.fromkeys(names, 0.5))

    def coder(site: Site) -> SparseCoder:
        rows = torch.randn(latents, TINY_WIDTH, generator=generator)
        nothing = torch.zeros(latents)
        return SparseCoder(rows.T.contiguous(), nothing, rows, torch.zeros(TINY_WIDTH), nothing + 1.0, site)

    Bundle(
        folder=folder,
        model=str(model),
        fingerprint=stored.fingerprint,
        layer=1,
        coder=coder(Site(1)),
        readout=Readout(weights=torch.zeros(1, latents), kind_bias={}, slots=(0,)),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.1, thresholds={1.0: 0.0}),
        max_tokens=64,
        catalog=(feature,),
    ).save(folder)
    own = Disentangler(
        coder=coder(Site(layer, "mlp_out")), model="tiny", fingerprint=stored.fingerprint, card={}
    )
    own.save(folder / FOLDER / f"layer-{layer}")


def make_tiny_model(family: str, folder: Path) -> Path:
    """Write a random model of a family, and its tokenizer, into a new folder."""
    import torch
    from transformers import AutoModelForCausalLM

    folder.mkdir(parents=True)
    size = write_tiny_tokenizer(family, folder)
    torch.manual_seed(len(family))
    model = AutoModelForCausalLM.from_config(tiny_config(family, size), dtype=torch.float32)
    model.save_pretrained(folder)
    return folder


def tiny_config(family: str, vocabulary: int) -> Any:
    from transformers import Gemma2Config, Gemma3TextConfig, LlamaConfig, Qwen2Config

    shared = {
        "vocab_size": vocabulary,
        "hidden_size": TINY_WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": TINY_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }
    if family == "gemma3":
        return Gemma3TextConfig(
            **shared,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=TINY_WINDOW,
            layer_types=["sliding_attention", "full_attention"] * (TINY_LAYERS // 2),
        )
    if family == "gemma2":
        return Gemma2Config(
            **shared,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=TINY_WINDOW,
            final_logit_softcapping=30.0,
        )
    return (Qwen2Config if family == "qwen2" else LlamaConfig)(**shared)


def write_tiny_tokenizer(family: str, folder: Path) -> int:
    """A BPE of some hundred tokens: byte-level, or as Gemma's: spaces as marks, bytes as a fallback."""
    tokenizer = _gemma_like() if family.startswith("gemma") else _byte_level(family)
    tokenizer.save(str(folder / "tokenizer.json"))
    start = {"qwen2": "<|endoftext|>", "llama": "<|begin_of_text|>", "gemma2": "<bos>", "gemma3": "<bos>"}[
        family
    ]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": start, "pad_token": start}
    if family != "qwen2":
        config["bos_token"] = start
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return tokenizer.get_vocab_size()


def _byte_level(family: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    start = "<|endoftext|>" if family == "qwen2" else "<|begin_of_text|>"
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[start, "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SOME_PYTHON], trainer)
    return tokenizer


def _gemma_like() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=160, special_tokens=["<bos>", "<eos>", "<unk>"], show_progress=False
    )
    learner.train_from_iterator(SOME_PYTHON.split("\n"), trainer)
    described = json.loads(learner.to_str())
    vocabulary = described["model"]["vocab"]
    for token in ("\n", "\t", *(f"<0x{byte:02X}>" for byte in range(256))):
        vocabulary.setdefault(token, len(vocabulary))
    described["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer
