"""Programs that end badly, take too much, or leave something behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ace_analysis.errors import InputError
from ace_analysis.evaluation import sandbox as module
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.sandbox import Limits, Outcome, Sandbox

FAST = Limits(seconds=5, megabytes=512, written_megabytes=1)
ENDLESS = "while True:\n    pass"
CHILD = """
import time
while True:
    open({!r}, "w").write(str(time.time()))
    time.sleep(0.05)
"""


@pytest.fixture(params=["isolated", "plain"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """With the system's isolation where there is any, and as on a system that has none."""
    if request.param == "plain":
        monkeypatch.setattr(module, "_prefix", lambda: ())
    return Sandbox(FAST)


def test_tests_decide(sandbox):
    assert sandbox.run("def f(a):\n    return a + 1", "assert f(1) == 2") is Outcome.PASSED
    assert sandbox.run("def f(a):\n    return a - 1", "assert f(1) == 2") is Outcome.FAILED


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit(0)",
        "import os; os._exit(0)",
        "import sys; sys.exit(1)",
        "1 / 0",
        "def f(",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_only_tests_that_run_to_their_end_pass(sandbox, text):
    assert sandbox.run(text, "assert True") is Outcome.FAILED


def test_a_program_that_computes_for_ever_is_out_of_time(monkeypatch):
    start = time.monotonic()
    assert Sandbox(Limits(seconds=1)).run(ENDLESS, "") is Outcome.TIMED_OUT
    assert time.monotonic() - start < 20


def test_a_program_that_waits_for_ever_is_out_of_time():
    assert Sandbox(Limits(seconds=1)).run("import time\ntime.sleep(600)", "") is Outcome.TIMED_OUT


def test_a_program_that_takes_too_much_memory_fails(sandbox):
    assert sandbox.run("x = bytearray(1 * 2**30)", "") is Outcome.FAILED
    assert sandbox.run("x = bytearray(2**20)", "") is Outcome.PASSED


def test_memory_may_be_without_a_limit():
    assert Sandbox(Limits(megabytes=0)).passes("x = bytearray(2**29)", "")


def test_a_program_may_print_more_than_a_pipe_holds(sandbox):
    assert sandbox.passes("for _ in range(2000): print('x' * 1000)", "")


def test_a_file_larger_than_allowed_fails(sandbox):
    assert sandbox.run("open('f', 'wb').write(bytes(2**21))", "") is Outcome.FAILED
    assert sandbox.run("open('f', 'wb').write(bytes(2**19))", "") is Outcome.PASSED


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_what_a_run_started_ends_with_it(sandbox, tmp_path):
    beat = tmp_path / "beat"
    child = CHILD.format(str(beat))
    program = (
        "import subprocess, sys, time, os\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"while not os.path.exists({str(beat)!r}): time.sleep(0.01)"
    )
    assert sandbox.passes(program, "")
    seen = beat.read_text()
    time.sleep(0.4)
    assert beat.read_text() == seen


@pytest.mark.skipif(not module._prefix(), reason="no unprivileged isolation here")
def test_not_even_a_child_of_another_session_outlives_an_isolated_run(tmp_path):
    beat = tmp_path / "beat"
    child = CHILD.format(str(beat))
    program = (
        "import subprocess, sys, time, os\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        f"while not os.path.exists({str(beat)!r}): time.sleep(0.01)"
    )
    assert Sandbox(FAST).passes(program, "")
    time.sleep(0.1)
    seen = beat.read_text()
    time.sleep(0.4)
    assert beat.read_text() == seen


@pytest.mark.skipif(not module._prefix(), reason="no unprivileged isolation here")
def test_an_isolated_run_has_no_network(tmp_path):
    program = "import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']"
    assert Sandbox(FAST).passes(program, "")


def test_without_isolation_the_same_programs_still_run(monkeypatch):
    def absent(*arguments: object, **options: object) -> object:
        raise OSError("not permitted")

    module._prefix.cache_clear()
    monkeypatch.setattr(subprocess, "run", absent)
    try:
        assert module._prefix() == ()
    finally:
        module._prefix.cache_clear()


def test_the_callers_environment_and_folder_are_not_the_runs(sandbox, monkeypatch):
    monkeypatch.setenv("ACE_TEST_SECRET", "secret")
    assert sandbox.passes("import os", "assert 'ACE_TEST_SECRET' not in os.environ")
    here = str(Path.cwd())
    assert sandbox.passes("import os", f"assert os.environ['HOME'] == os.getcwd() != {here!r}")
    assert sandbox.passes("open('left', 'w').write('x')", "")
    assert sandbox.passes("import os", "assert not os.path.exists('left')")


def test_the_order_of_a_set_is_the_same_in_each_run(sandbox):
    order = "order = ''.join({c for c in 'abcdefghij'})"
    run = subprocess.run(
        [sys.executable, "-c", f"{order}\nprint(order, end='')"],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert sandbox.passes(order, f"assert order == {run.stdout!r}")


def test_a_future_import_may_come_first(sandbox):
    assert sandbox.passes("from __future__ import annotations\nx: y = 1", "assert x == 1")


def test_an_outcome_is_kept_and_another_limit_is_another_run(tmp_path):
    path = tmp_path / "runs.jsonl"
    first = Sandbox(FAST, Ledger(path))
    assert first.run("x = 1", "assert x == 1") is Outcome.PASSED
    assert first.run("x = 1", "assert x == 2") is Outcome.FAILED
    again = Sandbox(FAST, Ledger(path))
    assert again.run("x = 1", "assert x == 1") is Outcome.PASSED
    assert again.run("x = 1", "assert x == 2") is Outcome.FAILED
    assert (first.runs, again.runs) == (2, 0)
    other = Sandbox(Limits(seconds=6), Ledger(path))
    assert other.passes("x = 1", "assert x == 1")
    assert other.runs == 1


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"megabytes": -1}, {"written_megabytes": 0}])
def test_limits_that_allow_nothing_are_refused(limits):
    with pytest.raises(InputError, match="a run needs at least 1 second"):
        Limits(**limits)
