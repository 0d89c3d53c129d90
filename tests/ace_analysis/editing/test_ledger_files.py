"""A process that ends at any line of a change leaves the state before it or the one after it.

The change is done in copies of a process that has not computed anything yet: copies of one that has can wait
for threads that they don't have. So this file is also the program of that process, and of those that edit at
the same time.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.editing.ledger_files import bytes_of, ledger_locked
from ace_analysis.editing.verifying import verify
from ace_analysis.errors import FingerprintError, InputError
from ace_analysis.model.edits import edited_names, edits_dir
from ace_analysis.model.store import resolve_model

KILLED = 9
PATIENCE = 300
"""Seconds until a process that should have ended is given up."""

WATCHED = ("ledger.py", "ledger_files.py")


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}


def edit_of(source, row: int) -> Edit:
    delta = RowDelta(
        layer=1, module="mlp.down", rows=(row,), left=torch.full((1, 1), float(row)), right=torch.ones(1, 32)
    )
    return Edit(model=resolve_model(str(source)), deltas=[delta], parameters={}, name="mine")


def ended_at_line(number: int, change: Callable[[], object]) -> bool:
    """Do a change in a copy of this process that ends at its `number`th line; whether it got so far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def trace(frame, event, _):
            nonlocal seen
            if Path(frame.f_code.co_filename).name not in WATCHED:
                return None
            if event == "line":
                seen += 1
                if seen == number:
                    os._exit(KILLED)
            return trace

        sys.settrace(trace)
        try:
            change()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        raise RuntimeError(f"the change failed with {code} at line {number}")
    return code == KILLED


def in_a_copy(change: Callable[[], object]) -> None:
    """Do a change in a copy of this process, so that this one computes nothing."""
    if ended_at_line(0, change):
        raise RuntimeError("the copy was killed")


def state() -> tuple[str, ...]:
    return tuple(each.sha256 for each in EditLedger().show("mine").edits) if edited_names() else ()


def files_of_mine() -> dict[Path, bytes]:
    folder = edits_dir() / "mine"
    return {path: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def put_back(files: dict[Path, bytes]) -> None:
    for path in files_of_mine():
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)


def killed_at_each_line(what: str, base: str) -> None:
    """Prints the state before, the one after, and those that were left, by line."""
    ledger = EditLedger()
    if what != "first":
        in_a_copy(lambda: ledger.apply(edit_of(base, 1)))
    if what == "copied":
        in_a_copy(lambda: ledger.apply(replace(edit_of("mine", 2), name="source")))
        in_a_copy(lambda: ledger.undo("mine"))
    if what == "undo":
        in_a_copy(lambda: ledger.apply(edit_of("mine", 2)))
    before = state()
    edit = edit_of({"first": base, "copied": "source"}.get(what, "mine"), 3 if what == "copied" else 2)
    change = (lambda: EditLedger().undo("mine")) if what == "undo" else lambda: EditLedger().apply(edit)
    kept = files_of_mine()
    left, problems, number = [], [], 1
    while ended_at_line(number, change):
        left.append(state())
        problems += verify("mine").problems if left[-1] else ()
        if left[-1] != before:
            put_back(kept)
        number += 1
    files = sorted(path.suffix for path in (edits_dir() / "mine").iterdir())
    print(  # noqa: T201 - this process is asked on its output
        json.dumps({"before": before, "after": state(), "left": left, "problems": problems, "files": files})
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="ends a copy of a process at each line")
@pytest.mark.parametrize(
    ("what", "files"),
    [
        pytest.param("first", 1, marks=pytest.mark.slow),
        ("second", 2),
        ("undo", 2),
        pytest.param("copied", 3, marks=pytest.mark.slow),
    ],
)
def test_a_change_that_is_killed_at_any_line_is_done_or_not(tiny_qwen2, what, files):
    program = [sys.executable, __file__, "killed", what, str(tiny_qwen2)]
    done = subprocess.run(program, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["before"] != told["after"] and len(told["left"]) > 20
    assert {tuple(each) for each in told["left"]} == {tuple(told["before"]), tuple(told["after"])}
    assert told["problems"] == []
    assert told["files"] == [".json", *[".safetensors"] * files]


def test_equal_edits_are_equal_files(tiny_qwen2):
    edit = edit_of(tiny_qwen2, 1)
    assert len({bytes_of(edit.deltas, "abc") for _ in range(8)}) == 1
    assert bytes_of(edit.deltas, "abc") != bytes_of(edit.deltas, "abd")


# --- two processes --------------------------------------------------------------------------------------


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the processes talk over their pipes


def add_edits(base: str, first: str, count: str) -> None:
    """Add edits to "mine" until all are in, planning anew what another process has made old."""
    ledger, rows = EditLedger(), range(int(first), int(first) + int(count))
    say("ready")
    sys.stdin.readline()
    refused = 0
    for row in rows:
        while True:
            source = "mine" if edited_names() else base
            try:
                ledger.apply(edit_of(source, row))
                break
            except (FingerprintError, InputError):
                refused += 1
    say(f"done, {refused} times too late")


def apply_while_locked(base: str) -> None:
    """Apply one edit, and tell what is waited for."""
    EditLedger().apply(edit_of(base, 1), lambda message, _: say(message))
    say("applied")


def hold() -> None:
    """Hold the ledger's lock until a line comes in."""
    with ledger_locked(lambda *_: None):
        say("held")
        sys.stdin.readline()


def process(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def heard(one: subprocess.Popen[str]) -> str:
    assert one.stdout is not None
    return one.stdout.readline().strip()


def go(one: subprocess.Popen[str]) -> None:
    assert one.stdin is not None
    one.stdin.write("go\n")
    one.stdin.flush()


def test_two_processes_that_edit_at_once_lose_no_edit_of_either(tiny_qwen2):
    each = 6
    both = [process("add", str(tiny_qwen2), str(first), str(each)) for first in (1, 1 + each)]
    assert [heard(one) for one in both] == ["ready", "ready"]
    for one in both:
        go(one)
    outs = [one.communicate(timeout=PATIENCE)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], outs
    edits = EditLedger().show("mine").edits
    changed = sorted(row for edit in edits for change in edit.changed for row in change.rows)
    assert changed == list(range(1, 1 + 2 * each))
    for earlier, later in itertools.pairwise(edits):
        assert later.fingerprint_before == earlier.fingerprint_after
    assert verify("mine").holds
    assert len(list((edits_dir() / "mine").glob("*.safetensors"))) == 2 * each


def test_a_process_waits_for_one_that_is_writing_and_says_so(tiny_qwen2):
    holder = process("hold")
    assert heard(holder) == "held"
    waiting = process("wait", str(tiny_qwen2))
    assert heard(waiting) == "waiting for another process that edits a model"
    assert edited_names() == ()
    go(holder)
    assert heard(waiting) == "applied"
    assert [holder.wait(PATIENCE), waiting.wait(PATIENCE)] == [0, 0]
    assert edited_names() == ("mine",)


def test_a_process_that_dies_with_the_lock_does_not_keep_it(tiny_qwen2):
    holder = process("hold")
    assert heard(holder) == "held"
    holder.kill()
    holder.wait(PATIENCE)
    assert EditLedger().apply(edit_of(tiny_qwen2, 1)).name == "mine"


if __name__ == "__main__":
    programs = {"killed": killed_at_each_line, "add": add_edits, "wait": apply_while_locked, "hold": hold}
    programs[sys.argv[1]](*sys.argv[2:])
