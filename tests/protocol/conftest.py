"""An editor to test the server with: pytest-lsp's client, what it has heard, and waiting for more.

The server is a real process; its worker is scripted_worker.py, a real process too, but without a model.
"""

import asyncio
import contextlib
import functools
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lsprotocol import types
from pygls.protocol import default_converter
from pytest_lsp import make_test_lsp_client

from ace_lsp.positions import LineIndex

HERE = Path(__file__).parent
PATIENCE = 120.0


def capabilities_of(profile: str) -> types.ClientCapabilities:
    """What a client says it can do, as far as it concerns a server like this one: VS Code 1.100 with
    vscode-languageclient 10, Neovim 0.11, Emacs 30 with eglot; "bare" says nothing."""
    if profile == "bare":
        return types.ClientCapabilities()
    said = json.loads((HERE / "profiles" / f"{profile}.json").read_text())
    return default_converter().structure(said, types.ClientCapabilities)


class Editor:
    """One client with one server."""

    def __init__(self, journal: Path) -> None:
        self.client = make_test_lsp_client()
        self.published: list[types.PublishDiagnosticsParams] = []
        self.statuses: list[dict[str, Any]] = []
        self.refreshes = 0
        self.documents_shown: list[types.ShowDocumentParams] = []
        self.texts: dict[str, str] = {}
        self.edits: list[types.WorkspaceEdit] = []
        self.capabilities = types.ServerCapabilities()
        self.refuses: str | None = None
        """Why edits are not made, as where a document is read-only."""
        self.asked: list[types.ShowMessageRequestParams] = []
        self.answers: str | None = None
        """What is chosen whenever the server asks."""
        self.registrations: list[types.Registration] = []
        self.versions: dict[str, int] = {}
        self.patience = PATIENCE
        self._journal = journal
        self._listen()
        # lsprotocol 2025.0.0 can't read the notebook selector that servers send.
        self.client.protocol._converter.register_structure_hook(
            types.NotebookDocumentFilterWithCells, lambda data, _: data
        )

        # And it takes a code action that carries a command for a command.
        self.client.protocol._converter.register_structure_hook(types.Command, self._command)

    def _command(self, data: dict[str, Any], _: Any) -> types.Command | types.CodeAction:
        if isinstance(data["command"], dict):
            return self.client.protocol._converter.structure(data, types.CodeAction)
        return types.Command(data["title"], data["command"], arguments=data.get("arguments"))

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

        def show(params: types.ShowDocumentParams) -> types.ShowDocumentResult:
            self.documents_shown.append(params)
            return types.ShowDocumentResult(success=True)

        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.edits.append(params.edit)
            if self.refuses is None:
                self.apply(params.edit)
            return types.ApplyWorkspaceEditResult(applied=self.refuses is None, failure_reason=self.refuses)

        def ask(params: types.ShowMessageRequestParams) -> types.MessageActionItem | None:
            self.asked.append(params)
            return types.MessageActionItem(self.answers) if self.answers is not None else None

        features[types.WORKSPACE_APPLY_EDIT] = apply
        features[types.WINDOW_SHOW_MESSAGE_REQUEST] = ask
        features[types.WINDOW_SHOW_DOCUMENT] = show
        features[types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS] = publish
        features[types.WORKSPACE_DIAGNOSTIC_REFRESH] = refresh
        features[types.CLIENT_REGISTER_CAPABILITY] = register
        features["experimental/serverStatus"] = status

    # --- what a person does

    def open(self, uri: str, text: str, language: str = "python") -> None:
        self.versions[uri], self.texts[uri] = 1, text
        item = types.TextDocumentItem(uri=uri, language_id=language, version=1, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))

    def replace(self, uri: str, text: str) -> int:
        """A new text for the whole document; its version."""
        self.texts[uri] = text
        return self._change(uri, types.TextDocumentContentChangeWholeDocument(text=text))

    def edit(self, uri: str, where: tuple[int, int, int, int], text: str) -> int:
        start, end = types.Position(*where[:2]), types.Position(*where[2:])
        span = LineIndex(self.texts[uri], self.encoding).span_of(types.Range(start, end))
        self.texts[uri] = self.texts[uri][: span.start] + text + self.texts[uri][span.end :]
        change = types.TextDocumentContentChangePartial(range=types.Range(start, end), text=text)
        return self._change(uri, change)

    def _change(self, uri: str, change: types.TextDocumentContentChangeEvent) -> int:
        self.versions[uri] += 1
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self.versions[uri])
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(text_document=document, content_changes=[change])
        )
        return self.versions[uri]

    def apply(self, edit: types.WorkspaceEdit) -> None:
        """Make an edit as editors do, and tell the server of the new text."""
        changed = dict(edit.changes or {})
        for each in edit.document_changes or ():
            assert each.text_document.version == self.versions[each.text_document.uri]
            changed[each.text_document.uri] = each.edits
        for uri, edits in changed.items():
            for one in sorted(
                edits, key=lambda one: (one.range.start.line, one.range.start.character), reverse=True
            ):
                start, end = one.range.start, one.range.end
                self.edit(uri, (start.line, start.character, end.line, end.character), one.new_text)

    @property
    def encoding(self) -> types.PositionEncodingKind:
        return types.PositionEncodingKind(self.capabilities.position_encoding or "utf-16")

    async def actions(
        self, uri: str, where: tuple[int, int, int, int], *only: str, diagnostics: Any = ()
    ) -> list[Any]:
        params = types.CodeActionParams(
            text_document=types.TextDocumentIdentifier(uri),
            range=types.Range(types.Position(*where[:2]), types.Position(*where[2:])),
            context=types.CodeActionContext(diagnostics=list(diagnostics), only=list(only) or None),
        )
        return list(await self.client.text_document_code_action_async(params) or ())

    async def run_command_of(self, action: Any) -> Any:
        return await self.command(action.command.command, *(action.command.arguments or ()))

    def save(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(text_document=document))

    def close(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(text_document=document))

    async def hover(self, uri: str, line: int, character: int) -> Any:
        document = types.TextDocumentIdentifier(uri)
        params = types.HoverParams(text_document=document, position=types.Position(line, character))
        return await self.client.text_document_hover_async(params)

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


def scripted(folder: Path, *options: str) -> list[str]:
    """The command of the scripted worker."""
    return [sys.executable, str(HERE / "scripted_worker.py"), str(folder / "journal"), *options]


Start = Callable[..., Any]


@contextlib.asynccontextmanager
async def started(
    folder: Path,
    profile: str = "neovim",
    *,
    worker_options: tuple[str, ...] = (),
    roots: tuple[Path, ...] = (),
    capabilities: types.ClientCapabilities | None = None,
    configuration: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Editor]:
    """A server that has been initialised, ended at the end; `folder` is for the scripted worker."""
    editor = Editor(folder / "journal")
    mine = {"command": scripted(folder, *worker_options), "backoff": 0.05, "cancelTimeout": 0.5}
    options = {
        "debounce": 30,
        "explainAhead": 0,
        **settings,
        "worker": {**mine, **settings.get("worker", {})},
    }
    if configuration is not None:
        editor.client.set_configuration(configuration, section="ace")
    await editor.client.start_io(sys.executable, "-m", "ace_lsp", "--log-level", "info")
    folders = [types.WorkspaceFolder(uri=root.as_uri(), name=root.name) for root in roots]
    said = await editor.client.initialize_session(
        types.InitializeParams(
            capabilities=capabilities or capabilities_of(profile),
            workspace_folders=folders,
            root_uri=folders[0].uri if folders else None,
            initialization_options=options,
        )
    )
    editor.capabilities = said.capabilities
    try:
        yield editor
    finally:
        await editor.client.shutdown_session()
        await editor.client.stop()


@pytest.fixture(scope="session")
def start_in() -> Start:
    """`async with start_in(folder, profile, **settings) as editor`, for fixtures that outlive a test."""
    return started


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`async with start(profile, **settings) as editor`."""
    return functools.partial(started, tmp_path)


@pytest.fixture
def random_bundle(tiny_qwen2: Path) -> Path:
    """A bundle that finds something in most lines, kept where users' own bundles are."""
    torch = pytest.importorskip("torch")
    from ace_analysis.features.bundle import Bundle, Calibration, Readout
    from ace_analysis.features.sparse_coder import SparseCoder
    from ace_analysis.model.loading import load_scanner
    from ace_analysis.model.sites import Site
    from ace_analysis.settings import cache_dir
    from ace_analysis.source.sites import SiteKind

    info = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=2).info
    d_model, d_sae = info.d_model, 64
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> "torch.Tensor":
        return torch.randn(*shape, generator=generator)

    coder = SparseCoder(
        random(d_model, d_sae),
        random(d_sae),
        random(d_sae, d_model),
        torch.zeros(d_model),
        torch.full((d_sae,), 0.3),
        Site(1),
    )
    slots = (0, 1, "line_end")
    bundle = Bundle(
        folder=cache_dir() / "bundles/tiny",
        model=info.name,
        fingerprint=info.fingerprint,
        layer=1,
        coder=coder,
        readout=Readout(
            weights=random(len(slots), d_sae), kind_bias={kind.value: 0.0 for kind in SiteKind}, slots=slots
        ),
        calibration=Calibration(scale=0.5, offset=-1.0, prior=0.05, thresholds={1.0: -1.0, 50.0: -50.0}),
        max_tokens=256,
    )
    bundle.save(bundle.folder)
    return tiny_qwen2
