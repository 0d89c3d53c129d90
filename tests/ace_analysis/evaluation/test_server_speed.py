"""The measuring of the server, with the worker of the protocol tests in the model's place."""

import sys
from pathlib import Path

import pytest

from ace_analysis.errors import AceError, InputError
from ace_analysis.evaluation import server_speed
from ace_analysis.evaluation.server_speed import InitializeSpeed, measure_editing, measure_initialize

WORKER = Path(__file__).parents[2] / "protocol/scripted_worker.py"


def options(tmp_path: Path, *arguments: str) -> dict:
    command = [sys.executable, str(WORKER), str(tmp_path / "journal"), *arguments]
    return {"debounce": 0, "worker": {"command": command}}


def test_an_edit_of_a_long_file_reads_one_scope_and_no_edit_none(tmp_path):
    speed = measure_editing(options(tmp_path), rounds=2)
    assert 990 <= speed.lines <= 1100
    assert (speed.scopes, speed.scopes_read_after_edit, speed.scopes_read_unchanged) == (32, 1, 0)
    assert len(speed.edit_to_diagnostic) == 2 and 0 < speed.seconds < 60
    if sys.platform == "linux":
        assert speed.worker_resident_bytes is not None and speed.worker_resident_bytes > 1_000_000


def test_the_edited_function_has_thirty_lines_and_compiles():
    text = server_speed.FUNCTION
    assert text.count("\n") == 30
    compile(text, "speed.py", "exec")


def test_a_worker_that_cannot_load_is_an_error_with_its_reason(tmp_path):
    with pytest.raises(AceError, match="expected a bundle"):
        measure_editing(options(tmp_path, "--refuse", "expected a bundle"))


def test_initializing_is_compared_with_an_empty_server_round_by_round():
    speed = measure_initialize(rounds=1)
    assert len(speed.server) == len(speed.empty) == 1
    assert speed.ratio == speed.server[0] / speed.empty[0]
    assert InitializeSpeed(server=(1.0, 3.0, 9.0), empty=(1.0, 2.0, 3.0)).ratio == 1.5


def test_a_server_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(server_speed, "SERVER", (sys.executable, "-c", ""))
    with pytest.raises(AceError, match="it ended before"):
        measure_initialize(rounds=1)


@pytest.mark.parametrize("measure", [measure_initialize, measure_editing])
def test_no_rounds_are_refused(measure):
    with pytest.raises(InputError, match="at least one round, got 0"):
        measure(rounds=0)
