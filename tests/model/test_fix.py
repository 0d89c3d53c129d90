"""The real model mends a bug of one line: the right line comes first, in time, and a cancel works soon."""

import threading
import time
from collections.abc import Iterator

import pytest

from ace_analysis.engine import Engine
from ace_analysis.errors import Cancelled
from ace_analysis.report.repair import Gate
from ace_analysis.settings import load_settings
from ace_analysis.source.document import CodeDocument
from ace_analysis.steering.generation import GenerationOptions
from ace_analysis.steering.vector import SteeringVector

pytestmark = [pytest.mark.model, pytest.mark.slow]

WRONG = """def moving_average(values, window):
    if window <= 0:
        raise ValueError("window must be positive")
    averages = []
    for start in range(len(values) - window + 1):
        part = values[start : start + window]
        averages.append(sum(values) / window)
    return averages
"""
LINE, RIGHT = 7, "averages.append(sum(part) / window)"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine.load(load_settings(None, {"model": {"device": "cpu", "dtype": "float32"}}))
    yield engine
    engine.close()


@pytest.fixture
def document() -> CodeDocument:
    return CodeDocument(uri="m.py", text=WRONG)


def test_the_right_line_comes_first_and_has_passed_every_gate(engine: Engine, document: CodeDocument) -> None:
    engine.causal()
    fixes = engine.fix(document, LINE)
    assert fixes[0].replacement == RIGHT
    assert [each.gate for each in fixes[0].gates] == list(Gate)[:5]
    assert len({fix.replacement for fix in fixes}) == len(fixes) <= 5


def test_progress_is_there_at_once_and_a_cancel_works_soon(engine: Engine, document: CodeDocument) -> None:
    stop, asked_at = threading.Event(), 0.0
    first: list[float] = []
    started = time.perf_counter()

    def tell(message: str, fraction: float | None) -> None:
        nonlocal asked_at
        first.append(time.perf_counter() - started)
        if message == "writing it anew":
            asked_at = time.perf_counter()
            stop.set()

    with pytest.raises(Cancelled):
        engine.fix(document, LINE, cancelled=stop.is_set, progress=tell)
    assert first[0] < 0.2
    assert time.perf_counter() - asked_at < 3.0, "longer than one block takes"


def test_a_vector_steers_the_real_model_and_strength_0_does_not(engine: Engine) -> None:
    import torch

    causal = engine.causal()
    vector = SteeringVector.from_prompts(causal, "return sorted(values)", "raise ValueError(values)", 12)
    ids = torch.tensor([causal.tokenizer.encode("def f(values):\n    ").ids])
    options = GenerationOptions(max_new_tokens=4)
    plain = vector.apply(causal, ids, 0.0, options)
    with vector.applied(causal, 0.0):
        assert torch.equal(causal.model(ids).logits, causal.model(ids).logits)
    assert torch.equal(plain, vector.scaled(0.0).apply(causal, ids, 1.5, options))
    assert not torch.equal(plain, vector.scaled(4.0).apply(causal, ids, 1.5, options))
