"""The worker process as editors notice it: loading, failing, dying, coming back."""

import os
import signal

from lsprotocol import types

URI = "file:///project/a.py"
OTHER = "file:///project/b.py"
BUGGY = "def f(a):\n    return BUG\n"


async def test_nothing_is_started_before_a_document_is_opened(start):
    async with start() as editor:
        status = await editor.command("ace.showStatus")
        assert (status.state, status.workerPid) == ("absent", None)
        assert editor.journal() == []


async def test_the_status_names_model_and_device(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        status = await editor.command("ace.showStatus")
        assert status.info["model"] == "qwen2.5-coder-0.5b-instruct"
        assert "qwen2.5-coder-0.5b-instruct on cpu float32" in editor.client.messages[-1].message


async def test_a_worker_killed_while_idle_comes_back_for_the_next_edit_and_nothing_is_lost(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        first = (await editor.command("ace.showStatus")).workerPid
        os.kill(first, signal.SIGKILL)
        version = editor.edit(URI, (0, 0, 0, 0), "\n")
        await editor.done(2)
        (diagnostic,) = await editor.shown(URI, version, 1)
        assert diagnostic.range.start.line == 2
        assert (await editor.command("ace.showStatus")).workerPid != first
        assert {each.type for each in editor.client.messages} == {types.MessageType.Info}


async def test_a_worker_that_dies_in_a_scan_is_started_again_and_the_scan_is_done_again(start):
    async with start() as editor:
        editor.open(URI, BUGGY + "\n\ndef g():\n    return BUG, 'DIE_ONCE'\n")
        await editor.shown(URI, 1, 2)
        await editor.done()
        assert len({line["pid"] for line in editor.journal("load")}) == 2
        assert editor.client.messages == []


async def test_a_text_that_kills_the_worker_is_given_up_and_other_documents_go_on(start):
    async with start() as editor:
        editor.open(URI, BUGGY + "\n\ndef g():\n    return 'DIE'\n")
        editor.open(OTHER, BUGGY)
        await editor.shown(OTHER, 1, 1)
        await editor.until(lambda: any("given up" in each.message for each in editor.client.log_messages))
        assert len(await editor.shown(URI, 1, 1)) == 1
        version = editor.edit(OTHER, (0, 0, 0, 0), "BUG\n")
        await editor.shown(OTHER, version, 2)
        assert [scan["version"] for scan in editor.journal("scan") if "DIE" in scan["text"]] == [1, 1]


async def test_a_worker_that_cannot_load_costs_one_message_and_not_one_per_edit(start):
    capabilities = experimental_neovim()
    options = ("--refuse", "expected a model named toy. Run: ace model pull toy")
    async with start(worker_options=options, capabilities=capabilities) as editor:
        editor.open(URI, BUGGY)
        editor.open(OTHER, BUGGY)
        await editor.until(lambda: editor.client.messages)
        for _ in range(5):
            editor.edit(URI, (0, 0, 0, 0), "\n")
            editor.save(URI)
        await editor.until(lambda: editor.statuses and editor.statuses[-1]["health"] == "error")
        assert len(editor.journal("load")) == 1
        (message,) = editor.client.messages
        assert "ace model pull toy" in message.message
        assert "ace.restartWorker" in message.message
        assert editor.statuses[-1]["quiescent"]


async def test_restarting_the_worker_after_the_repair_analyses_what_is_open(start, tmp_path):
    repaired = tmp_path / "repaired"
    async with start(worker_options=("--refuse-until", str(repaired))) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.client.messages)
        repaired.touch()
        await editor.command("ace.restartWorker")
        await editor.shown(URI, 1, 1)
        assert len(editor.client.messages) == 1


async def test_a_command_that_does_not_exist_is_named(start):
    async with start(worker={"command": ["/nowhere/worker"]}) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.client.messages)
        assert "/nowhere/worker: No such file" in editor.client.messages[0].message


async def test_a_worker_that_dies_while_loading_is_tried_twice_and_its_last_words_are_told(start):
    async with start(worker_options=("--die-on-load",)) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.client.messages)
        (message,) = editor.client.messages
        assert "exit code 9" in message.message and "no memory left" in message.message
        assert len(editor.journal("load")) == 2


async def test_a_worker_that_ignores_a_cancel_is_killed_and_the_new_version_is_analysed(start):
    async with start(worker={"cancelTimeout": 0.1}) as editor:
        editor.open(URI, "def f():\n    return 'STUCK'\n")
        await editor.until(lambda: editor.journal("stuck"))
        version = editor.replace(URI, BUGGY)
        await editor.shown(URI, version, 1)
        assert len(editor.journal("load")) == 2
        assert editor.client.messages == []


async def test_loading_has_a_progress_bar(start, tmp_path):
    loaded = tmp_path / "loaded"
    async with start(worker_options=("--load-until", str(loaded))) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.bars() and len(editor.bars()[0]) > 1)
        loaded.touch()
        await editor.shown(URI, 1, 1)
        await editor.until(lambda: editor.bars()[0][-1].kind == "end")
        (bar,) = editor.bars()
        assert (bar[0].kind, bar[0].title, bar[0].cancellable) == ("begin", "ACE", True)
        assert {each.message for each in bar[1:-1]} >= {"reading weights"}
        assert all(0 <= each.percentage <= 100 for each in bar[1:-1] if each.percentage is not None)
        assert bar[-1].kind == "end"


async def test_a_client_without_progress_bars_gets_none(start):
    async with start("bare", worker_options=("--load-seconds", "0.1")) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        assert editor.bars() == []


async def test_cancelling_the_bar_gives_up_loading_without_a_popup_until_a_restart(start):
    async with start(worker_options=("--load-until", "/nowhere")) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.bars() and editor.bars()[0])
        (token,) = editor.client.progress_reports
        editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        await editor.until(lambda: editor.bars()[0][-1].kind == "end")
        assert (await editor.command("ace.showStatus")).state == "failed"
        assert [each.type for each in editor.client.messages] == [types.MessageType.Info]
        await editor.command("ace.restartWorker")
        await editor.until(lambda: editor.journal("load"))
        assert (await editor.command("ace.showStatus")).state in ("starting", "loading")


async def test_a_scan_that_takes_long_has_a_bar_whose_cancel_ends_it(start):
    async with start() as editor:
        editor.open(URI, "def f():\n    return 1\n")
        await editor.done()
        editor.replace(URI, "def f():\n    return 'LONG'\n")
        (token,) = await editor.until(lambda: editor.client.progress_reports.keys() - loading(editor))
        await editor.until(lambda: editor.client.progress_reports[token])
        begin = editor.client.progress_reports[token][0]
        assert begin.title == "ACE: a.py" and begin.cancellable
        editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        await editor.until(lambda: editor.journal("cancelled"))
        await editor.until(lambda: editor.client.progress_reports[token][-1].kind == "end")


async def test_what_a_library_prints_does_not_disturb_the_protocol(start):
    async with start() as editor:
        editor.open(URI, "def f():\n    return BUG, 'NOISE'\n")
        await editor.shown(URI, 1, 1)
        assert len(editor.journal("load")) == 1


async def test_an_idle_worker_is_ended_and_comes_back_when_it_is_needed(start):
    async with start(worker={"idleMinutes": 0.005}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        pid = editor.journal("load")[0]["pid"]
        await editor.until(lambda: not alive(pid))
        version = editor.edit(URI, (0, 0, 0, 0), "\n")
        await editor.done(2)
        await editor.shown(URI, version, 1)


async def test_a_worker_does_not_outlive_its_server(start):
    async with start() as editor:
        editor.open(URI, "def f():\n    return 'STUCK'\n")
        await editor.until(lambda: editor.journal("stuck"))
        pid = (await editor.command("ace.showStatus")).workerPid
    assert not alive(pid)


def experimental_neovim():
    return types.ClientCapabilities(experimental={"serverStatusNotification": True})


def loading(editor):
    reports = editor.client.progress_reports
    return {token for token, seen in reports.items() if not seen or seen[0].title == "ACE"}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
