"""The measuring of hovers, with the worker of the protocol tests in the model's place."""

import sys
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.errors import AceError, InputError
from ace_analysis.evaluation import hover_speed
from ace_analysis.evaluation.hover_speed import HoverSpeed, measure_hover

WORKER = Path(__file__).parents[2] / "protocol/scripted_worker.py"


def options(tmp_path: Path) -> dict[str, Any]:
    command = [sys.executable, str(WORKER), str(tmp_path / "journal")]
    return {"debounce": 0, "worker": {"command": command}}


def test_an_explanation_is_timed_cold_and_where_it_was_made_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hover_speed, "READING", 1.0)
    speed = measure_hover(options(tmp_path), rounds=2)
    assert len(speed.explained) == len(speed.hover) == len(speed.edit) == 2
    assert all(0 < each < 60 for each in (*speed.explained, *speed.hover, *speed.edit))
    asked = [line for line in (tmp_path / "journal").read_text().splitlines() if '"explain"' in line]
    assert len(asked) >= 4


def test_medians_are_of_the_rounds() -> None:
    speed = HoverSpeed(lines=40, explained=(2.0, 1.0, 9.0), hover=(0.5,), edit=(3.0, 1.0))
    assert speed.medians == {"explained": 2.0, "hover": 0.5, "edit": 2.0}


def test_the_measured_function_has_forty_lines_and_compiles() -> None:
    assert hover_speed.FUNCTION.count("\n") == 40
    compile(hover_speed.FUNCTION, "speed.py", "exec")


def test_a_function_without_findings_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hover_speed, "FUNCTION", "def f(a):\n    return a + EDITED\n")
    with pytest.raises(AceError, match="nothing to hover over"):
        measure_hover(options(tmp_path), rounds=1)


def test_no_rounds_are_refused() -> None:
    with pytest.raises(InputError, match="at least one round, got 0"):
        measure_hover(rounds=0)
