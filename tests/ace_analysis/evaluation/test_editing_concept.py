"""A concept is searched on one split and reported on another, beside controls."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ace_analysis.errors import InputError
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing import Gauge
from ace_analysis.evaluation.editing_concept import ConceptOptions, measure_concept, texts_of
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.features.harvest import read_shard
from ace_analysis.features.sparse_coder import SparseCoder

from .conftest import coder_along

FEW = ConceptOptions(limit=2, with_concept=4, without=4, longest=60, mus=(4.0, 30.0), taus=(0.8, 0.3))


@pytest.fixture
def model(tiny_qwen2: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float32).eval()


@pytest.fixture
def token(harvested: Any) -> int:
    """One that some functions have, and others have not."""
    shards = sorted(harvested.folder.glob("shard-*"))
    for candidate in range(60, 400):
        try:
            texts_of(shards, [candidate], FEW)
        except InputError:
            continue
        return candidate
    raise LookupError("no token is in some functions only")


def coder(model: Any, token: int) -> SparseCoder:
    generator = torch.Generator().manual_seed(0)
    rows = 0.1 * torch.randn(12, 32, generator=generator)
    rows[4] = model.get_output_embeddings().weight.detach()[token]
    return coder_along(rows, 3)


def test_it_searches_reports_and_keeps_what_it_measured(
    model: Any, token: int, harvested: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = sorted(harvested.folder.glob("shard-*"))
    ledger = Ledger(tmp_path / "kept.jsonl")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = (model, coder(model, token), [token], (shards, shards), FEW)
    told = measure_concept(*run, (ledger, "c"), Telling())
    assert 4 in told["concept"]["latents"]
    assert {"PISCES", "remove_direction", "random rows", "random directions"} <= set(told["arms"])
    best = max(told["searched"], key=lambda each: each["score"])
    assert (told["mu"], told["tau"]) == (best["mu"], best["tau"])
    norms = {name: told["arms"][name]["norm"] for name in ("PISCES", "random rows")}
    assert norms["PISCES"] == pytest.approx(norms["random rows"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert len(ledger) == 1 + len(told["searched"]) + 1 + len(told["arms"])
    monkeypatch.setattr(Gauge, "measure", lambda *_: pytest.fail("it was measured again"))
    assert measure_concept(*run, (Ledger(tmp_path / "kept.jsonl"), "c"), Telling()) == told


def test_what_else_is_measured_gets_the_arms_and_is_told(
    model: Any, token: int, harvested: Any, tmp_path: Path
) -> None:
    shards = sorted(harvested.folder.glob("shard-*"))
    told = measure_concept(
        model,
        coder(model, token),
        [token],
        (shards, shards),
        replace(FEW, setting=(5.0, 0.5)),
        (Ledger(tmp_path / "kept.jsonl"), "c"),
        Telling(),
        lambda arms: {name: len(deltas) for name, deltas in arms.items()},
    )
    assert told["behaviour"] == dict.fromkeys(told["arms"], 1)


def test_a_given_setting_is_not_searched(model: Any, token: int, harvested: Any, tmp_path: Path) -> None:
    shards = sorted(harvested.folder.glob("shard-*"))
    options = replace(FEW, setting=(5.0, 0.5))
    told = measure_concept(
        model,
        coder(model, token),
        [token],
        (shards, shards),
        options,
        (Ledger(tmp_path / "k.jsonl"), "c"),
        Telling(),
    )
    assert (told["mu"], told["tau"], told["searched"]) == (5.0, 0.5, [])


def test_a_long_function_is_cut_to_a_window_that_has_the_tokens(token: int, harvested: Any) -> None:
    shards = sorted(harvested.folder.glob("shard-*"))
    texts = texts_of(shards, [token], replace(FEW, longest=20))
    assert all(len(each.ids) <= 20 for each in texts)
    assert all(each.has_concept == bool((each.ids[1:] == token).any()) for each in texts)
    assert {each.has_concept for each in texts} == {True, False}


def test_too_few_functions_with_the_words_are_refused(harvested: Any) -> None:
    shards = sorted(harvested.folder.glob("shard-*"))
    with pytest.raises(InputError, match="expected at least 2 functions with the concept's tokens"):
        texts_of(shards, [419], FEW)
    assert read_shard(shards[0]).trees
