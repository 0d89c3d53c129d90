"""Pausing, another model, and what may be switched on."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"


async def test_paused_nothing_is_analysed_unasked_and_what_is_shown_moves_with_the_text(start):
    capabilities = types.ClientCapabilities(experimental={"serverStatusNotification": True})
    async with start(capabilities=capabilities) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        await editor.command("ace.pause")
        assert editor.statuses[-1]["message"].startswith("paused")
        version = editor.edit(URI, (0, 0, 0, 0), "BUG\n")
        (moved,) = await editor.shown(URI, version, 1)
        assert moved.range.start.line == 2
        hover = await editor.hover(URI, 2, 12)
        assert "latent 7" in hover.contents.value and editor.journal("explain") == []
        status = await editor.command("ace.showStatus")
        assert status.paused and len(editor.journal("scan")) == 1
        await editor.command("ace.resume")
        await editor.shown(URI, version, 2)
        assert not editor.statuses[-1]["message"].startswith("paused")


async def test_a_person_who_asks_is_answered_also_while_paused(start):
    async with start() as editor:
        await editor.command("ace.pause")
        editor.open(URI, BUGGY)
        assert (await editor.command("ace.analyzeFile", URI)).findings == 1


async def test_another_model_is_taken_until_the_server_ends_or_the_set_one_is_wanted_again(start):
    async with start(configuration={"model": {"name": "mine"}}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        assert (await editor.command("ace.switchModel", "other")).model == "other"
        await editor.done(2)
        editor.configure({"model": {"name": "mine"}, "debounce": 31})
        await editor.done(3)
        assert (await editor.command("ace.switchModel")).model == "mine"
        await editor.done(4)
        assert [each["settings"]["model"]["name"] for each in editor.journal("load")] == [
            "mine",
            "other",
            "mine",
        ]
        with pytest.raises(JsonRpcException, match="expected the name of a model, got 3"):
            await editor.command("ace.switchModel", 3)


async def test_lenses_and_hints_are_off_until_they_are_switched_on_and_refreshed(start):
    async with start("vscode", configuration={}) as editor:
        refreshed = []
        features = editor.client.protocol.fm.features
        features[types.WORKSPACE_CODE_LENS_REFRESH] = lambda _: refreshed.append("lens")
        features[types.WORKSPACE_INLAY_HINT_REFRESH] = lambda _: refreshed.append("hint")
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.refreshes)
        document = types.TextDocumentIdentifier(URI)
        whole = types.Range(types.Position(0, 0), types.Position(9, 0))
        lens, hint = types.CodeLensParams(document), types.InlayHintParams(document, whole)
        assert not await editor.client.text_document_code_lens_async(lens)
        assert not await editor.client.text_document_inlay_hint_async(hint)
        editor.configure({"codeLens": True, "inlayHints": True})
        await editor.done(2)
        await editor.command("ace.showStatus")
        (shown,) = await editor.client.text_document_code_lens_async(lens)
        assert (shown.range.start.line, shown.command.command) == (0, "ace.explainHere")
        (shown,) = await editor.client.text_document_inlay_hint_async(hint)
        assert (shown.label, shown.position) == ("0.90", types.Position(1, 14))
        assert refreshed == []
        editor.edit(URI, (0, 0, 0, 0), "BUG\n")
        await editor.until(lambda: set(refreshed) == {"lens", "hint"})


async def test_the_diagnostics_lead_to_local_pages_where_the_client_shows_that(start):
    async with start("vscode") as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.refreshes)
        (diagnostic,) = (await editor.pull(URI)).items
        assert diagnostic.code_description.href.endswith("ace_lsp/pages/comparison.md")
    async with start("emacs") as editor:
        editor.open(URI, BUGGY)
        (diagnostic,) = await editor.shown(URI, 1, 1)
        assert diagnostic.code_description is None


async def test_findings_with_the_same_latent_name_each_other(start):
    async with start() as editor:
        editor.open(URI, BUGGY + "\n\ndef g():\n    return BUG\n")
        first, second = await editor.shown(URI, 1, 2)
        for one, other in ((first, second), (second, first)):
            (also,) = [each for each in one.related_information if "also behind" in each.message]
            assert also.location.range == other.range


async def test_the_report_is_a_page_that_is_opened_in_a_browser(start, monkeypatch, tmp_path):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    async with start() as editor:
        editor.open(URI, BUGGY)
        answer = await editor.command("ace.report", URI)
        assert (answer.findings, answer.explained) == (1, 1)
        (shown,) = editor.documents_shown
        assert shown.external and shown.uri == answer.uri
        page = Path(urlsplit(answer.uri).path).read_text()
        assert "BUG" in page and "/project/a.py" in page
        with pytest.raises(JsonRpcException, match="expected a Python document that is open"):
            await editor.command("ace.report", "file:///no.py")


async def test_without_a_browser_it_is_said_where_the_report_is_and_without_room_why_there_is_none(
    start, monkeypatch, tmp_path
):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    async with start("emacs") as editor:
        editor.open(URI, BUGGY + "# NO_WHY\n")
        answer = await editor.command("ace.report", URI)
        assert (answer.findings, answer.explained) == (1, 0)
        assert answer.uri in editor.client.messages[0].message
        assert "expected a scope of at most" in Path(urlsplit(answer.uri).path).read_text()
        shutil.rmtree(tmp_path / "cache")
        (tmp_path / "cache").write_text("no folder")
        with pytest.raises(JsonRpcException, match="the page can't be written"):
            await editor.command("ace.report", URI)
