"""The circuit behind a place is that of what a scan, or the model, says of it."""

from collections.abc import Callable

import pytest
import torch

from ace_analysis.decomposition import memory
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.circuit import CircuitOptions
from ace_analysis.decomposition.patching import AblationOptions
from ace_analysis.engine import Engine, ScanOptions, circuits
from ace_analysis.engine.circuits import PICTURE, circuit_at
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.source.document import CodeDocument

TEXT = """import os


def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)
"""
QUICK = CircuitOptions(percentiles=(60.0,), rounds=1, ablation=AblationOptions(how="zero"))


@pytest.fixture
def document() -> CodeDocument:
    return CodeDocument(uri="mean.py", text=TEXT)


def test_a_candidate_site_is_explained_by_its_log_odds(engine: Engine, document: CodeDocument) -> None:
    offset = TEXT.index("/ len")
    found = circuit_at(engine, document, offset, QUICK)
    scopes = engine.scan(document, options=ScanOptions(sites=True))
    site = next(each for scope in scopes for each in scope.sites if each.span.start == offset)
    assert found.target == "evidence that '/' is wrong here" and found.unit == "log-odds"
    assert engine.bundle.calibration.probability(found.clean) == pytest.approx(site.score, abs=1e-4)
    assert found.upstream == 2 * 5 and found.notes == (PICTURE,)
    assert found.edges and found.parts and found.place == f"mean.py:8:{len('    return total ')}"


def test_any_other_token_is_explained_by_the_whole_model(engine: Engine, document: CodeDocument) -> None:
    offset = TEXT.index("def")
    found = circuit_at(engine, document, offset, QUICK)
    assert "what the model expects here" in found.target and found.unit == "logit"
    assert found.upstream == 4 * 5
    at_site = circuit_at(engine, document, TEXT.index("/ len"), QUICK, expectation=True)
    assert at_site.unit == "logit" and at_site.upstream == 20


def test_tokens_in_the_picture_are_those_of_the_prompt(engine: Engine, document: CodeDocument) -> None:
    found = circuit_at(engine, document, TEXT.index("/ len"), QUICK)
    tokens = {int(node.name[1:]): node.text for node in found.nodes if node.kind == "token"}
    scope = next(each for each in engine.scan(document) if each.name == "mean").scope
    prompt = TEXT[scope.start : scope.end]
    encoded = engine.scanner.tokenizer.encode("import os\n" + prompt)
    assert tokens
    known = [("import os\n" + prompt)[span.start : span.end] for span in encoded.spans]
    assert set(tokens.values()) <= {*known, ""}


def test_a_place_without_code_is_refused(engine: Engine, document: CodeDocument) -> None:
    with pytest.raises(InputError, match="got white space"):
        circuit_at(engine, document, TEXT.index("\n"), QUICK)


@pytest.mark.parametrize("text", ["/ len", "def"])
def test_a_scope_that_memory_is_too_small_for_is_told_before_it_is_run(
    engine: Engine, document: CodeDocument, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(circuits, "find_circuit", None)
    with pytest.raises(InputError, match="the scope is too long to be explained here"):
        circuit_at(engine, document, TEXT.index(text), QUICK)


def test_it_can_be_cancelled(engine: Engine, document: CodeDocument) -> None:
    with pytest.raises(Cancelled):
        circuit_at(engine, document, TEXT.index("/ len"), QUICK, cancelled=lambda: True)


def test_progress_names_the_steps(engine_with: Callable[..., Engine], document: CodeDocument) -> None:
    told: list[str] = []
    options = CircuitOptions(
        percentiles=(60.0,), rounds=1, progress=lambda message, share: told.append(message)
    )
    engine = engine_with()
    found = circuit_at(engine, document, TEXT.index("/ len"), options)
    assert told[0] == "scoring the heads and MLPs" and told[-1] == "the edges"
    assert found.ablation == "mean outputs over positions"
    assert Anatomy.of(engine.scanner).n_heads == 4 and torch.is_grad_enabled()
