"""Analysing all files of the workspace, once, when a person asks for it.

What is found is shown file by file as it comes and stays when the work is cancelled. A file's results are
taken back when it is opened (then it has a session of its own), when it changes on disk, and at the next run.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.uris import to_fs_path

from ace_analysis.errors import InputError
from ace_analysis.report.finding import Finding
from ace_analysis.source.files import find_files
from ace_analysis.source.reading import read_source
from ace_lsp.analyst import AnalystError, AnalystUnavailable, OnProgress, Priority, ScanRequest
from ace_lsp.configuration import DocumentSettings
from ace_lsp.positions import Encoding, LineIndex
from ace_lsp.session import merged
from ace_lsp.units import Part, Unit

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

PYTHON_FILES = "**/*.{py,pyw}"
_WATCH = "ace-workspace"
MOST_PROBLEMS = 20
"""Files that could not be read, named in the answer; the log has all."""


class NoWorkspace(Exception):
    """There is no folder to analyse; the message is fit for a person."""


@dataclass(slots=True)
class Result:
    """What became of a run; also of one that was cancelled, as far as it got."""

    files: int = 0
    findings: int = 0
    problems: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return {"files": self.files, "findings": self.findings, "problems": self.problems[:MOST_PROBLEMS]}


class WorkspaceScan:
    """The command `ace.analyzeWorkspace`; one run at a time."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts
        self._shown: set[str] = set()
        """Addresses of files that are not open and have results."""
        self._watching = False
        self._running = asyncio.Lock()

    async def run(self, on_progress: OnProgress, result: Result) -> None:
        """Analyse every Python file below the workspace folders, and count in `result`.

        Raises NoWorkspace, AnalystUnavailable.
        """
        roots = self._parts.configuration.roots
        if not roots:
            raise NoWorkspace("expected a workspace folder, and this client has opened none")
        async with self._running:
            await self._watch()
            self.forget(list(self._shown))
            on_progress("looking for files", None)
            found = await asyncio.to_thread(_python_files, roots)
            paths = [path for path in found if self._is_wanted(path)]
            for number, path in enumerate(paths):
                told = f"{number} of {len(paths)} files, {result.findings} findings"
                on_progress(told, number / len(paths))
                await self._analyse(path, result)

    def opened(self, uri: str) -> None:
        """A document has a session of its own from now on."""
        if self._shown and (path := to_fs_path(uri)):
            self.forget([Path(path).as_uri()])

    def forget(self, uris: Iterable[str]) -> None:
        """These files are open now, or others than they were."""
        for uri in uris:
            if uri in self._shown:
                self._shown.discard(uri)
                self._parts.publisher.clear_closed(uri)

    async def _analyse(self, path: Path, result: Result) -> None:
        """One file: read, scanned and shown; one that can't be costs itself."""
        uri = path.as_uri()
        settings = self._parts.configuration.of(path)
        if (session := self._parts.sessions.find(self._server.documents, uri)) is not None:
            result.files += 1
            result.findings += len(session.findings)  # it is open, and shown by its own session
            return
        try:
            text = await asyncio.to_thread(read_source, path, settings.check.max_file_bytes)
            found = await self._scan(uri, text, settings)
        except AnalystUnavailable:
            raise
        except (InputError, AnalystError) as error:
            result.problems.append(f"{path}: {error}")
            logger.info("%s: %s", path, error)
            return
        result.files += 1
        result.findings += len(found)
        if found and self._parts.sessions.find(self._server.documents, uri) is None:
            self._shown.add(uri)
            self._parts.publisher.show_closed(self._unit(uri, text), found)

    def _is_wanted(self, path: Path) -> bool:
        settings = self._parts.configuration.of(path)
        return settings.server.enable and not settings.excluded

    async def _scan(self, uri: str, text: str, settings: DocumentSettings) -> tuple[Finding, ...]:
        most = settings.check.max_false_alarms
        request = ScanRequest(
            uri=uri, version=0, text=text, priority=Priority.BACKGROUND, max_false_alarms=most
        )
        found: tuple[Finding, ...] = ()
        for scope in await self._parts.analyst.scan(request, lambda _: None):
            found = merged(found, scope, settings.hidden)
        return settings.baseline.new(settings.baseline_path, text, found)

    def _unit(self, uri: str, text: str) -> Unit:
        encoding = Encoding(self._server.documents.position_encoding or Encoding.Utf16)
        part = Part(uri=uri, version=0, start=0, lines=LineIndex(text, encoding))
        return Unit(uri=uri, version=0, text=text, parts=(part,))

    async def _watch(self) -> None:
        """Have the client tell which files change on disk, from the first run on."""
        if self._watching or not self._server.client.watches_files:
            return
        self._watching = True
        watcher = types.FileSystemWatcher(glob_pattern=PYTHON_FILES)
        options = types.DidChangeWatchedFilesRegistrationOptions(watchers=[watcher])
        wanted = types.Registration(
            id=_WATCH, method=types.WORKSPACE_DID_CHANGE_WATCHED_FILES, register_options=options
        )
        with contextlib.suppress(Exception):
            await self._server.client_register_capability_async(types.RegistrationParams([wanted]))


def _python_files(roots: tuple[Path, ...]) -> list[Path]:
    """Each file once, also where one workspace folder lies in another."""
    found = find_files(str(root) for root in roots)
    return [each.path for each in found if each.problem is None and each.left_out is None]


def paths_of(changes: Iterable[types.FileEvent]) -> set[str]:
    """The addresses of changed files, as this module spells them."""
    paths = (to_fs_path(change.uri) for change in changes)
    return {Path(path).as_uri() for path in paths if path}
