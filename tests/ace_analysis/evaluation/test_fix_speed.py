"""The measuring of fixes and of cancels, with the worker of the protocol tests in the model's place."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.errors import AceError, InputError
from ace_analysis.evaluation import fix_speed
from ace_analysis.evaluation.fix_speed import FixSpeed, measure_fix
from ace_analysis.evaluation.hover_speed import FUNCTION

WORKER = Path(__file__).parents[2] / "protocol/scripted_worker.py"


def options(tmp_path: Path) -> dict[str, Any]:
    command = [sys.executable, str(WORKER), str(tmp_path / "journal")]
    return {"debounce": 0, "worker": {"command": command}}


def journal(tmp_path: Path, word: str) -> int:
    lines = (tmp_path / "journal").read_text().splitlines()
    return sum(json.loads(line)["what"] == word for line in lines)


def test_fixes_and_cancels_are_timed_in_the_real_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fix_speed, "FUNCTION", FUNCTION + "# SLOW_FIX\n")
    speed = measure_fix(options(tmp_path), rounds=1)
    assert len(speed.fix) == len(speed.cancel) == len(speed.rest) == 1
    assert min(speed.cold, *speed.fix, *speed.cancel, *speed.rest) > 0
    assert journal(tmp_path, "fix") == 3 and journal(tmp_path, "cancelled") == 1


def test_where_each_fix_is_there_before_its_cancel_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fix_speed, "CANCELLED_AFTER", (3600.0,))
    with pytest.raises(AceError, match="longer than a person"):
        measure_fix(options(tmp_path), rounds=1)


def test_the_wrong_line_is_in_the_function_once_and_its_place_is_found() -> None:
    assert FUNCTION.count(fix_speed.WRONG) == 1
    place = fix_speed._place(7)
    line = fix_speed._text(7).split("\n")[place["start"]["line"]]
    assert line[place["start"]["character"] : place["end"]["character"]] == fix_speed.WRONG


def test_the_median_fix_and_the_worst_cancel_are_told() -> None:
    speed = FixSpeed(lines=40, cold=9.0, fix=(3.0, 1.0, 8.0), cancel=(0.25, 0.125), rest=(0.5, 0.25))
    assert speed.medians == {"fix": 3.0}
    assert speed.worst == {"cancel": 0.25, "rest": 0.5}


def test_no_rounds_are_refused() -> None:
    with pytest.raises(InputError, match="at least one round, got 0"):
        measure_fix(rounds=0)
