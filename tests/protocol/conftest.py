"""An editor to test the server with: pytest-lsp's client, what it has heard, and waiting for more.

The server is a real process; its worker is scripted_worker.py, a real process too, but without a model.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from pytest_lsp import make_test_lsp_client

HERE = Path(__file__).parent
PATIENCE = 20.0


def vs_code() -> types.ClientCapabilities:
    """VS Code 1.100 with vscode-languageclient 10, as far as it concerns a server like this one."""
    text = types.TextDocumentClientCapabilities(
        synchronization=types.TextDocumentSyncClientCapabilities(
            dynamic_registration=True, will_save=True, will_save_wait_until=True, did_save=True
        ),
        publish_diagnostics=types.PublishDiagnosticsClientCapabilities(
            related_information=True, version_support=False, code_description_support=True, data_support=True
        ),
        diagnostic=types.DiagnosticClientCapabilities(
            dynamic_registration=True, related_document_support=False
        ),
    )
    workspace = types.WorkspaceClientCapabilities(
        apply_edit=True,
        configuration=True,
        workspace_folders=True,
        did_change_configuration=types.DidChangeConfigurationClientCapabilities(dynamic_registration=True),
        did_change_watched_files=types.DidChangeWatchedFilesClientCapabilities(
            dynamic_registration=True, relative_pattern_support=True
        ),
        diagnostics=types.DiagnosticWorkspaceClientCapabilities(refresh_support=True),
    )
    return types.ClientCapabilities(
        text_document=text,
        workspace=workspace,
        notebook_document=types.NotebookDocumentClientCapabilities(
            synchronization=types.NotebookDocumentSyncClientCapabilities(dynamic_registration=True)
        ),
        window=types.WindowClientCapabilities(work_done_progress=True),
        general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf16]),
    )


def capabilities_of(profile: str) -> types.ClientCapabilities:
    if profile == "vscode":
        return vs_code()
    if profile == "bare":
        return types.ClientCapabilities()
    return pytest_lsp.client_capabilities({"neovim": "neovim@v0.11", "emacs": "emacs"}[profile])


class Editor:
    """One client with one server."""

    def __init__(self, journal: Path) -> None:
        self.client = make_test_lsp_client()
        self.published: list[types.PublishDiagnosticsParams] = []
        self.statuses: list[dict[str, Any]] = []
        self.refreshes = 0
        self.registrations: list[types.Registration] = []
        self.versions: dict[str, int] = {}
        self.patience = PATIENCE
        self._journal = journal
        self._listen()
        # lsprotocol 2025.0.0 can't read the notebook selector that servers send.
        self.client.protocol._converter.register_structure_hook(
            types.NotebookDocumentFilterWithCells, lambda data, _: data
        )

    def _listen(self) -> None:
        features = self.client.protocol.fm.features

        def publish(params: types.PublishDiagnosticsParams) -> None:
            self.published.append(params)

        def refresh(_: None) -> None:
            self.refreshes += 1

        def register(params: types.RegistrationParams) -> None:
            self.registrations += params.registrations

        def status(params: Any) -> None:
            self.statuses.append({name: getattr(params, name) for name in ("health", "quiescent", "message")})

        features[types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS] = publish
        features[types.WORKSPACE_DIAGNOSTIC_REFRESH] = refresh
        features[types.CLIENT_REGISTER_CAPABILITY] = register
        features["experimental/serverStatus"] = status

    # --- what a person does

    def open(self, uri: str, text: str, language: str = "python") -> None:
        self.versions[uri] = 1
        item = types.TextDocumentItem(uri=uri, language_id=language, version=1, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))

    def replace(self, uri: str, text: str) -> int:
        """A new text for the whole document; its version."""
        return self._change(uri, types.TextDocumentContentChangeWholeDocument(text=text))

    def edit(self, uri: str, where: tuple[int, int, int, int], text: str) -> int:
        start, end = types.Position(*where[:2]), types.Position(*where[2:])
        change = types.TextDocumentContentChangePartial(range=types.Range(start, end), text=text)
        return self._change(uri, change)

    def _change(self, uri: str, change: types.TextDocumentContentChangeEvent) -> int:
        self.versions[uri] += 1
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self.versions[uri])
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(text_document=document, content_changes=[change])
        )
        return self.versions[uri]

    def save(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(text_document=document))

    def close(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(text_document=document))

    async def pull(self, uri: str, known: str | None = None) -> Any:
        document = types.TextDocumentIdentifier(uri)
        params = types.DocumentDiagnosticParams(text_document=document, previous_result_id=known)
        return await self.client.text_document_diagnostic_async(params)

    async def command(self, name: str, *arguments: Any) -> Any:
        params = types.ExecuteCommandParams(command=name, arguments=list(arguments))
        answer = await self.client.workspace_execute_command_async(params)
        return SimpleNamespace(**answer) if isinstance(answer, dict) else answer

    def configure(self, settings: dict[str, Any], scope: str | None = None) -> None:
        """Change the section "ace", and say that something changed."""
        self.client.set_configuration(settings, section="ace", scope_uri=scope)
        self.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings=None))

    # --- what is heard

    async def until(self, what: Callable[[], Any], why: str = "") -> Any:
        """Wait until `what()` is true, and return it."""
        end = asyncio.get_running_loop().time() + self.patience
        while not (value := what()):
            if asyncio.get_running_loop().time() > end:
                said = [each.message for each in self.client.log_messages]
                raise AssertionError(f"waited in vain {why}; log: {said}; journal: {self.journal()}")
            await asyncio.sleep(0.01)
        return value

    async def shown(self, uri: str, version: int | None = None, count: int | None = None) -> list[Any]:
        """The diagnostics of a version, once they are `count` (or have been told at all)."""

        def newest() -> types.PublishDiagnosticsParams | None:
            for each in reversed(self.published):
                if each.uri == uri and (version is None or each.version == version):
                    return each if count is None or len(each.diagnostics) == count else None
            return None

        return list((await self.until(newest, f"for {uri} {version}")).diagnostics)

    def journal(self, what: str | None = None) -> list[dict[str, Any]]:
        """What the worker was asked and did."""
        if not self._journal.exists():
            return []
        lines = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return [line for line in lines if what in (None, line["what"])]

    async def done(self, count: int = 1) -> None:
        """Wait until the worker has finished so many scans."""
        await self.until(lambda: len(self.journal("done")) >= count, f"for {count} scans")

    def bars(self) -> list[list[Any]]:
        """Each progress bar's begin, reports and end."""
        return [list(reports) for reports in self.client.progress_reports.values()]


@pytest.fixture
def worker(tmp_path: Path) -> Callable[..., list[str]]:
    """The command of the scripted worker."""

    def command(*options: str) -> list[str]:
        return [sys.executable, str(HERE / "scripted_worker.py"), str(tmp_path / "journal"), *options]

    return command


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, worker: Callable[..., list[str]]) -> Start:
    """`async with start(profile, **settings) as editor`: a server that has been initialised."""

    @contextlib.asynccontextmanager
    async def started(
        profile: str = "neovim",
        *,
        worker_options: tuple[str, ...] = (),
        roots: tuple[Path, ...] = (),
        capabilities: types.ClientCapabilities | None = None,
        configuration: dict[str, Any] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Editor]:
        editor = Editor(tmp_path / "journal")
        mine = {"command": worker(*worker_options), "backoff": 0.05, "cancelTimeout": 0.5}
        options = {"debounce": 30, **settings, "worker": {**mine, **settings.get("worker", {})}}
        if configuration is not None:
            editor.client.set_configuration(configuration, section="ace")
        await editor.client.start_io(sys.executable, "-m", "ace_lsp", "--log-level", "info")
        folders = [types.WorkspaceFolder(uri=root.as_uri(), name=root.name) for root in roots]
        await editor.client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities or capabilities_of(profile),
                workspace_folders=folders,
                root_uri=folders[0].uri if folders else None,
                initialization_options=options,
            )
        )
        try:
            yield editor
        finally:
            await editor.client.shutdown_session()
            await editor.client.stop()

    return started
