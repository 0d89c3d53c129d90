"""Analysing a whole workspace, and showing only what is new."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

BUGGY = "def f(a):\n    return BUG\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.py").write_text(BUGGY)
    (folder / "inner/b.py").write_text(BUGGY + BUGGY)
    (folder / "clean.py").write_text("x = 1\n")
    (folder / "broken.py").write_bytes(b"x = '\xff'\n")
    (folder / "left_out.py").write_text(BUGGY)
    (folder / "ace.toml").write_text('[check]\nexclude = ["left_out.py"]\n')
    return folder


def known(*lines: str, path: str = "a.py") -> str:
    found = [{"kind": "comparison", "text": "BUG", "line": line, "count": 1} for line in lines]
    return json.dumps({"version": 1, "files": {path: found}})


@pytest.mark.parametrize("profile", ["vscode", "neovim"])
async def test_every_file_is_shown_once_also_to_who_pulls_and_taken_back_when_opened(start, project, profile):
    async with start(profile, roots=(project, project / "inner")) as editor:
        answer = await editor.command("ace.analyzeWorkspace")
        assert (answer.files, answer.findings, answer.cancelled) == (3, 3, False)
        assert ["broken.py" in each for each in answer.problems] == [True]
        shown = {Path(each.uri).name: len(each.diagnostics) for each in editor.published}
        assert shown == {"a.py": 1, "b.py": 2}
        uri = (project / "a.py").as_uri()
        editor.open(uri, "x = 1\n")
        await editor.shown(uri, None, 0)
        await editor.done(4)
        assert [
            len(each.diagnostics) for each in editor.published if each.uri == uri and each.diagnostics
        ] == [1]


async def test_a_file_that_changes_on_disk_loses_its_results_and_the_next_run_looks_anew(start, project):
    async with start("vscode", roots=(project,)) as editor:
        await editor.command("ace.analyzeWorkspace")
        await editor.until(lambda: "ace-workspace" in {each.id for each in editor.registrations})
        uri = (project / "a.py").as_uri()
        (project / "a.py").write_text(BUGGY * 3)
        event = types.FileEvent(uri=uri, type=types.FileChangeType.Changed)
        editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
        await editor.until(lambda: newest(editor, uri) == 0)
        assert (await editor.command("ace.analyzeWorkspace")).findings == 5
        assert newest(editor, uri) == 3


async def test_a_cancelled_run_keeps_what_it_has_found(start, project):
    (project / "inner/b.py").write_text("def f():\n    return 'LONG'\n")
    async with start(roots=(project,)) as editor:
        command = asyncio.ensure_future(editor.command("ace.analyzeWorkspace"))
        await editor.until(lambda: editor.journal("slow"))
        bars = editor.client.progress_reports

        def counting() -> str | None:
            """The bar that says how many files there are."""
            for token, seen in bars.items():
                if any("of 4 files" in str(getattr(each, "message", "")) for each in seen):
                    return token
            return None

        token = await editor.until(counting)
        assert "workspace" in bars[token][0].title
        editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        answer = await command
        assert (answer.files, answer.findings, answer.cancelled) == (2, 1, True)
        await editor.until(lambda: editor.journal("cancelled"))
        assert newest(editor, (project / "a.py").as_uri()) == 1


async def test_what_is_being_typed_goes_before_the_rest_of_the_workspace(start, project):
    (project / "a.py").write_text("def f():\n    return 'LONG'\n")
    async with start(roots=(project,)) as editor:
        command = asyncio.ensure_future(editor.command("ace.analyzeWorkspace"))
        await editor.until(lambda: editor.journal("slow"))
        editor.open("untitled:1", BUGGY)
        editor.edit("untitled:1", (0, 0, 0, 0), "\n")
        await editor.shown("untitled:1", 2, 1)
        assert len(editor.journal("done")) == 1
        command.cancel()


async def test_without_a_folder_it_is_said_that_there_is_none(start):
    async with start() as editor:
        with pytest.raises(JsonRpcException, match="expected a workspace folder"):
            await editor.command("ace.analyzeWorkspace")


async def test_without_an_engine_the_workspace_is_left_at_once(start, project):
    async with start(roots=(project,), worker_options=("--refuse", "expected a bundle")) as editor:
        with pytest.raises(JsonRpcException, match="expected a bundle"):
            await editor.command("ace.analyzeWorkspace")
        assert len(editor.journal("load")) == 1


async def test_what_the_baseline_knows_is_not_shown_and_an_edit_elsewhere_does_not_bring_it_back(
    start, project
):
    (project / "ace.toml").write_text('[check]\nbaseline = "known.json"\n')
    (project / "known.json").write_text(known("return BUG"))
    async with start(roots=(project,)) as editor:
        uri = (project / "a.py").as_uri()
        editor.open(uri, BUGGY + "y = BUG\n")
        (new,) = await editor.shown(uri, 1, 1)
        assert new.range.start.line == 2
        version = editor.edit(uri, (0, 0, 0, 0), "# more\n")
        await editor.done(2)
        (moved,) = await editor.shown(uri, version, 1)
        assert moved.range.start.line == 3
        (project / "known.json").write_text(known())
        event = types.FileEvent(uri=(project / "known.json").as_uri(), type=types.FileChangeType.Changed)
        editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
        await editor.shown(uri, version, 2)


async def test_a_baseline_that_cannot_be_read_is_told_once_and_hides_nothing(start, project):
    (project / "ace.toml").write_text('[check]\nbaseline = "none.json"\n')
    async with start(roots=(project,)) as editor:
        uri = (project / "a.py").as_uri()
        editor.open(uri, BUGGY)
        await editor.shown(uri, 1, 1)
        await editor.until(lambda: editor.client.messages)
        assert "none.json: the baseline can't be read" in editor.client.messages[0].message


def newest(editor: Any, uri: str) -> int | None:
    return next((len(each.diagnostics) for each in reversed(editor.published) if each.uri == uri), None)
