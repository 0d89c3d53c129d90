"""Getting diagnostics to the client: pushed, or kept until it pulls; for one document never both.

Results come scope by scope and text changes key by key; a client gets at most one message per document and
PAUSE, always with the newest. Cells of notebooks are pushed to every client, because VS Code's pulling of
cells is broken (vscode-languageserver-node); who pulls one is told that there is nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lsprotocol import types

from ace_analysis.report.finding import Finding
from ace_lsp.features.diagnostics import diagnostics_of, result_id_of
from ace_lsp.units import Unit

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

PAUSE = 0.05
"""Seconds between two messages about one unit that isn't finished."""


@dataclass(slots=True, eq=False)
class _Shown:
    """What one unit looks like to the client."""

    documents: dict[str, tuple[int, list[types.Diagnostic]]] = field(default_factory=dict)
    """By address: version and diagnostics as the client was told."""
    unit: Unit | None = None
    findings: tuple[Finding, ...] = ()
    finished: bool = False
    timer: asyncio.TimerHandle | None = None
    due: float = 0.0


class Publisher:
    """Tells the client what is found in each unit."""

    def __init__(self, server: "AceServer", on_news: Callable[[], None] = lambda: None) -> None:
        self._server = server
        self._on_news = on_news
        """Called when a unit was analysed to its end."""
        self._units: dict[str, _Shown] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refresh_again = False
        self._closed: set[str] = set()
        """Files that are not open and have been told about."""

    def move(self, unit: Unit, findings: Iterable[Finding]) -> None:
        """A unit was edited, and these findings stand. Who pulls does so at each edit, unasked."""
        shown = self._keep(unit, findings, finished=False)
        if not self._pulls(shown):
            self._flush_in_time(shown)

    def show(self, unit: Unit, findings: Iterable[Finding], *, finished: bool) -> None:
        """News about a unit; `finished`: all of it was analysed in this version."""
        shown = self._keep(unit, findings, finished=finished)
        if finished:
            self._flush(shown)
            self._on_news()
        else:
            self._flush_in_time(shown)

    def _keep(self, unit: Unit, findings: Iterable[Finding], *, finished: bool) -> _Shown:
        shown = self._units.setdefault(unit.uri, _Shown())
        shown.unit, shown.findings, shown.finished = unit, tuple(findings), finished
        return shown

    def _flush_in_time(self, shown: _Shown) -> None:
        now = asyncio.get_running_loop().time()
        if now >= shown.due:
            self._flush(shown)
        elif shown.timer is None:
            shown.timer = asyncio.get_running_loop().call_at(shown.due, self._flush, shown)

    def clear(self, uri: str) -> None:
        """Forget a unit, and have the client forget it."""
        shown = self._units.pop(uri, None)
        if shown is None:
            return
        if shown.timer is not None:
            shown.timer.cancel()
        for document in list(shown.documents):
            self._take_back(shown, document)

    def report(self, uri: str, known: str | None) -> types.DocumentDiagnosticReport:
        """The answer to a pull: at once, with what is known by now."""
        wanted = unquote(uri)
        items: list[types.Diagnostic] = []
        for shown in self._units.values():
            if shown.unit is None or shown.unit.is_notebook or unquote(shown.unit.uri) != wanted:
                continue
            items = self._diagnostics(shown.unit, shown.findings)[shown.unit.uri]
            shown.documents[shown.unit.uri] = (shown.unit.version, items)
        result = result_id_of(items)
        if result == known:
            return types.RelatedUnchangedDocumentDiagnosticReport(result_id=result)
        return types.RelatedFullDocumentDiagnosticReport(items=items, result_id=result)

    def show_closed(self, unit: Unit, findings: Iterable[Finding]) -> None:
        """What is found in a file that is not open: pushed also to who pulls, since nobody pulls for it."""
        self._closed.add(unquote(unit.uri))
        self._push(unit.uri, None, self._diagnostics(unit, findings)[unit.uri])

    def clear_closed(self, uri: str) -> None:
        """It is open now, or another one, or gone."""
        if unquote(uri) in self._closed:
            self._closed.discard(unquote(uri))
            self._push(uri, None, [])

    def _diagnostics(self, unit: Unit, findings: Iterable[Finding]) -> dict[str, list[types.Diagnostic]]:
        return diagnostics_of(unit, findings, self._server.client.extras)

    def _flush(self, shown: _Shown) -> None:
        if shown.timer is not None:
            shown.timer.cancel()
            shown.timer = None
        shown.due = asyncio.get_running_loop().time() + PAUSE
        if (unit := shown.unit) is None:
            return
        found = self._diagnostics(unit, shown.findings)
        for document in [each for each in shown.documents if each not in found]:
            self._take_back(shown, document)
        for part in unit.parts:
            self._tell(shown, part.uri, part.version, found[part.uri])

    def _tell(self, shown: _Shown, uri: str, version: int, diagnostics: list[types.Diagnostic]) -> None:
        before = shown.documents.get(uri, (None, []))
        if before == (version, diagnostics) or (not before[1] and not diagnostics and not shown.finished):
            return
        if not self._pulls(shown):
            shown.documents[uri] = (version, diagnostics)
            self._push(uri, version, diagnostics)
        elif result_id_of(before[1]) != result_id_of(diagnostics):
            self._refresh()

    def _pulls(self, shown: _Shown) -> bool:
        return self._server.client.pulls and shown.unit is not None and not shown.unit.is_notebook

    def _take_back(self, shown: _Shown, uri: str) -> None:
        _, diagnostics = shown.documents.pop(uri)
        if not self._pulls(shown):
            self._push(uri, None, [])
        elif diagnostics:
            self._refresh()

    def _push(self, uri: str, version: int | None, diagnostics: list[types.Diagnostic]) -> None:
        self._server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri=uri, version=version, diagnostics=diagnostics)
        )

    def _refresh(self) -> None:
        """Have the client pull again; one request at a time, since it pulls all documents at each."""
        self._refresh_again = True
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._ask_to_refresh())

    async def _ask_to_refresh(self) -> None:
        while self._refresh_again:
            self._refresh_again = False
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5.0):
                    await self._server.workspace_diagnostic_refresh_async(None)
            await asyncio.sleep(PAUSE)
