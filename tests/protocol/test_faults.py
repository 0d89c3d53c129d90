"""What goes wrong around the server: it goes on, says so, and leaves nothing running.

More of it, one fault at a time, is in test_worker_life.py; clients that go or don't read are in
test_conformance.py.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from pygls.exceptions import JsonRpcException

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"
SLOW = "def g():\n    return 'SLOW', BUG\n# SLOW_WHY SLOW_FIX\n"
WHERE = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
LONG = 300.0
"""Seconds, for what imports torch, and for anything on a machine that does something else, too."""

DISK_FULL = """
import resource, runpy, tempfile
tempfile.gettempdir()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
runpy.run_module("ace_analysis.worker", run_name="__main__")
"""
"""A worker that can write to pipes and into no file, as on a full disk."""


@pytest.mark.parametrize("seed", range(3))
async def test_a_worker_killed_at_any_moment_costs_no_answer_for_good(start, seed):
    """While it starts, loads, scans, explains and writes fixes, again and again. One that is killed twice
    while it starts is taken for one that can't be started, which a person has to undo."""
    source = random.Random(seed)
    settings = {"maxCrashes": 1000, "backoff": 0.01}
    options = ("--load-seconds", "0.1")
    async with start(worker=settings, worker_options=options) as editor:
        editor.open(URI, BUGGY + SLOW)
        asked = []
        for number in range(12):
            if number % 2 == 0:
                await working(editor)
            what = source.choice((explained, fixed, hovered, edited))
            asked.append(asyncio.ensure_future(what(editor, number)))
            await asyncio.sleep(source.uniform(0.0, 0.5))
            await kill_worker(editor)
        async with asyncio.timeout(LONG):
            for outcome in await asyncio.gather(*asked, return_exceptions=True):
                assert outcome is None or isinstance(outcome, JsonRpcException), outcome
        await editor.command("ace.restartWorker")
        editor.replace(URI, BUGGY)
        assert (await editor.command("ace.analyzeFile", URI)).findings == 1
        status = await editor.command("ace.showStatus")
        assert (status.state, status.progressBars) == ("ready", 0)
        pids = {line["pid"] for line in editor.journal("load")}
        assert len(pids) > 1
        await editor.until(lambda: not any(alive(pid) for pid in pids - {status.workerPid}), "for orphans")
    await until(lambda: not alive(status.workerPid))


async def explained(editor: Any, _: int) -> None:
    await editor.command("ace.explainHere", URI, WHERE["start"], {"show": False})


async def fixed(editor: Any, _: int) -> None:
    await editor.command("ace.regenerate", URI, WHERE, {"apply": False})


async def hovered(editor: Any, _: int) -> None:
    await editor.hover(URI, 1, 12)


async def edited(editor: Any, number: int) -> None:
    editor.edit(URI, (0, 0, 0, 0), f"# {number}\n")


async def working(editor: Any) -> None:
    """Wait for a worker that has loaded, as a person would have one."""
    async with asyncio.timeout(LONG):
        while (state := await state_of(editor)) not in ("ready", "busy"):
            await editor.command("ace.restartWorker" if state in ("failed", "absent") else "ace.showStatus")
            await asyncio.sleep(0.1)


async def state_of(editor: Any) -> str:
    return (await editor.command("ace.showStatus", {"show": False})).state


async def kill_worker(editor: Any) -> None:
    status = await editor.command("ace.showStatus", {"show": False})
    if status.state == "failed":
        assert "does not stay up" in status.message
        assert any("does not stay up" in each.message for each in editor.client.messages)
        await editor.command("ace.restartWorker")
    elif status.workerPid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(status.workerPid, signal.SIGKILL)


async def test_a_worker_that_dies_of_every_fix_is_given_up_for_that_fix_and_told(start):
    async with start(worker_options=("--die-on-fix",)) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        with pytest.raises(JsonRpcException, match="twice at the same job"):
            await editor.command("ace.regenerate", URI, WHERE)
        assert (await editor.command("ace.analyzeFile", URI)).findings == 1
        assert editor.edits == []


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_model_that_is_deleted_while_it_runs_is_used_on_and_missed_clearly_at_a_restart(
    start, random_bundle: Path, tmp_path: Path
):
    model = {"model": {"name": str(random_bundle), "device": "cpu", "dtype": "float32"}}
    text = "def f(a, b):\n    return a < b\n"
    async with start("bare", worker={"command": []}, **model) as editor:
        editor.patience = LONG
        editor.open(URI, text)
        before = await editor.command("ace.analyzeFile", URI)
        shutil.move(random_bundle, tmp_path / "away")
        editor.replace(URI, text + "\n\ndef g(a, b):\n    return a > b\n")
        assert (await editor.command("ace.analyzeFile", URI)).scopes == before.scopes + 1
        await editor.command("ace.restartWorker")
        await editor.until(lambda: editor.client.messages, "for the message")
        assert str(random_bundle) in editor.client.messages[0].message
        assert (await editor.command("ace.showStatus")).state == "failed"
        shutil.move(tmp_path / "away", random_bundle)
        await editor.command("ace.restartWorker")
        assert (await editor.command("ace.analyzeFile", URI)).scopes == before.scopes + 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on file sizes")
async def test_without_room_for_the_cache_the_same_is_found(start, random_bundle: Path):
    model = {"model": {"name": str(random_bundle), "device": "cpu", "dtype": "float32"}}
    text = "def f(a, b):\n    return a < b\n"
    found = []
    for command in ([sys.executable, "-P", "-c", DISK_FULL], []):
        async with start("bare", worker={"command": command}, **model) as editor:
            editor.patience = LONG
            editor.open(URI, text)
            summary = await editor.command("ace.analyzeFile", URI)
            assert (await editor.command("ace.showStatus")).state == "ready"
            found.append((summary.findings, [each.range for each in editor.published[-1].diagnostics]))
    assert found[0] == found[1] and found[0][0] > 0


async def until(what: Any) -> None:
    async with asyncio.timeout(LONG):
        while not what():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
