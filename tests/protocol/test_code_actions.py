"""Code actions: offered at once, generating only when one is chosen, and edits for one version only."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"
PLACE = (1, 12, 1, 12)
PROFILES = ["vscode", "neovim", "emacs"]


async def found(editor, uri: str = URI, text: str = BUGGY) -> None:
    """Open a text with a finding and wait until it is shown."""
    editor.open(uri, text)
    await editor.until(lambda: editor.refreshes or any(each.diagnostics for each in editor.published))


def titled(actions, words: str):
    (action,) = [each for each in actions if words in each.title]
    return action


async def offered(editor, words: str):
    """An action once it is there: the server hears a moment later of what the worker has done."""
    while not any(words in each.title for each in await editor.actions(URI, PLACE)):
        await asyncio.sleep(0.02)
    return titled(await editor.actions(URI, PLACE), words)


@pytest.mark.parametrize("profile", PROFILES)
async def test_offered_run_applied_and_then_clean(start, profile):
    async with start(profile) as editor:
        await found(editor)
        action = titled(await editor.actions(URI, PLACE), "Look for a fix")
        assert (action.kind, action.edit) == ("quickfix", None)
        assert editor.journal("fix") == []
        answer = await editor.run_command_of(action)
        assert (answer.applied, answer.reason) == (True, "")
        assert editor.texts[URI] == "def f(a):\n    return GOOD\n"
        (edit,) = editor.edits
        assert bool(edit.document_changes) is (profile != "neovim")
        assert bool(edit.changes) is (profile == "neovim")
        await editor.done(2)
        assert await editor.actions(URI, PLACE) == []


async def test_neither_asking_nor_resolving_generates(start):
    async with start("vscode") as editor:
        await found(editor)
        for only in ((), ("quickfix",), ("refactor.rewrite",), ("source.fixAll",)):
            await editor.actions(URI, (0, 0, 1, 14), *only)
        assert not editor.capabilities.code_action_provider.resolve_provider
        with pytest.raises(JsonRpcException):
            await editor.client.code_action_resolve_async(types.CodeAction(title="x"))
        assert editor.journal("fix") == [] and editor.journal("explain") == []


async def test_only_what_is_asked_for_is_offered_and_nothing_is_done_on_saving(start):
    async with start("vscode") as editor:
        await found(editor)
        selection = (1, 11, 1, 14)
        assert {each.kind for each in await editor.actions(URI, selection, "quickfix")} == {"quickfix"}
        assert {each.kind for each in await editor.actions(URI, selection, "refactor")} == {
            "refactor.rewrite.ace"
        }
        assert {each.kind for each in await editor.actions(URI, selection, "")} >= {"quickfix"}
        for kind in ("source", "source.fixAll", "source.organizeImports", "quickfixes"):
            assert await editor.actions(URI, selection, kind) == []
        assert await editor.actions(URI, PLACE, "refactor") == []
        assert await editor.actions(URI, (0, 5, 0, 5)) == []
        assert await editor.actions("file:///nowhere.py", PLACE) == []


async def test_a_selection_is_rewritten_without_a_finding(start):
    async with start() as editor:
        await found(editor)
        (action,) = await editor.actions(URI, (0, 4, 0, 5))
        assert action.kind == "refactor.rewrite.ace"
        assert (await editor.run_command_of(action)).applied
        assert editor.texts[URI] == "def GOOD(a):\n    return BUG\n"
        assert (editor.journal("fix")[0]["start"], editor.journal("fix")[0]["end"]) == (4, 5)


async def test_what_was_written_for_a_selection_is_at_hand_when_it_is_undone(start):
    selection = (0, 4, 0, 5)
    async with start("vscode") as editor:
        await found(editor)
        (action,) = await editor.actions(URI, selection, "refactor")
        assert list(action.tags) == [types.CodeActionTag.LlmGenerated]
        assert (await editor.run_command_of(action)).applied
        editor.replace(URI, BUGGY)
        while len(actions := await editor.actions(URI, selection, "refactor")) < 3:
            await asyncio.sleep(0.02)
        edit = titled(actions, "`f` becomes `FINE`")
        assert (edit.kind, edit.command) == ("refactor.rewrite.ace", None)
        editor.apply(edit.edit)
        assert editor.texts[URI] == "def FINE(a):\n    return BUG\n"
        assert len(editor.journal("fix")) == 1


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_candidate_at_hand_is_a_plain_edit_as_long_as_the_text_is_the_same(start, profile):
    async with start(profile) as editor:
        await found(editor)
        action = titled(await editor.actions(URI, PLACE), "Look for a fix")
        uri, where, options = action.command.arguments
        answer = await editor.command("ace.regenerate", uri, where, {**as_dict(options), "apply": False})
        assert not answer.applied and [each["replacement"] for each in answer.fixes] == ["GOOD", "FINE"]
        assert editor.edits == []
        actions = await editor.actions(URI, PLACE)
        fix = titled(actions, "`BUG` becomes `FINE`")
        assert fix.command is None and fix.kind == "quickfix" and fix.is_preferred is None
        assert (types.CodeActionTag.LlmGenerated in (fix.tags or ())) is (profile == "vscode")
        assert titled(actions, "Look for another fix")
        editor.apply(fix.edit)
        assert editor.texts[URI] == "def f(a):\n    return FINE\n"
        editor.replace(URI, BUGGY)
        await offered(editor, "`BUG` becomes `GOOD`")
        assert len(editor.journal("fix")) == 1


async def test_only_what_the_users_tests_have_passed_is_preferred(start):
    async with start("vscode") as editor:
        await found(editor, text=BUGGY + "# TESTED\n")
        where = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
        await editor.command("ace.regenerate", URI, where, {"apply": False})
        actions = await editor.actions(URI, PLACE)
        assert titled(actions, "GOOD").is_preferred is True
        assert "the tests pass" in titled(actions, "GOOD").title
        assert all(each.is_preferred is None for each in actions if "GOOD" not in each.title)


async def test_progress_is_there_while_it_works_and_a_cancel_ends_it(start):
    async with start() as editor:
        await found(editor, text=BUGGY + "# LONG_FIX\n")
        action = titled(await editor.actions(URI, PLACE), "Look for a fix")
        command = asyncio.ensure_future(editor.run_command_of(action))
        token = await editor.until(lambda: bar_of(editor))
        reports = editor.client.progress_reports[token]
        assert reports[0].cancellable
        await editor.until(lambda: any(getattr(each, "message", "") == "working" for each in reports))
        editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        answer = await command
        assert (answer.applied, answer.reason) == (False, "cancelled")
        await editor.until(lambda: editor.journal("cancelled"))
        assert editor.edits == [] and editor.texts[URI].startswith(BUGGY)


async def test_progress_is_there_before_the_model_is_and_can_be_cancelled_then(start, tmp_path):
    """Counted, not timed: the bar begins, and says something, while the worker has not even loaded."""
    never = str(tmp_path / "never")
    async with start("vscode", worker_options=("--load-until", never)) as editor:
        editor.open(URI, BUGGY)
        where = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
        command = asyncio.ensure_future(editor.command("ace.regenerate", URI, where))
        token = await editor.until(lambda: bar_of(editor))
        begin = editor.client.progress_reports[token][0]
        assert begin.cancellable and begin.title
        assert editor.journal("fix") == [] and not command.done()
        editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        assert (await command).reason == "cancelled"
        assert editor.edits == [] and editor.journal("fix") == []


async def test_cancelling_the_request_leaves_no_edit(start):
    async with start() as editor:
        await found(editor, text=BUGGY + "# LONG_FIX\n")
        action = titled(await editor.actions(URI, PLACE), "Look for a fix")
        params = types.ExecuteCommandParams(action.command.command, action.command.arguments)
        waiting = editor.client.protocol.send_request("workspace/executeCommand", params, msg_id="mine")
        await editor.until(lambda: editor.journal("fix"))
        editor.client.cancel_request(types.CancelParams(id="mine"))
        with pytest.raises(JsonRpcException) as caught:
            await asyncio.wrap_future(waiting)
        assert caught.value.code == -32800
        await editor.until(lambda: editor.journal("cancelled"))
        assert editor.edits == []


async def test_what_is_made_for_an_old_version_is_refused_and_can_be_tried_again(start):
    async with start() as editor:
        editor.answers = "Try again"
        await found(editor, text=BUGGY + "# LONG_FIX\n")
        action = titled(await editor.actions(URI, PLACE), "Look for a fix")
        command = asyncio.ensure_future(editor.run_command_of(action))
        await editor.until(lambda: editor.journal("fix"))
        editor.replace(URI, "# more\n" + BUGGY)
        answer = await command
        assert not answer.applied and "changed meanwhile" in answer.reason
        assert [each.message for each in editor.asked] == [answer.reason]
        await editor.until(lambda: editor.journal("cancelled"))
        await editor.until(lambda: editor.edits)
        assert editor.texts[URI] == "# more\ndef f(a):\n    return GOOD\n"


async def test_an_action_of_an_old_version_is_refused_before_anything_is_generated(start):
    async with start() as editor:
        await found(editor)
        action = titled(await editor.actions(URI, PLACE), "Look for a fix")
        editor.replace(URI, "# more\n" + BUGGY)
        answer = await editor.run_command_of(action)
        assert not answer.applied and "changed meanwhile" in answer.reason
        await editor.until(lambda: editor.asked)
        assert editor.journal("fix") == [] and editor.edits == []


async def test_a_read_only_document_is_left_alone_and_the_editors_reason_is_told(start):
    async with start() as editor:
        editor.refuses = "the document is read-only"
        await found(editor)
        answer = await editor.run_command_of(titled(await editor.actions(URI, PLACE), "Look for a fix"))
        assert not answer.applied and "the document is read-only" in answer.reason
        await editor.until(lambda: editor.asked)
        assert editor.texts[URI] == BUGGY
        assert titled(await editor.actions(URI, PLACE), "`BUG` becomes `GOOD`")


async def test_an_untitled_document_is_fixed_like_any_other(start):
    uri = "untitled:Untitled-1"
    async with start("vscode") as editor:
        await found(editor, uri)
        assert (
            await editor.run_command_of(titled(await editor.actions(uri, PLACE), "Look for a fix"))
        ).applied
        assert "GOOD" in editor.texts[uri]


async def test_a_client_that_knows_only_commands_gets_commands(start):
    async with start("bare") as editor:
        await found(editor)
        actions = await editor.actions(URI, PLACE)
        assert [action.command for action in actions] == ["ace.regenerate", "ace.explainHere"]
        answer = await editor.command(actions[0].command, *actions[0].arguments)
        assert not answer.applied and "takes no edits" in answer.reason


async def test_where_nothing_passes_the_checks_it_is_said(start):
    async with start() as editor:
        await found(editor, text=BUGGY + "# NO_FIX\n")
        answer = await editor.run_command_of(titled(await editor.actions(URI, PLACE), "Look for a fix"))
        assert not answer.applied and answer.fixes == []
        assert "passes all of its checks" in editor.client.messages[0].message


async def test_a_place_that_the_engine_refuses_is_told_and_leaves_no_edit_and_no_bar(start):
    async with start("vscode") as editor:
        await found(editor, text=BUGGY + "# REFUSE_FIX\n")
        with pytest.raises(JsonRpcException, match="a place with code on it") as caught:
            await editor.run_command_of(titled(await editor.actions(URI, PLACE), "Look for a fix"))
        assert caught.value.code == -32803
        assert editor.edits == [] and editor.texts[URI] == BUGGY + "# REFUSE_FIX\n"
        assert (await editor.command("ace.showStatus", {"show": False})).progressBars == 0


async def test_an_edit_asks_to_be_confirmed_only_where_the_user_wants_it(start):
    async with start("vscode", previewFix=True) as editor:
        await found(editor)
        assert (
            await editor.run_command_of(titled(await editor.actions(URI, PLACE), "Look for a fix"))
        ).applied
        (annotation,) = editor.edits[0].change_annotations.values()
        assert annotation.needs_confirmation and "`BUG` becomes `GOOD`" in annotation.label


@pytest.mark.parametrize("profile", PROFILES)
async def test_ignoring_is_an_edit_and_hides_the_finding(start, profile):
    async with start(profile) as editor:
        await found(editor)
        actions = await editor.actions(URI, PLACE)
        editor.apply(titled(actions, "Ignore this finding").edit)
        assert editor.texts[URI] == "def f(a):\n    return BUG  # ace: ignore[comparison]\n"
        editor.replace(URI, BUGGY)
        editor.apply((await offered(editor, "in this file")).edit)
        assert editor.texts[URI] == "# ace: ignore-file[comparison]\n" + BUGGY


async def test_the_explanation_is_among_the_actions(start):
    async with start() as editor:
        await found(editor)
        answer = await editor.run_command_of(titled(await editor.actions(URI, PLACE), "Explain"))
        assert answer.attribution["target"]["text"] == "BUG"


async def test_actions_name_the_diagnostics_that_they_are_about_even_without_data(start):
    async with start() as editor:
        await found(editor)
        (diagnostic,) = await editor.shown(URI, 1, 1)
        diagnostic.data = None
        other = types.Diagnostic(range=diagnostic.range, message="E1", source="other", code="comparison")
        action = titled(await editor.actions(URI, PLACE, diagnostics=[diagnostic, other]), "Look for a fix")
        assert [each.source for each in action.diagnostics] == ["ace"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ["file:///no.py", {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}],
            -32803,
            "is open",
        ),
        ([URI, {"start": 3}], -32602, "expected {line, character}"),
        ([URI], -32602, "missing a required argument"),
    ],
)
async def test_wrong_arguments_are_answered_with_what_was_expected(start, arguments, code, told):
    async with start() as editor:
        await found(editor)
        with pytest.raises(JsonRpcException, match=told) as caught:
            await editor.command("ace.regenerate", *arguments)
        assert caught.value.code == code


def as_dict(options) -> dict:
    return options if isinstance(options, dict) else options._asdict()


def bar_of(editor) -> str | None:
    reports = editor.client.progress_reports
    return next((token for token, seen in reports.items() if seen and "fix" in seen[0].title), None)


async def test_the_users_tests_are_run_only_with_consent_which_is_asked_for_once(start, tmp_path):
    uri = (tmp_path / "a.py").as_uri()
    where = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
    async with start(roots=(tmp_path,), fix={"test": "pytest -q", "testSeconds": 9}) as editor:
        await found(editor, uri)
        for answer in (None, "Not now", "Run them", None):
            editor.answers = answer
            await editor.command("ace.regenerate", uri, where, {"apply": False})
        tests = [each["options"].get("test") for each in editor.journal("fix")]
        wanted = {"command": "pytest -q", "path": str(tmp_path / "a.py"), "seconds": 9.0}
        assert tests == [None, None, wanted, wanted]
        assert len(editor.asked) == 3
        assert f"run `pytest -q` on copies of {tmp_path}" in editor.asked[0].message
        editor.open("untitled:1", BUGGY)
        await editor.command("ace.regenerate", "untitled:1", where, {"apply": False})
        assert "test" not in editor.journal("fix")[-1]["options"]
