"""The server's parts, and which LSP method reaches which of them. What the parts do is in their modules.

client ──transport──> protocol ──> here ──> sessions ──> session ──analyst──> worker process
   <───────────── publishing, features/ <──────────────────┘
"""

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from ace_lsp.client import Client
from ace_lsp.documents import AceWorkspace
from ace_lsp.logs import ClientLog
from ace_lsp.protocol import AceProtocol
from ace_lsp.version import installed_version

if TYPE_CHECKING:
    from ace_lsp.parts import Parts

logger = logging.getLogger(__name__)

NOTEBOOKS = types.NotebookDocumentSyncOptions(
    notebook_selector=[
        types.NotebookDocumentFilterWithCells(cells=[types.NotebookCellLanguage(language="python")])
    ],
    save=True,
)


ACTIONS = (types.CodeActionKind.QuickFix, "refactor.rewrite.ace")
"""Kinds of code actions that features/code_actions.py makes."""


class AceServer(LanguageServer):
    """The server of one client."""

    protocol: AceProtocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self) -> None:
        super().__init__(
            "ace-lsp",
            installed_version(),
            notebook_document_sync=NOTEBOOKS,
            protocol_cls=AceProtocol,
            converter_factory=default_converter,
        )
        self.client = Client()
        self.initialization_options: object = None
        self._log = ClientLog(self)
        for register in (_lifecycle, _documents, _notebooks, _settings, _features):
            register(self)
        for register in (_commands, _edits, _controls):
            register(self)

    @cached_property
    def parts(self) -> "Parts":
        """What does the work; see the module for why it is imported so late."""
        from ace_lsp.parts import Parts

        return Parts(self)

    @property
    def documents(self) -> AceWorkspace:
        return cast(AceWorkspace, self.workspace)

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """To the log and never as a popup: whoever asked has the error as the answer."""
        logger.error("%s: %s %s", source.__name__, error, getattr(error, "data", None) or "")

    def begin(self, params: types.InitializeParams) -> None:
        """On `initialize`, before the server's capabilities are told: learn the client's."""
        self.client = Client.of(params.capabilities)
        self.initialization_options = params.initialization_options
        if self.client.pulls:
            _pull(self)

    async def settle_in(self) -> None:
        """On `initialized`: what had to wait until the client may be spoken to."""
        logging.getLogger("ace_lsp").addHandler(self._log)
        await self.parts.watch.settle_in()

    async def close(self) -> None:
        """End everything that runs."""
        logging.getLogger("ace_lsp").removeHandler(self._log)
        if "parts" in self.__dict__:
            await self.parts.close()


def _lifecycle(server: AceServer) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.begin(params)

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        await server.settle_in()

    @server.feature(types.SHUTDOWN)
    async def shutdown(_: None) -> None:
        await server.close()


def _documents(server: AceServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        server.parts.workspace_scan.opened(params.text_document.uri)
        server.parts.sessions.open(server.documents, params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        server.parts.sessions.change(server.documents, params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def did_save(params: types.DidSaveTextDocumentParams) -> None:
        server.parts.sessions.save(server.documents, params.text_document.uri)
        await server.parts.watch.document_saved()

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.parts.sessions.close(params.text_document.uri)


def _notebooks(server: AceServer) -> None:
    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenNotebookDocumentParams) -> None:
        server.parts.sessions.open(server.documents, params.notebook_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeNotebookDocumentParams) -> None:
        server.parts.sessions.change(server.documents, params.notebook_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_SAVE)
    async def did_save(params: types.DidSaveNotebookDocumentParams) -> None:
        server.parts.sessions.save(server.documents, params.notebook_document.uri)
        await server.parts.watch.document_saved()

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseNotebookDocumentParams) -> None:
        server.parts.sessions.close(params.notebook_document.uri)


def _settings(server: AceServer) -> None:
    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        await server.parts.watch.settings_changed(params.settings)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    async def did_change_folders(_: types.DidChangeWorkspaceFoldersParams) -> None:
        await server.parts.watch.folders_changed()

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def did_change_files(params: types.DidChangeWatchedFilesParams) -> None:
        await server.parts.watch.files_changed(params.changes)


def _features(server: AceServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hover(params: types.HoverParams) -> types.Hover | None:
        return await server.parts.explainer.hover(params)

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=list(ACTIONS)))
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        return server.parts.regenerator.actions(params)

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions())
    def code_lens(params: types.CodeLensParams) -> list[types.CodeLens]:
        return server.parts.lenses.lenses(params)

    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT, types.InlayHintOptions())
    def inlay_hint(params: types.InlayHintParams) -> list[types.InlayHint]:
        return server.parts.lenses.hints(params)


def _commands(server: AceServer) -> None:
    @server.command("ace.analyzeFile")
    async def analyze_file(uri: str) -> Any:
        return await server.parts.commands.analyze_file(uri)

    @server.command("ace.explainHere")
    async def explain_here(uri: str, position: Any, options: Any = None) -> Any:
        return await server.parts.commands.explain_here(uri, position, options)

    @server.command("ace.regenerate")
    async def regenerate(uri: str, where: Any, options: Any = None) -> Any:
        return await server.parts.commands.regenerate(uri, where, options)

    @server.command("ace.report")
    async def report(uri: str, options: Any = None) -> Any:
        return await server.parts.commands.report(uri, options)

    @server.command("ace.analyzeWorkspace")
    async def analyze_workspace() -> Any:
        return await server.parts.commands.analyze_workspace()

    @server.command("ace.switchModel")
    async def switch_model(name: Any = None) -> Any:
        return await server.parts.commands.switch_model(name)


def _edits(server: AceServer) -> None:
    @server.command("ace.edit.preview")
    async def preview(what: Any = None) -> Any:
        return await server.parts.commands.preview_edit(what)

    @server.command("ace.edit.apply")
    async def apply(what: Any = None) -> Any:
        return await server.parts.commands.apply_edit(what)

    @server.command("ace.edit.undo")
    async def undo(what: Any = None) -> Any:
        return await server.parts.commands.undo_edit(what)


def _controls(server: AceServer) -> None:
    @server.command("ace.pause")
    async def pause() -> Any:
        return await server.parts.commands.pause()

    @server.command("ace.resume")
    async def resume() -> Any:
        return await server.parts.commands.resume()

    @server.command("ace.restartWorker")
    async def restart_worker() -> Any:
        return await server.parts.commands.restart_worker()

    @server.command("ace.showStatus")
    async def show_status(options: Any = None) -> Any:
        return await server.parts.commands.show_status(options)


def _pull(server: AceServer) -> None:
    options = types.DiagnosticOptions(
        identifier="ace", inter_file_dependencies=False, workspace_diagnostics=False
    )

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    def diagnostic(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        return server.parts.publisher.report(params.text_document.uri, params.previous_result_id)
