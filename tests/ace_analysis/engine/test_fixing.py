"""Fixes of an engine: the place, the finding on it, the gates of its scores, the user's tests."""

import sys
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from ace_analysis.engine import Engine, FixOptions
from ace_analysis.engine.fixing import (
    LEAST_GAIN,
    LEAST_GAIN_UNASKED,
    LEAST_SCORE_UNASKED,
    options_from,
    span_of,
)
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Calibration
from ace_analysis.report.repair import Gate
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.steering.regions import Level
from ace_analysis.steering.repair import RepairOptions
from ace_analysis.steering.user_tests import TestPlan
from ace_analysis.steering.vector import SteeringVector

TEXT = (
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total -= value\n    return total\n"
)
LINE = 4
NEVER_SHOWN = Calibration(scale=0.5, offset=-1.0, prior=0.05, thresholds={1.0: 1e6})
ALWAYS_SHOWN = Calibration(scale=0.5, offset=-1.0, prior=0.05, thresholds={1.0: -1e6})


@pytest.fixture(autouse=True)
def whatever_is_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model finds hardly anything likelier than what stands there."""
    monkeypatch.setattr("ace_analysis.engine.fixing.LEAST_GAIN", -1e9)


@pytest.fixture
def engine(engine_with: Callable[..., Engine]) -> Engine:
    return engine_with(calibration=NEVER_SHOWN)


@pytest.fixture
def document() -> CodeDocument:
    return CodeDocument(uri="m.py", text=TEXT)


def test_a_line_and_its_span_are_one_place(engine: Engine, document: CodeDocument) -> None:
    start = TEXT.index("        total -= value")
    span = TextSpan(start, start + len("        total -= value"))
    assert span_of(document, LINE) == span
    by_line = engine.fix(document, LINE)
    assert by_line and by_line == engine.fix(document, span)


def test_a_named_line_has_passed_every_gate(engine: Engine, document: CodeDocument) -> None:
    for fix in engine.fix(document, LINE):
        assert [each.gate for each in fix.gates] == list(Gate)[:5] and all(each.passed for each in fix.gates)


def test_a_finding_that_stays_one_is_no_fix(
    engine_with: Callable[..., Engine], document: CodeDocument
) -> None:
    engine = engine_with(calibration=ALWAYS_SHOWN)
    (finding, *_) = engine.scan(document)[0].findings
    assert engine.fix(document, finding.span) == ()


def test_a_line_that_a_person_names_needs_no_finding_and_may_keep_one(
    engine_with: Callable[..., Engine], document: CodeDocument
) -> None:
    engine = engine_with(calibration=ALWAYS_SHOWN)
    assert any(report.findings for report in engine.scan(document))
    scores = [
        gate for fix in engine.fix(document, LINE) for gate in fix.gates if gate.gate is Gate.ERROR_SCORE
    ]
    assert scores and all(gate.passed and " to " in gate.note for gate in scores)


def test_no_more_than_asked_for_are_offered(engine: Engine, document: CodeDocument) -> None:
    assert len(engine.fix(document, LINE, options=FixOptions(most=1))) == 1


def test_where_only_the_model_finds_fault_a_fix_has_to_gain_more(
    engine_with: Callable[..., Engine],
    document: CodeDocument,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    seen: list[RepairOptions] = []
    monkeypatch.setattr(
        "ace_analysis.engine.fixing.repair",
        lambda causal, bundle, request, plan, watch: seen.append(plan) or (),
    )
    shown, hidden = (engine_with(calibration=each) for each in (ALWAYS_SHOWN, NEVER_SHOWN))
    (finding, *_) = shown.scan(document)[0].findings
    test = FixOptions(test=TestPlan(command="true", path=tmp_path / "m.py", seconds=60))
    shown.fix(document, finding.span)
    shown.fix(document, finding.span, options=test)
    shown.fix(document, LINE)
    hidden.fix(document, finding.span)
    few = RepairOptions().most_weighed
    assert [plan.most_weighed for plan in seen] == [few, seen[1].most_fixes, few, few]
    assert [plan.least_score for plan in seen] == [LEAST_SCORE_UNASKED, -inf, -inf, -inf]
    gains = [plan.least_gain for plan in seen]
    assert gains == [LEAST_GAIN_UNASKED, -1e9, -1e9, -1e9] and LEAST_GAIN_UNASKED > LEAST_GAIN


def test_line_ends_of_the_text_stay(engine: Engine) -> None:
    text = TEXT.replace("\n", "\r\n")
    for fix in engine.fix(CodeDocument(uri="m.py", text=text), LINE):
        assert fix.applied_to(text).replace("\r\n", "").count("\n") == 0


def test_the_bundles_vectors_write_as_well(
    engine_with: Callable[..., Engine],
    document: CodeDocument,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = engine_with(calibration=NEVER_SHOWN, folder=tmp_path)
    vector = SteeringVector.from_prompts(engine.causal(), "return total", "return value", 1)
    replace(vector, about={"strengths": [0.5, 2.0]}).save(tmp_path / "steering/v")
    seen: list[RepairOptions] = []
    monkeypatch.setattr(
        "ace_analysis.engine.fixing.repair",
        lambda causal, bundle, request, plan, watch: seen.append(plan) or (),
    )
    engine.fix(document, LINE)
    assert [each.layer for each in seen[0].vectors] == [1] and seen[0].strengths == (0.5, 2.0)


def test_the_users_tests_decide(engine: Engine, document: CodeDocument, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(TEXT)
    offered = engine.fix(document, LINE)
    wanted = offered[-1].applied_to(TEXT)
    check = f"import sys, pathlib; sys.exit(pathlib.Path('m.py').read_text() != {wanted!r})"
    (tmp_path / "check.py").write_text(check)
    test = TestPlan(command=f"{sys.executable} check.py", path=path)
    (fix,) = engine.fix(document, LINE, options=FixOptions(test=test))
    assert fix.applied_to(TEXT) == wanted and fix.verified_by_tests
    assert fix.gates[-1].gate is Gate.TESTS and fix.gates[-1].note == "failed before"
    (tmp_path / "check.py").write_text("raise SystemExit(1)")
    assert engine.fix(document, LINE, options=FixOptions(test=test)) == ()


def test_it_can_be_cancelled(engine: Engine, document: CodeDocument) -> None:
    with pytest.raises(Cancelled):
        engine.fix(document, LINE, cancelled=lambda: True)


def test_progress_is_told(engine: Engine, document: CodeDocument) -> None:
    told: list[str] = []
    engine.fix(document, LINE, progress=lambda message, fraction: told.append(message))
    assert told[0] == "reading the place" and told[-1] == "done"


@pytest.mark.parametrize("line", [0, 7])
def test_a_line_that_is_not_there_is_refused(engine: Engine, document: CodeDocument, line: int) -> None:
    with pytest.raises(InputError, match=f"a line from 1 to 6, got {line}"):
        engine.fix(document, line)


def test_a_span_that_is_not_there_is_refused(engine: Engine, document: CodeDocument) -> None:
    with pytest.raises(InputError, match="expected a span within"):
        engine.fix(document, TextSpan(0, 10_000))


def test_options_are_read_from_json(tmp_path: Path) -> None:
    data = {"candidates": 2, "level": "block", "most": 3, "max_false_alarms": None}
    assert options_from(data) == FixOptions(candidates=2, level=Level.BLOCK, most=3)
    tested = options_from({"test": {"command": "pytest -q", "path": str(tmp_path / "m.py"), "seconds": 5}})
    assert tested.test == TestPlan(command="pytest -q", path=tmp_path / "m.py", seconds=5.0)
    assert tested.encode("# coding: latin-1\n'\xe9'") == b"# coding: latin-1\n'\xe9'"


@pytest.mark.parametrize(
    "data",
    [{"candidates": 0}, {"most": "x"}, {"level": "page"}, {"test": {"path": "m.py"}}, {"test": "pytest"}],
)
def test_options_that_can_not_be_used_are_told(data: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected options of a fix"):
        options_from(data)


def test_an_option_that_is_not_known_is_told() -> None:
    with pytest.raises(InputError, match=r"expected options among .*, got 'candidate'"):
        options_from({"candidate": 1})
