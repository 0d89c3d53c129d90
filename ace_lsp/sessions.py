"""All open units: what happens when the client opens, edits, saves or closes one, or changes a setting."""

import asyncio
import contextlib
import logging
from pathlib import Path
from urllib.parse import unquote

from pygls.uris import to_fs_path

from ace_lsp.analyst import Priority
from ace_lsp.configuration import Configuration, DocumentSettings
from ace_lsp.documents import AceWorkspace
from ace_lsp.session import Desk, Session, Summary
from ace_lsp.settings import Run
from ace_lsp.units import Unit, unit_of

logger = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds that the first scans wait for a client's settings; then they go on with what is known."""


class NotAnalysed(Exception):
    """Why a unit is not analysed; the message is fit for a person."""


class Sessions:
    """One session per open unit, by the address of the document or the notebook."""

    def __init__(self, desk: Desk, configuration: Configuration) -> None:
        self._desk = desk
        self._configuration = configuration
        self._sessions: dict[str, Session] = {}
        self._newest: str | None = None
        """What was opened or edited last: most likely what a person looks at."""
        self.paused = False
        """Whether nothing is analysed unless a person asks."""
        self._told: set[str] = set()
        """Of which units it was logged why they are not analysed."""
        self._waiting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, workspace: AceWorkspace, uri: str) -> Session | None:
        """The session of the unit that a document belongs to."""
        unit = unit_of(workspace, uri)
        return self._sessions.get(unquote(unit.uri)) if unit is not None else None

    def open(self, workspace: AceWorkspace, uri: str) -> None:
        unit = unit_of(workspace, uri)
        if unit is None:
            return
        if (before := self._sessions.get(unquote(unit.uri))) is not None:
            before.stop()  # a client that opens twice
        session = self._sessions[unquote(unit.uri)] = Session(self._desk, unit)
        self._newest = unquote(unit.uri)
        self._when_configured(session, Priority.OTHER)

    def change(self, workspace: AceWorkspace, uri: str) -> None:
        unit = unit_of(workspace, uri)
        session = self._sessions.get(unquote(unit.uri)) if unit is not None else None
        if unit is None or session is None:
            return
        session.move_to(unit)
        self._newest = unquote(unit.uri)
        settings = self.settings_of(unit)
        if settings.server.run is Run.ON_TYPE:
            self._analyse(session, Priority.VISIBLE, delay=settings.server.debounce / 1000)

    def save(self, workspace: AceWorkspace, uri: str) -> None:
        unit = unit_of(workspace, uri)
        session = self._sessions.get(unquote(unit.uri)) if unit is not None else None
        if session is not None and self.settings_of(session.unit).server.run is not Run.MANUAL:
            self._analyse(session, Priority.VISIBLE)

    def close(self, uri: str) -> None:
        session = self._sessions.pop(unquote(uri), None)
        self._told.discard(unquote(uri))
        if session is not None:
            session.close()

    def refresh(self) -> None:
        """Settings, or the worker, are others now: analyse everything that is open."""
        for uri, session in self._sessions.items():
            self._refresh(session, Priority.VISIBLE if uri == self._newest else Priority.OTHER)

    async def analyse_now(self, workspace: AceWorkspace, uri: str) -> Summary:
        """Analyse on a person's word, whatever the settings say about when; raises NotAnalysed."""
        unit = unit_of(workspace, uri)
        session = self._sessions.get(unquote(unit.uri)) if unit is not None else None
        if session is None:
            raise NotAnalysed(f"expected a Python document that is open, got {uri!r}")
        await self.configured()
        settings = self.settings_of(session.unit)
        if (reason := _objection(session.unit, settings, asked=True)) is not None:
            raise NotAnalysed(reason)
        unit, task = session.unit, session.analyse(settings, Priority.COMMAND)
        while True:
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                task.cancel()
                raise
            if not task.cancelled():
                return task.result()
            instead = session.analysis  # settings that arrived meanwhile have the same text analysed anew
            if instead is None or instead is task or session.unit is not unit:
                raise NotAnalysed("the document was changed or closed, or the analysis was cancelled")
            task = instead

    def stop(self) -> None:
        """Cancel everything that runs."""
        for session in self._sessions.values():
            session.stop()
        for task in self._waiting:
            task.cancel()

    def _when_configured(self, session: Session, priority: Priority) -> None:
        """The first scan of a document: not before it is known what the user has set."""
        if self._configuration.ready.is_set():
            self._refresh(session, priority)
            return
        task = asyncio.ensure_future(self._refresh_later(session, priority))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _refresh_later(self, session: Session, priority: Priority) -> None:
        await self.configured()
        if session in self._sessions.values() and not session.busy:
            self._refresh(session, priority)

    async def configured(self) -> None:
        """Wait until it is known what the user has set, or the client has had long enough to say it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._configuration.ready.wait()

    def _refresh(self, session: Session, priority: Priority) -> None:
        if self.settings_of(session.unit).server.run is not Run.MANUAL:
            self._analyse(session, priority)

    def pause(self) -> None:
        """End what runs, and start nothing; what is shown stays, and moves with the text."""
        self.paused = True
        for session in self._sessions.values():
            session.stop()

    def resume(self) -> None:
        self.paused = False
        self.refresh()

    def _analyse(self, session: Session, priority: Priority, *, delay: float = 0.0) -> None:
        settings = self.settings_of(session.unit)
        reason = _objection(session.unit, settings, asked=False)
        if reason is None and self.paused:
            return
        if reason is None:
            session.analyse(settings, priority, delay=delay)
            return
        if settings.excluded or not settings.server.enable:
            session.close()
        if (uri := unquote(session.unit.uri)) not in self._told:
            self._told.add(uri)
            logger.info("%s: %s", uri, reason)

    def settings_of(self, unit: Unit) -> DocumentSettings:
        """What holds for it now."""
        path = to_fs_path(unit.uri)
        return self._configuration.of(Path(path) if path else None)


def _objection(unit: Unit, settings: DocumentSettings, *, asked: bool) -> str | None:
    """Why a unit is not analysed, or None. A person who asks is only refused what can't be done."""
    if not asked and not settings.server.enable:
        return "not analysed, since ace.enable is false"
    if not asked and settings.excluded:
        return "not analysed, since check.exclude names it"
    lines, most = unit.text.count("\n"), settings.server.max_lines
    if not asked and lines > most:
        return f"not analysed while typing: {lines} lines are more than ace.maxLines, which is {most}"
    size, most = len(unit.text.encode("utf-8", "replace")), settings.check.max_file_bytes
    if size > most:
        return f"not analysed: {size} bytes are more than check.max_file_bytes, which is {most}"
    return None
