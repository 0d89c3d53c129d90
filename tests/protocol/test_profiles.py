"""Every feature with each editor's capabilities: once with the scripted worker, once with the real model.

FEATURES has a check for each request, notification and command that the server takes, and a test fails where
it takes one that has none. The checks of one editor share a server, open documents of their own, and leave
settings as they were.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.capabilities import get_capability
from pygls.exceptions import JsonRpcException

from ace_lsp.server import AceServer

PROFILES = ("vscode", "neovim", "emacs")
ENCODINGS = {"vscode": "utf-16", "neovim": "utf-8", "emacs": "utf-32"}
EXAMPLE = Path(__file__).parents[2] / "ace_analysis/examples/buggy_example.py"
BUGGY = "def f(a):\n    return BUG\n"
REALLY_BUGGY = "def find_user" + EXAMPLE.read_text().split("def find_user")[1].split("\n\n\n")[0] + "\n"
LONG = 300.0
"""Seconds, for what loads the real model."""

LIFECYCLE = {types.INITIALIZE, types.INITIALIZED, types.SHUTDOWN}
"""What every other check needs; what else is to be said of it is in test_conformance.py."""


@dataclass
class Scene:
    """An editor with a folder open, and a text in which the worker finds something."""

    editor: Any
    profile: str
    folder: Path
    text: str
    scripted: bool
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    open: list[str] = field(default_factory=list)

    def can(self, capability: str) -> bool:
        said = get_capability(self.editor.client.capabilities, capability, None)
        return said is not None and said is not False

    @property
    def listens(self) -> bool:
        """To `experimental/serverStatus`, as our plugins have their editors do."""
        said = self.editor.client.capabilities.experimental or {}
        return bool(said.get("serverStatusNotification"))

    @property
    def pulls(self) -> bool:
        return self.profile == "vscode"

    def end(self) -> None:
        """Close what a check has left open."""
        for uri in self.open:
            self.editor.close(uri)
        self.open.clear()

    async def opened(self, text: str | None = None, uri: str | None = None) -> str:
        """A new document, analysed."""
        uri = uri or (self.folder / f"document{next(self.numbers)}.py").as_uri()
        self.editor.open(uri, self.text if text is None else text)
        self.open.append(uri)
        await self.editor.command("ace.analyzeFile", uri)
        return uri

    async def diagnostics(self, uri: str) -> list[types.Diagnostic]:
        """What the editor shows, as it gets it."""
        if self.pulls and not uri.startswith("vscode-notebook-cell"):
            return list((await self.editor.pull(uri)).items)
        told = [each for each in self.editor.published if each.uri == uri]
        return list(told[-1].diagnostics) if told else []

    async def until(self, what: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(self.editor.patience):
            while not (value := await what()):
                await asyncio.sleep(0.02)
        return value

    async def found(self, uri: str) -> list[types.Diagnostic]:
        return await self.until(lambda: self.diagnostics(uri))

    async def gone(self, uri: str) -> None:
        async def none() -> bool:
            return not await self.diagnostics(uri)

        await self.until(none)

    async def first(self, uri: str) -> types.Position:
        return (await self.found(uri))[0].range.start


Check = Callable[[Scene], Awaitable[None]]
FEATURES: dict[str, Check] = {}
"""By method or command."""
WITHOUT_THE_REAL_MODEL: set[Check] = set()
"""What loads the model anew or all of it, with each editor: with real weights it is in test_real_worker.py
and tests/model, once; and what needs a worker that can be made to wait."""


def feature(*names: str, scripted: bool = False) -> Callable[[Check], Check]:
    def listed(check: Check) -> Check:
        FEATURES.update(dict.fromkeys(names, check))
        WITHOUT_THE_REAL_MODEL.update([check] if scripted else [])
        return check

    return listed


# --- documents and what is shown of them


@feature("textDocument/didOpen", "textDocument/publishDiagnostics", "textDocument/diagnostic")
async def findings_come_by_push_or_by_pull_with_what_the_editor_shows(scene: Scene) -> None:
    uri = await scene.opened()
    found = await scene.found(uri)
    pushed = [each for each in scene.editor.published if each.uri == uri]
    assert (scene.editor.capabilities.diagnostic_provider is not None) is scene.pulls
    assert (pushed == []) is scene.pulls
    assert {each.version for each in pushed} <= {1}
    if scene.pulls:
        first = await scene.editor.pull(uri)
        assert (await scene.editor.pull(uri, first.result_id)).kind == "unchanged"
    else:
        with pytest.raises(JsonRpcException, match="textDocument/diagnostic"):
            await scene.editor.pull(uri)
    assert scene.editor.encoding == ENCODINGS[scene.profile]
    for each in found:
        assert (each.source, each.tags) == ("ace", None) and each.data["features"]
        assert (each.code_description is not None) is scene.can(CODE_PAGES)
        assert bool(each.related_information) is scene.can(RELATED)


CODE_PAGES = "text_document.publish_diagnostics.code_description_support"
RELATED = "text_document.publish_diagnostics.related_information"


@feature("textDocument/didChange")
async def findings_move_with_the_text(scene: Scene) -> None:
    uri = await scene.opened()
    before = await scene.first(uri)
    scene.editor.edit(uri, (0, 0, 0, 0), "\n\n")
    await scene.editor.command("ace.analyzeFile", uri)

    async def moved() -> bool:
        return (await scene.first(uri)).line == before.line + 2

    await scene.until(moved)


@feature("textDocument/didSave")
async def on_save_means_on_saving(scene: Scene) -> None:
    uri = await scene.opened()
    await scene.found(uri)
    scene.editor.configure({"enable": False})
    await scene.gone(uri)
    scene.editor.configure({"run": "onSave"})
    await scene.found(uri)
    scene.editor.replace(uri, "x = 1\n")
    await scene.editor.command("ace.analyzeFile", uri)
    await scene.gone(uri)
    scene.editor.replace(uri, scene.text)
    await scene.editor.command("ace.showStatus", {"show": False})
    assert await scene.diagnostics(uri) == []
    scene.editor.save(uri)
    await scene.found(uri)
    scene.editor.configure({})


@feature("textDocument/didClose")
async def closing_takes_back_what_was_shown(scene: Scene) -> None:
    uri = await scene.opened()
    await scene.found(uri)
    scene.end()
    await scene.gone(uri)


@feature("notebookDocument/didOpen", "notebookDocument/didChange", "notebookDocument/didSave")
async def cells_are_analysed_together_and_each_shows_its_own(scene: Scene) -> None:
    notebook, cells = await notebook_of(scene, "import os\n", scene.text)
    assert await scene.diagnostics(cells[0]) == []
    before = await scene.first(cells[1])
    edit = types.NotebookDocumentCellContentChanges(
        document=types.VersionedTextDocumentIdentifier(version=2, uri=cells[1]),
        changes=[types.TextDocumentContentChangeWholeDocument(text="\n" + scene.text)],
    )
    scene.editor.client.notebook_document_did_change(
        types.DidChangeNotebookDocumentParams(
            notebook_document=types.VersionedNotebookDocumentIdentifier(version=2, uri=notebook),
            change=types.NotebookDocumentChangeEvent(
                cells=types.NotebookDocumentCellChanges(text_content=[edit])
            ),
        )
    )
    identifier = types.NotebookDocumentIdentifier(notebook)
    scene.editor.client.notebook_document_did_save(types.DidSaveNotebookDocumentParams(identifier))

    async def moved() -> bool:
        return (await scene.first(cells[1])).line == before.line + 1

    await scene.until(moved)


@feature("notebookDocument/didClose")
async def closing_a_notebook_takes_back_what_its_cells_showed(scene: Scene) -> None:
    notebook, cells = await notebook_of(scene, scene.text)
    await scene.found(cells[0])
    scene.editor.client.notebook_document_did_close(
        types.DidCloseNotebookDocumentParams(
            notebook_document=types.NotebookDocumentIdentifier(notebook),
            cell_text_documents=[types.TextDocumentIdentifier(cells[0])],
        )
    )
    await scene.gone(cells[0])


async def notebook_of(scene: Scene, *texts: str) -> tuple[str, list[str]]:
    """A notebook that is open; the addresses of it and of its cells."""
    number = next(scene.numbers)
    uri = (scene.folder / f"n{number}.ipynb").as_uri()
    cells = [f"vscode-notebook-cell:{urlsplit(uri).path}#{each}" for each in range(len(texts))]
    code = types.NotebookCellKind.Code
    notebook = types.NotebookDocument(
        uri=uri,
        notebook_type="jupyter-notebook",
        version=1,
        cells=[types.NotebookCell(kind=code, document=cell) for cell in cells],
    )
    items = [
        types.TextDocumentItem(uri=cell, language_id="python", version=1, text=text)
        for cell, text in zip(cells, texts, strict=True)
    ]
    scene.editor.client.notebook_document_did_open(
        types.DidOpenNotebookDocumentParams(notebook_document=notebook, cell_text_documents=items)
    )
    return uri, cells


# --- about a place


@feature("textDocument/hover")
async def a_hover_is_markdown_about_the_finding(scene: Scene) -> None:
    uri = await scene.opened()
    found = (await scene.found(uri))[0]
    start = found.range.start
    await scene.editor.command(
        "ace.explainHere", uri, {"line": start.line, "character": start.character}, {"show": False}
    )
    hover = await scene.editor.hover(uri, start.line, start.character)
    assert hover.contents.kind == types.MarkupKind.Markdown and hover.range == found.range
    assert "**ACE: " in hover.contents.value and "%" not in hover.contents.value
    for words in ("Latents that fired", "Source tokens that drive it", "Heads", "Layers", "Unexplained"):
        assert words in hover.contents.value, words


@feature("textDocument/codeAction")
async def actions_offer_fixes_reasons_and_two_ways_to_ignore(scene: Scene) -> None:
    uri = await scene.opened()
    found = await scene.found(uri)
    start = found[0].range.start
    where = (start.line, start.character, start.line, start.character)
    actions = await scene.editor.actions(uri, where, diagnostics=found)
    for words in ("Look for a fix", "Explain", "Ignore this finding", "in this file"):
        assert [each.title for each in actions if words in each.title], words
    assert {each.kind for each in actions} == {"quickfix"}
    assert {each.is_preferred for each in actions} == {None}
    (ignore,) = [each for each in actions if "Ignore this finding" in each.title]
    assert bool(ignore.edit.document_changes) is scene.can("workspace.workspace_edit.document_changes")
    scene.editor.apply(ignore.edit)
    assert "# ace: ignore[" in scene.editor.texts[uri]

    async def fewer() -> bool:
        return len(await scene.diagnostics(uri)) < len(found)

    if not scene.scripted:  # whose worker reads no comments
        await scene.until(fewer)


@feature("textDocument/codeLens", "textDocument/inlayHint")
async def lenses_and_hints_are_there_when_they_are_switched_on(scene: Scene) -> None:
    uri = await scene.opened()
    document = types.TextDocumentIdentifier(uri)
    lens = types.CodeLensParams(document)
    hint = types.InlayHintParams(document, types.Range(types.Position(0, 0), types.Position(999, 0)))
    client = scene.editor.client
    assert not await client.text_document_code_lens_async(lens)
    assert not await client.text_document_inlay_hint_async(hint)
    scene.editor.configure({"codeLens": True, "inlayHints": True})
    lenses = await scene.until(lambda: client.text_document_code_lens_async(lens))
    hints = await scene.until(lambda: client.text_document_inlay_hint_async(hint))
    assert {each.command.command for each in lenses} == {"ace.explainHere"}
    assert len(hints) == len(await scene.found(uri))
    scene.editor.configure({})


# --- settings


@feature("workspace/didChangeConfiguration")
async def settings_are_asked_for_when_they_change(scene: Scene) -> None:
    uri = await scene.opened()
    await scene.found(uri)
    watched = "ace-settings" in {each.id for each in scene.editor.registrations}
    assert watched is scene.can("workspace.did_change_configuration.dynamic_registration")
    scene.editor.configure({"enable": False})
    await scene.gone(uri)
    scene.editor.configure({})
    await scene.found(uri)


@feature("workspace/didChangeWatchedFiles")
async def a_projects_file_counts_once_it_is_written(scene: Scene) -> None:
    uri = await scene.opened()
    await scene.found(uri)
    watched = "ace-files" in {each.id for each in scene.editor.registrations}
    assert watched is scene.can("workspace.did_change_watched_files.dynamic_registration")
    file = scene.folder / "ace.toml"
    name = Path(urlsplit(uri).path).name
    for table, shown in (({"exclude": [name]}, False), ({}, True)):
        exclude = json.dumps(table.get("exclude", []))
        file.write_text(f"[check]\nexclude = {exclude}\n")
        event = types.FileEvent(uri=file.as_uri(), type=types.FileChangeType.Changed)
        scene.editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
        await (scene.found(uri) if shown else scene.gone(uri))
    file.unlink()


@feature("workspace/didChangeWorkspaceFolders")
async def the_deepest_folders_settings_count_as_soon_as_it_is_one(scene: Scene) -> None:
    inner = scene.folder / "inner"
    inner.mkdir()
    uri = await scene.opened(uri=(inner / "a.py").as_uri())
    await scene.found(uri)
    client, folder = scene.editor.client, types.WorkspaceFolder(uri=inner.as_uri(), name="inner")
    client.set_configuration({"enable": False}, section="ace", scope_uri=inner.as_uri())
    for added, removed, shown in (([folder], [], False), ([], [folder], True)):
        event = types.WorkspaceFoldersChangeEvent(added=added, removed=removed)
        client.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(event))
        await (scene.found(uri) if shown else scene.gone(uri))


# --- commands


@feature("ace.analyzeFile")
async def a_document_without_a_file_is_analysed(scene: Scene) -> None:
    uri = await scene.opened(uri=f"untitled:Untitled-{next(scene.numbers)}")
    summary = await scene.editor.command("ace.analyzeFile", uri)
    assert summary.findings == len(await scene.found(uri)) and summary.analysed == 0


@feature("ace.analyzeWorkspace")
async def a_file_that_is_not_open_is_shown(scene: Scene) -> None:
    (scene.folder / "closed.py").write_text(scene.text)
    answer = await scene.editor.command("ace.analyzeWorkspace")
    (scene.folder / "closed.py").unlink()
    assert answer.findings > 0 and not answer.cancelled and answer.problems == []
    uri = (scene.folder / "closed.py").as_uri()
    assert [each for each in scene.editor.published if each.uri == uri][-1].diagnostics


@feature("ace.explainHere")
async def any_token_is_explained_in_a_document_or_else_in_a_message(scene: Scene) -> None:
    uri = await scene.opened()
    line = next(number for number, each in enumerate(scene.text.splitlines()) if each.startswith("def "))
    shown, said = len(scene.editor.documents_shown), len(scene.editor.client.messages)
    answer = await scene.editor.command("ace.explainHere", uri, {"line": line, "character": 4})
    assert answer.attribution["target"]["kind"] == "token"
    if scene.can("window.show_document"):
        assert len(scene.editor.documents_shown) > shown
    else:
        await scene.editor.until(lambda: len(scene.editor.client.messages) > said)


@feature("ace.report")
async def the_report_names_every_finding(scene: Scene) -> None:
    uri = await scene.opened()
    answer = await scene.editor.command("ace.report", uri, {"show": False})
    assert answer.findings == len(await scene.found(uri)) and answer.explained > 0
    assert "<html" in Path(urlsplit(answer.uri).path).read_text()


@feature("ace.regenerate", scripted=True)
async def a_fix_is_put_in_place(scene: Scene) -> None:
    uri = await scene.opened()
    where = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
    assert (await scene.editor.command("ace.regenerate", uri, where)).applied
    assert scene.editor.texts[uri] == "def f(a):\n    return GOOD\n"
    versioned = scene.can("workspace.workspace_edit.document_changes")
    assert bool(scene.editor.edits[-1].document_changes) is versioned


@feature("ace.switchModel", scripted=True)
async def another_model_is_taken_and_the_set_one_again(scene: Scene) -> None:
    before = (await scene.editor.command("ace.switchModel")).model
    assert (await scene.editor.command("ace.switchModel", "other")).model == "other"
    uri = await scene.opened()
    assert (await status_of(scene)).info["model"] == "other"
    assert (await scene.editor.command("ace.switchModel")).model == before
    await scene.editor.command("ace.analyzeFile", uri)


@feature("ace.edit.preview", scripted=True)
async def an_edit_is_shown_and_not_made(scene: Scene) -> None:
    told = await scene.editor.command("ace.edit.preview", {"kind": "comparison"})
    assert told.told and scene.editor.asked == []


@feature("ace.edit.apply", "ace.edit.undo", scripted=True)
async def an_edit_that_is_agreed_to_is_made_and_taken_back(scene: Scene) -> None:
    uri = await scene.opened()
    scene.editor.answers = "Apply"
    made = await scene.editor.command("ace.edit.apply", {"kind": "comparison"})
    assert made.applied and len(scene.editor.asked) == 1
    await scene.editor.command("ace.analyzeFile", uri)
    assert (await status_of(scene)).info["model"] == made.model
    assert (await scene.editor.command("ace.edit.undo")).left == 0
    scene.editor.asked.clear()
    assert (await scene.editor.command("ace.analyzeFile", uri)).findings > 0


@feature("ace.pause", "ace.resume")
async def nothing_is_analysed_unasked_while_it_is_paused(scene: Scene) -> None:
    await scene.editor.command("ace.pause")
    assert (await status_of(scene)).paused
    uri = (scene.folder / f"document{next(scene.numbers)}.py").as_uri()
    scene.editor.open(uri, scene.text)
    await status_of(scene)
    assert await scene.diagnostics(uri) == []
    await scene.editor.command("ace.resume")
    await scene.found(uri)


@feature("ace.restartWorker", scripted=True)
async def the_model_is_started_again(scene: Scene) -> None:
    uri = await scene.opened()
    before = (await status_of(scene)).workerPid
    await scene.editor.command("ace.restartWorker")
    assert (await scene.editor.command("ace.analyzeFile", uri)).findings > 0
    assert (await status_of(scene)).workerPid not in (None, before)


@feature("ace.showStatus")
async def the_status_names_the_model_and_is_told_to_whoever_listens(scene: Scene) -> None:
    await scene.opened()
    said = len(scene.editor.client.messages)
    status = await scene.editor.command("ace.showStatus")
    await scene.editor.until(lambda: len(scene.editor.client.messages) > said)
    assert status.state in ("ready", "busy")
    assert status.info["model"] == "qwen2.5-coder-0.5b-instruct"
    if scene.listens:
        await scene.editor.until(lambda: scene.editor.statuses and scene.editor.statuses[-1]["quiescent"])
    else:
        assert scene.editor.statuses == []


async def status_of(scene: Scene) -> Any:
    return await scene.editor.command("ace.showStatus", {"show": False})


# --- what takes long


@feature("window/workDoneProgress/cancel", scripted=True)
async def what_takes_long_has_a_bar_whose_cancel_ends_it(scene: Scene) -> None:
    uri = await scene.opened(scene.text + "# LONG_FIX\n")
    where = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
    bars = scene.editor.client.progress_reports
    known = set(bars)
    command = asyncio.ensure_future(scene.editor.command("ace.regenerate", uri, where))

    def begun() -> str | None:
        return next((token for token, seen in bars.items() if token not in known and len(seen) > 1), None)

    token = await scene.editor.until(begun)
    assert bars[token][0].cancellable
    scene.editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
    assert (await command).reason == "cancelled"
    await scene.editor.until(lambda: bars[token][-1].kind == "end")


@feature("$/cancelRequest", scripted=True)
async def a_cancelled_request_is_answered_and_its_work_ends(scene: Scene) -> None:
    uri = await scene.opened(scene.text + "# LONG_WHY\n")
    asked, before = len(scene.editor.journal("explain")), len(scene.editor.journal("cancelled"))
    arguments = [uri, {"line": 1, "character": 11}]
    params = types.ExecuteCommandParams(command="ace.explainHere", arguments=arguments)
    send = scene.editor.client.protocol.send_request
    waiting = send(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="mine")
    await scene.editor.until(lambda: len(scene.editor.journal("explain")) > asked)
    scene.editor.client.cancel_request(types.CancelParams(id="mine"))
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wrap_future(waiting)
    assert caught.value.code == types.LSPErrorCodes.RequestCancelled
    await scene.editor.until(lambda: len(scene.editor.journal("cancelled")) > before)


# --- all of them


SCRIPTED = [pytest.param((profile, "scripted"), id=profile) for profile in PROFILES]
REAL = [
    pytest.param((profile, "real"), id=f"{profile}-real", marks=[pytest.mark.model, pytest.mark.slow])
    for profile in PROFILES
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[*SCRIPTED, *REAL])
async def scene(
    request: pytest.FixtureRequest, start_in: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    profile, worker = request.param
    scripted = worker == "scripted"
    folder = tmp_path_factory.mktemp(f"{profile}-{worker}")
    project = folder / "project"
    project.mkdir()
    settings = {} if scripted else {"worker": {"command": []}}
    async with start_in(folder, profile, roots=(project,), configuration={}, **settings) as editor:
        editor.patience = editor.patience if scripted else LONG
        yield Scene(editor, profile, project, BUGGY if scripted else REALLY_BUGGY, scripted)


def named(checks: Iterable[Check]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("check", checks, ids=lambda check: check.__name__)


@named([each for each in dict.fromkeys(FEATURES.values()) if each not in WITHOUT_THE_REAL_MODEL])
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(900)
async def test_in_each_editor(scene: Scene, check: Check) -> None:
    await check(scene)
    scene.end()


@named([each for each in dict.fromkeys(FEATURES.values()) if each in WITHOUT_THE_REAL_MODEL])
@pytest.mark.parametrize("scene", SCRIPTED, indirect=True, scope="module")
@pytest.mark.asyncio(loop_scope="module")
async def test_in_each_editor_with_the_scripted_worker(scene: Scene, check: Check) -> None:
    await check(scene)
    scene.end()


def test_whatever_the_server_takes_has_a_check() -> None:
    server = AceServer()
    pulls = types.DiagnosticWorkspaceClientCapabilities(refresh_support=True)
    server.begin(
        types.InitializeParams(
            capabilities=types.ClientCapabilities(
                text_document=types.TextDocumentClientCapabilities(
                    diagnostic=types.DiagnosticClientCapabilities()
                ),
                workspace=types.WorkspaceClientCapabilities(diagnostics=pulls),
            )
        )
    )
    taken = {*server.protocol.fm.features, *server.protocol.fm.commands} - LIFECYCLE
    assert taken - FEATURES.keys() == set()
    built_in = {types.CANCEL_REQUEST, types.WINDOW_WORK_DONE_PROGRESS_CANCEL}
    assert FEATURES.keys() - taken == {types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, *built_in}
