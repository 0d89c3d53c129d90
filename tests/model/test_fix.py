"""The real model mends a bug of one line: the right line comes first, and a cancel works at once."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ace_analysis.engine import Engine
from ace_analysis.errors import Cancelled
from ace_analysis.model.hooks import hooks
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


def test_progress_is_told_before_anything_is_read_and_a_cancel_ends_it_within_one_block(
    engine: Engine, document: CodeDocument
) -> None:
    """Counted, not timed: blocks that were read, whatever the machine does beside."""
    stop, read, told = threading.Event(), [0], list[int]()
    at_cancel = 0

    def tell(message: str, fraction: float | None) -> None:
        nonlocal at_cancel
        told.append(read[0])
        if message == "writing it anew":
            at_cancel = read[0]
            stop.set()

    def count(module: Any, arguments: Any) -> None:
        read[0] += 1

    with hooks(before=[(block, count) for block in engine.causal().blocks]), pytest.raises(Cancelled):
        engine.fix(document, LINE, cancelled=stop.is_set, progress=tell)
    assert told[0] == 0
    assert at_cancel > 0 and read[0] - at_cancel <= 1


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
