"""Hovering over findings, and having any place explained."""

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"
SLOW_WHY = BUGGY + "# SLOW_WHY\n"
LONG_WHY = BUGGY + "# LONG_WHY\n"


@pytest.mark.parametrize("profile", ["vscode", "neovim", "emacs"])
async def test_a_finding_is_explained_in_markdown_where_the_client_reads_it(start, profile):
    async with start(profile) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.refreshes or any(each.diagnostics for each in editor.published))
        hover = await editor.hover(URI, 1, 12)
        text = hover.contents.value
        assert hover.contents.kind == types.MarkupKind.Markdown
        assert (hover.range.start.line, hover.range.start.character, hover.range.end.character) == (1, 11, 14)
        for expected in (
            "probability 0.90",
            "latent 7",
            "+1.50",
            "layer 1, head 0",
            "-0.75",
            "`BUG`",
            "line 2",
        ):
            assert expected in text
        assert r"a name that \*ends\* an expression" in text
        assert "Unexplained: +0.12 of +2.25 log-odds" in text
        assert "%" not in text


async def test_a_client_that_reads_no_markdown_gets_plain_text(start):
    async with start("bare") as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        hover = await editor.hover(URI, 1, 12)
        assert hover.contents.kind == types.MarkupKind.PlainText
        assert "a name that *ends* an expression" in hover.contents.value
        assert "**" not in hover.contents.value and "`" not in hover.contents.value


async def test_where_nothing_was_found_there_is_no_hover_and_nothing_is_computed(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        assert await editor.hover(URI, 0, 5) is None
        assert await editor.hover("file:///nowhere.py", 0, 0) is None
        assert await editor.hover(URI, 99, 99) is None
        assert editor.journal("explain") == []


async def test_what_is_known_is_said_at_once_and_the_rest_at_the_next_hover(start):
    async with start() as editor:
        editor.open(URI, SLOW_WHY)
        await editor.shown(URI, 1, 1)
        first = await editor.hover(URI, 1, 12)
        assert "latent 7" in first.contents.value and "hover again" in first.contents.value
        assert "head" not in first.contents.value.replace("heads", "")
        await editor.until(lambda: editor.journal("explained"))
        second = await editor.hover(URI, 1, 12)
        assert "layer 1, head 0" in second.contents.value
        assert len(editor.journal("explain")) == 1


async def test_a_cancelled_hover_ends_inside_the_worker(start):
    async with start() as editor:
        editor.open(URI, LONG_WHY)
        await editor.shown(URI, 1, 1)
        params = types.HoverParams(types.TextDocumentIdentifier(URI), types.Position(1, 12))

        async def hovered(number: int) -> int | None:
            waiting = editor.client.protocol.send_request("textDocument/hover", params, msg_id=f"{number}")
            await editor.until(lambda: editor.journal("explain"))
            editor.client.cancel_request(types.CancelParams(id=f"{number}"))
            try:
                await asyncio.wrap_future(waiting)
            except JsonRpcException as error:
                return error.code
            return None  # a second was over before the cancel was read

        codes = [await hovered(0)]
        while codes[-1] is None:
            codes.append(await hovered(len(codes)))
        assert codes[-1] == -32800
        await editor.until(lambda: editor.journal("cancelled"))
        assert editor.journal("explained") == []


async def test_a_newer_version_ends_the_explanation_and_is_analysed(start):
    async with start() as editor:
        editor.open(URI, LONG_WHY)
        await editor.shown(URI, 1, 1)
        hover = asyncio.ensure_future(editor.hover(URI, 1, 12))
        await editor.until(lambda: editor.journal("explain"))
        version = editor.replace(URI, BUGGY + "BUG\n")
        await editor.shown(URI, version, 2)
        await editor.until(lambda: editor.journal("cancelled"))
        assert "latent 7" in (await hover).contents.value
        assert "layer 1, head 0" in (await editor.hover(URI, 1, 12)).contents.value


async def test_the_likeliest_findings_are_explained_before_anybody_hovers(start):
    async with start(explainAhead=1) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        await editor.until(lambda: editor.journal("explained"))
        assert "layer 1, head 0" in (await editor.hover(URI, 1, 12)).contents.value
        assert len(editor.journal("explain")) == 1


async def test_an_edit_ends_what_is_explained_ahead(start):
    async with start(explainAhead=1) as editor:
        editor.open(URI, LONG_WHY)
        await editor.shown(URI, 1, 1)
        await editor.until(lambda: editor.journal("explain"))
        version = editor.replace(URI, "def f(a):\n    return a\n# LONG_WHY\n")
        await editor.shown(URI, version, 0)
        await editor.until(lambda: editor.journal("cancelled"))
        assert editor.journal("explained") == []


async def test_a_hover_goes_before_what_is_explained_ahead(start):
    async with start(explainAhead=2) as editor:
        editor.open(URI, "def f(a):\n    return BUG + BUG\n# LONG_WHY_ONCE\n")
        await editor.shown(URI, 1, 2)
        await editor.until(lambda: editor.journal("explain"))
        await editor.hover(URI, 1, 18)
        await editor.until(lambda: len(editor.journal("explained")) == 2)
        assert [each["offset"] for each in editor.journal("explain")] == [21, 27, 21]


async def test_a_refused_explanation_leaves_what_is_known_and_says_why(start):
    async with start() as editor:
        editor.open(URI, BUGGY + "# NO_WHY\n")
        await editor.shown(URI, 1, 1)
        hover = await editor.hover(URI, 1, 12)
        assert "latent 7" in hover.contents.value
        assert "expected a scope of at most 1,024 tokens" in hover.contents.value


async def test_any_token_is_explained_when_a_person_asks_and_its_hover_tells_from_then_on(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        answer = await editor.command("ace.explainHere", URI, {"line": 0, "character": 4})
        assert answer.attribution["target"]["text"] == "f"
        assert [each["expectation"] for each in editor.journal("explain")] == [True]
        (shown,) = editor.documents_shown
        assert "besides it the model expects" in Path(urlsplit(shown.uri).path).read_text()
        hover = await editor.hover(URI, 0, 4)
        assert "`beta`" in hover.contents.value
        editor.edit(URI, (0, 0, 0, 0), "\n")
        assert await editor.hover(URI, 1, 4) is None


async def test_without_documents_an_explanation_is_a_message_and_it_can_be_left_to_a_plugin(start):
    async with start("emacs") as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        where = {"line": 1, "character": 11}
        await editor.command("ace.explainHere", URI, where, {"show": False})
        assert editor.client.messages == []
        await editor.command("ace.explainHere", URI, where)
        assert "layer 1, head 0" in editor.client.messages[0].message


async def test_an_explanation_that_was_asked_for_shows_progress_and_its_cancel_ends_it(start):
    async with start() as editor:
        editor.open(URI, LONG_WHY)
        await editor.shown(URI, 1, 1)
        command = asyncio.ensure_future(editor.command("ace.explainHere", URI, {"line": 0, "character": 4}))
        token = await editor.until(lambda: bar_of(editor, "ACE: explaining"))
        reports = editor.client.progress_reports[token]
        await editor.until(lambda: any(getattr(each, "message", "") == "working" for each in reports))
        editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        with pytest.raises(JsonRpcException, match="cancelled") as caught:
            await command
        assert caught.value.code == -32800
        await editor.until(lambda: editor.journal("cancelled"))
        assert reports[-1].kind == "end"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ["file:///nowhere.py", {"line": 0, "character": 0}],
            -32803,
            "expected a place in a Python document",
        ),
        ([URI, {"line": -1, "character": 0}], -32602, "expected {line, character}"),
        ([URI, "here"], -32602, "expected {line, character}, got 'here'"),
        ([URI, {"line": 0, "character": 0}, {"sow": True}], -32602, "expected one of show, html, got 'sow'"),
        ([URI, {"line": 0, "character": 0}, {"show": 1}], -32602, "show: expected bool, got 1"),
        ([URI, {"line": 0, "character": 0}, 3], -32602, "expected options by name, got 3"),
    ],
)
async def test_wrong_arguments_are_answered_with_what_was_expected(start, arguments, code, told):
    async with start() as editor:
        with pytest.raises(JsonRpcException, match=told) as caught:
            await editor.command("ace.explainHere", *arguments)
        assert caught.value.code == code


async def test_a_hover_does_not_wait_for_a_model_that_cannot_be_loaded(start):
    async with start(worker_options=("--refuse", "expected a bundle")) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.client.messages)
        assert await editor.hover(URI, 1, 12) is None


def bar_of(editor, title: str) -> str | None:
    reports = editor.client.progress_reports
    return next((token for token, seen in reports.items() if seen and seen[0].title == title), None)


def test_the_profiles_are_those_of_the_editors_and_differ_in_what_matters():
    folder = Path(__file__).parent / "profiles"
    said = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    edits = {
        name: each["workspace"]["workspaceEdit"].get("documentChanges", False) for name, each in said.items()
    }
    assert edits == {"vscode": True, "neovim": False, "emacs": True}
    assert said["neovim"]["general"]["positionEncodings"][0] == "utf-8"
    assert said["emacs"]["general"]["positionEncodings"][0] == "utf-32"


async def test_a_plugin_gets_an_explanation_as_a_page_when_it_asks_for_one(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        where = {"line": 1, "character": 11}
        answer = await editor.command("ace.explainHere", URI, where, {"show": False, "html": True})
        assert answer.html.startswith("<!doctype html>") and "<script" not in answer.html
        assert "Content-Security-Policy" in answer.html
