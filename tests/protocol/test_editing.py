"""Edits of the model from the editor: shown, agreed to, made, taken back; and that no is no."""

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcMethodNotFound

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"
EDIT = {"kind": "comparison"}
PROFILES = pytest.mark.parametrize("profile", ["vscode", "neovim", "emacs"])
SET = {"model": {"name": "toy"}}


async def findings(editor, count: int) -> None:
    """Wait until the document is known to have so many."""

    async def pulled() -> bool:
        return len((await editor.pull(URI)).items) == count

    if editor.capabilities.diagnostic_provider is None:
        await editor.shown(URI, 1, count)
        newest = [each for each in editor.published if each.uri == URI][-1]
        assert len(newest.diagnostics) == count
        return
    async with asyncio.timeout(editor.patience):
        while not await pulled():
            await asyncio.sleep(0.02)


def said(editor) -> str:
    return "\n".join(each.message for each in editor.client.messages)


@PROFILES
async def test_a_preview_says_what_changes_and_what_that_does_and_writes_nothing(start, profile):
    async with start(profile, configuration=SET) as editor:
        editor.open(URI, BUGGY)
        told = await editor.command("ace.edit.preview", {"words": ["BUG"], "uri": URI, "mu": 2.0})
        assert told.name == "toy-edit1" and "3 rows change" in told.told
        await editor.until(lambda: "perplexity: 5.1 -> 5.2" in said(editor))
        ((preview,), asked) = editor.journal("preview"), editor.asked
        assert preview["request"] == {"words": ["BUG"], "texts": [BUGGY], "mu": 2.0}
        assert editor.journal("apply") == [] and asked == []


async def test_latents_and_kinds_are_read_in_the_document_too_and_directions_in_none(start):
    async with start(**SET) as editor:
        editor.open(URI, BUGGY)
        for request in ({"latents": [3]}, EDIT, {"direction": "latent:3"}):
            await editor.command("ace.edit.preview", {**request, "uri": URI})
            texts = {} if "direction" in request else {"texts": [BUGGY]}
            assert editor.journal("preview")[-1]["request"] == {**request, **texts}


@PROFILES
async def test_what_is_agreed_to_is_made_taken_and_taken_back(start, profile):
    async with start(profile, configuration=SET) as editor:
        editor.answers = "Apply"
        editor.open(URI, BUGGY)
        await findings(editor, 1)
        made = await editor.command("ace.edit.apply", EDIT)
        assert made.applied and made.model == "toy-edit1"
        (asked,) = editor.asked
        assert "toy-edit1" in asked.message and "3 rows change" in asked.message
        assert [each.title for each in asked.actions or ()] == ["Apply", "Cancel"]
        ((apply,),) = (editor.journal("apply"),)
        assert apply["fingerprint"] == "print of toy"
        assert apply["request"] == {**EDIT, "name": "toy-edit1"}
        await findings(editor, 0)
        status = await editor.command("ace.showStatus")
        assert status.info["model"] == "toy-edit1" and status.info["edited_from"] == "toy"
        assert "toy-edit1 (edited from toy)" in said(editor)
        undone = await editor.command("ace.edit.undo")
        assert (undone.left, undone.model) == (0, "toy")
        await findings(editor, 1)
        assert [each["settings"]["model"]["name"] for each in editor.journal("load")] == [
            "toy",
            "toy-edit1",
            "toy",
        ]


@PROFILES
@pytest.mark.parametrize("answer", ["Cancel", None])
async def test_whoever_does_not_agree_has_nothing_written(start, profile, answer):
    async with start(profile, configuration=SET) as editor:
        editor.answers = answer
        editor.open(URI, BUGGY)
        told = await editor.command("ace.edit.apply", EDIT)
        assert not told.applied and len(editor.asked) == 1
        assert ("ace edit apply" in told.reason) is (answer is None)
        assert editor.journal("apply") == [] and len(editor.journal("load")) == 1


async def test_a_client_that_can_not_ask_is_told_how_it_is_done_without_it(start):
    async with start("bare", **SET) as editor:

        def refuse(_):
            raise JsonRpcMethodNotFound

        editor.client.protocol.fm.features[types.WINDOW_SHOW_MESSAGE_REQUEST] = refuse
        told = await editor.command("ace.edit.apply", EDIT)
        assert not told.applied and editor.journal("apply") == []
        await editor.until(lambda: "`ace edit apply`" in said(editor))


async def test_a_second_edit_of_a_model_is_seen_and_taken_back_alone(start):
    async with start(**SET) as editor:
        editor.answers = "Apply"
        await editor.command("ace.edit.apply", EDIT)
        await editor.command("ace.edit.apply", {**EDIT, "name": "toy-edit1"})
        assert editor.journal("apply")[1]["fingerprint"] == "print of toy-edit1"
        editor.open(URI, BUGGY)
        await editor.done()
        once = await editor.command("ace.edit.undo")
        assert (once.left, once.model) == (1, "toy-edit1")
        twice = await editor.command("ace.edit.undo", {"name": "toy-edit1"})
        assert (twice.left, twice.model) == (0, "toy")
        await findings(editor, 1)
        names = [each["settings"]["model"]["name"] for each in editor.journal("load")]
        assert names[:3] == ["toy", "toy-edit1", "toy-edit1"] and names[-1] == "toy"


async def test_the_base_is_taken_also_where_the_edited_model_is_the_one_that_is_set(start):
    async with start(configuration=SET) as editor:
        editor.answers = "Apply"
        await editor.command("ace.edit.apply", EDIT)
        await editor.command("ace.switchModel", "toy-edit1")
        editor.configure({"model": {"name": "toy-edit1"}})
        editor.open(URI, BUGGY)
        assert (await editor.command("ace.analyzeFile", URI)).findings == 0
        assert (await editor.command("ace.edit.undo")).model == "toy"
        assert (await editor.command("ace.analyzeFile", URI)).findings == 1


async def test_undoing_an_edit_of_a_model_that_is_not_used_changes_nothing_here(start):
    async with start(**SET) as editor:
        editor.answers = "Apply"
        await editor.command("ace.edit.apply", EDIT)
        await editor.command("ace.switchModel", "other")
        undone = await editor.command("ace.edit.undo", {"name": "toy-edit1"})
        assert (undone.left, undone.model) == (0, "other")
        assert (await editor.command("ace.showStatus")).info["model"] == "other"


@PROFILES
@pytest.mark.parametrize(("kind", "at"), [("slow", "preview"), ("slow_apply", "apply")])
async def test_cancelling_leaves_nothing(start, profile, kind, at):
    async with start(profile, configuration=SET) as editor:
        editor.answers = "Apply"
        command = asyncio.ensure_future(editor.command("ace.edit.apply", {"kind": kind}))
        await editor.until(lambda: editor.journal(at))
        title = "ACE: planning an edit of the model" if at == "preview" else "ACE: editing the model"

        def bar():
            for token, reports in editor.client.progress_reports.items():
                if len(reports) > 1 and getattr(reports[0], "title", None) == title:
                    return token
            return None

        token = await editor.until(bar)
        cancel = types.WorkDoneProgressCancelParams(token=token)
        editor.client.window_work_done_progress_cancel(cancel)
        assert vars(await command) == {"applied": False, "reason": "cancelled"}
        await editor.until(lambda: editor.journal("cancelled"))
        assert (await editor.command("ace.showStatus")).info["model"] == "toy"
        with pytest.raises(JsonRpcException, match="expected an edited model"):
            await editor.command("ace.edit.undo", {"name": "toy-edit1"})


async def test_cancelling_the_request_leaves_nothing_either(start):
    async with start(**SET) as editor:
        editor.answers = "Apply"
        params = types.ExecuteCommandParams(command="ace.edit.apply", arguments=[{"kind": "slow_apply"}])
        waiting = editor.client.protocol.send_request("workspace/executeCommand", params, msg_id="mine")
        await editor.until(lambda: editor.journal("apply"))
        editor.client.cancel_request(types.CancelParams(id="mine"))
        with pytest.raises(JsonRpcException):
            await asyncio.wrap_future(waiting)
        await editor.until(lambda: editor.journal("cancelled"))
        assert (await editor.command("ace.showStatus")).info["model"] == "toy"


@pytest.mark.parametrize("command", ["ace.edit.preview", "ace.edit.apply"])
@pytest.mark.parametrize(
    ("request_", "code", "told"),
    [
        ({"kind": "unknown"}, -32803, r"expected a kind that has error features \(comparison\), got 'unk"),
        ({"words": ["a"], "uri": "file:///no.py"}, -32803, "expected a Python document that is open"),
        ({"words": ["a"], "uri": 3}, -32602, "expected the address of a document, got 3"),
        (3, -32602, "expected options by name, got 3"),
    ],
)
async def test_what_can_not_be_done_is_told(start, command, request_, code, told):
    async with start(**SET) as editor:
        with pytest.raises(JsonRpcException, match=told) as caught:
            await editor.command(command, request_)
        assert caught.value.code == code
        assert editor.asked == [] and editor.journal("apply") == []


async def test_what_the_worker_dies_of_is_not_done_twice(start):
    async with start(**SET) as editor:
        editor.answers = "Apply"
        with pytest.raises(JsonRpcException, match="`ace edit list` tells whether it was done"):
            await editor.command("ace.edit.apply", {"kind": "dies"})
        assert (await editor.command("ace.edit.undo", {"name": "toy-edit1"})).left == 0
        assert len(editor.journal("apply")) == 1


@pytest.mark.parametrize(
    ("what", "told"),
    [({"name": "none"}, "expected an edited model"), ({"name": 3}, "name: expected str, got 3")],
)
async def test_undoing_what_is_not_there_is_told(start, what, told):
    async with start(**SET) as editor:
        with pytest.raises(JsonRpcException, match=told):
            await editor.command("ace.edit.undo", what)


EXAMPLE = Path(__file__).parents[2] / "ace_analysis/examples/buggy_example.py"
LATENT = "latent:3"


@pytest.fixture
def own_ledger(monkeypatch, tmp_path):
    """The user's weights, and a ledger of the test's own; the server inherits it."""
    models = pytest.importorskip("ace_analysis.model.conversions").models_dir()
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "models").symlink_to(models, target_is_directory=True)
    # No scores can be kept in a file that is a folder: each model has to be run.
    (tmp_path / "cache" / "results" / "results.sqlite").mkdir(parents=True)
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edits"


def shown(items: list[types.Diagnostic]) -> list[tuple]:
    """All that a person is told of findings, with every digit that the server sends."""
    return sorted((str(each.range), each.message, str(each.data)) for each in items)


@pytest.mark.model
@pytest.mark.slow
async def test_with_the_real_model_an_edit_is_shown_made_seen_in_the_status_and_undone_to_the_bit(
    start, own_ledger
):
    from ace_analysis.model.disk import sha256_of
    from ace_analysis.model.store import resolve_model

    async with start("vscode", worker={"command": []}) as editor:
        editor.patience, editor.answers, uri = 300.0, "Apply", EXAMPLE.as_uri()
        editor.open(uri, EXAMPLE.read_text())
        await editor.command("ace.analyzeFile", uri)
        before = shown((await editor.pull(uri)).items)
        base = (await editor.command("ace.showStatus")).info
        weights = resolve_model(base["model"]).folder / "model.safetensors"
        checksum = sha256_of(weights)
        request = {"direction": LATENT, "strength": 4.0, "measure": False, "name": "tried"}
        told = await editor.command("ace.edit.preview", request)
        assert told.name == "tried" and "mlp.down: all 4,864 rows" in told.told
        assert told.fingerprint_before == base["fingerprint"] and not own_ledger.exists()
        made = await editor.command("ace.edit.apply", request)
        assert made.applied and made.receipt["sha256"] == told.sha256
        await editor.command("ace.analyzeFile", uri)
        edited = (await editor.command("ace.showStatus")).info
        assert (edited["model"], edited["edited_from"]) == ("tried", base["model"])
        assert edited["fingerprint"] == told.fingerprint_after != base["fingerprint"]
        assert shown((await editor.pull(uri)).items) != before
        undone = await editor.command("ace.edit.undo")
        assert (undone.left, undone.model) == (0, base["model"])
        again = await editor.command("ace.analyzeFile", uri)
        assert again.analysed == again.scopes > 0
        assert (await editor.command("ace.showStatus")).info["fingerprint"] == base["fingerprint"]
        assert shown((await editor.pull(uri)).items) == before
        assert sha256_of(weights) == checksum
