"""What tiny random models can't show: the real weights, read every way that ACE reads them, agree.

The text is short and ordinary code: where the processor lacks bf16 it is emulated, ten tokens a second.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.model.devices import chosen_dtype
from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.store import StoredModel, resolve_model
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.settings import DEFAULT_MODEL

pytestmark = [pytest.mark.model, pytest.mark.slow]

LAYER = 9
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stored() -> StoredModel:
    return resolve_model(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def tokenizer(stored: StoredModel) -> CodeTokenizer:
    return CodeTokenizer.from_folder(stored.folder)


@pytest.fixture(scope="module")
def ids(tokenizer: CodeTokenizer, some_python: str) -> Tensor:
    return torch.tensor([tokenizer.encode(some_python).ids])


@pytest.fixture(scope="module")
def scanner() -> ResidualScanner:
    return load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=LAYER + 1)


@pytest.fixture(scope="module")
def plain_logits(stored: StoredModel, ids: Tensor) -> Tensor:
    """The plain Hugging Face forward in fp32."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(stored.folder, dtype=torch.float32, local_files_only=True)
    with torch.no_grad():
        logits = plain(ids).logits
    del plain
    gc.collect()
    return logits


@pytest.fixture(scope="module")
def hooked() -> Iterator[Any]:
    yield load_hooked_model(DEFAULT_MODEL, device="cpu", dtype="float32")
    gc.collect()


def perplexity(logits: Tensor, ids: Tensor) -> float:
    losses = torch.nn.functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:], reduction="mean")
    return losses.exp().item()


def agreement(first: Tensor, second: Tensor) -> float:
    return (first.argmax(-1) == second.argmax(-1)).float().mean().item()


def test_the_fingerprint_is_the_files_checksum_and_the_recipe(stored: StoredModel) -> None:
    checksum = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
    assert stored.fingerprint == f"{checksum}-r1"
    assert stored.licence == "Apache-2.0"


def test_the_model_reads_code(plain_logits: Tensor, ids: Tensor) -> None:
    assert perplexity(plain_logits, ids) < 4


def test_the_hooked_models_logits_are_the_plain_ones(hooked: Any, plain_logits: Tensor, ids: Tensor) -> None:
    with torch.no_grad():
        logits = hooked(ids)
    assert agreement(logits, plain_logits) == 1.0
    assert (logits - plain_logits).abs().max() < 1e-3
    assert perplexity(logits, ids) == pytest.approx(perplexity(plain_logits, ids), rel=1e-4)


def test_the_scanner_reads_what_the_hooked_model_shows(
    scanner: ResidualScanner, hooked: Any, ids: Tensor
) -> None:
    name = f"blocks.{LAYER}.hook_resid_post"
    _, cache = hooked.run_with_cache(ids, names_filter=[name], stop_at_layer=LAYER + 1)
    difference = (scanner.resid_post(ids, LAYER) - cache[name]).abs().max()
    assert difference < 5e-5 * cache[name].abs().max()


def test_branches_of_a_tree_are_what_they_are_alone(scanner: ResidualScanner, ids: Tensor) -> None:
    stem, first, second = ids[0, :100].tolist(), ids[0, 100:110].tolist(), ids[0, 120:126].tolist()
    length = len(stem) + len(first) + len(second)
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[len(stem) + len(first) :, len(stem) : len(stem) + len(first)] = False
    positions = [*range(110), *range(100, 106)]
    tree = torch.tensor([stem + first + second])
    together = scanner.resid_post(
        tree, LAYER, attention_mask=mask[None], position_ids=torch.tensor([positions])
    )
    alone = scanner.resid_post(torch.tensor([stem + second]), LAYER)
    assert (together[0, 110:] - alone[0, 100:]).abs().max() < 1e-3


def test_the_dtype_of_choice_costs_less_than_a_percent(plain_logits: Tensor, ids: Tensor) -> None:
    assert plain_logits.dtype == torch.float32
    chosen = chosen_dtype("auto", CPU)
    if chosen == torch.float32:
        return
    check_dtype(chosen, plain_logits, ids)


def test_bf16_costs_less_than_a_percent_wherever_it_runs(plain_logits: Tensor, ids: Tensor) -> None:
    check_dtype(torch.bfloat16, plain_logits, ids)


def check_dtype(dtype: torch.dtype, plain_logits: Tensor, ids: Tensor) -> None:
    model = load_hooked_model(DEFAULT_MODEL, device="cpu", dtype=dtype)
    with torch.no_grad():
        logits = model(ids).float()
    assert perplexity(logits, ids) < 1.01 * perplexity(plain_logits, ids)
    assert agreement(logits, plain_logits) > 0.95


@pytest.mark.parametrize(
    "text",
    [
        "x = '🙂👩‍👩‍👧'\n",
        "名前 = '値'\n",
        "if x:\n\t\treturn\ty\r\n\x0c",
        "\ufeffcafe\u0301 = 'Å'",
        "'<|im_end|><tool_call>'",
    ],
    ids=["emoji", "CJK", "white space", "accents", "control tokens"],
)
def test_source_text_comes_back_as_it_was(text: str, tokenizer: CodeTokenizer) -> None:
    tokenized = tokenizer.encode(text)
    assert tokenizer.decode(tokenized.ids) == text
    assert tokenizer.token(tokenized.ids[0]) == "<|endoftext|>"
    covered = {offset for span in tokenized.spans for offset in range(span.start, span.end)}
    assert covered == set(range(len(text)))
