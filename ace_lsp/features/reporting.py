"""A document's findings as a page to look at: as `ace report` writes it, of the text as it is typed."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygls.uris import to_fs_path

from ace_analysis.errors import InputError, StorageError
from ace_analysis.report.attribution import Attribution
from ace_analysis.report.finding import Finding, SiteScore
from ace_analysis.report.html import FilePage, page_of
from ace_analysis.settings import cache_dir
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_lsp.analyst import (
    AnalystError,
    AnalystUnavailable,
    ExplainRequest,
    OnProgress,
    Priority,
    ScanRequest,
)
from ace_lsp.session import Session, merged

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer

FOLDER = "reports"
"""Below the user's cache folder; each document's page replaces the one before."""

MOST_EXPLAINED = 20
THRESHOLD = 0.5
"""What the colours are scaled by where no finding says from which probability on it is one."""


class NoDocument(Exception):
    """There is nothing to report on; the message is fit for a person."""


class Reporter:
    """The command `ace.report`."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts

    async def report(self, uri: str, on_progress: OnProgress) -> dict[str, Any]:
        """Write the page; its address and what is on it. Raises NoDocument, AnalystError, StorageError."""
        session = self._parts.sessions.find(self._server.documents, uri)
        if session is None:
            raise NoDocument(f"expected a Python document that is open, got {uri!r}")
        unit, path = session.unit, to_fs_path(session.unit.uri)
        on_progress("reading", None)
        sites, findings = await self._scanned(session)
        explanations, notes = await self._explained(session, findings, on_progress)
        page = FilePage(
            path=path or unit.uri,
            document=CodeDocument(uri=unit.uri, text=unit.text, version=unit.version),
            sites=sites,
            findings=findings,
            threshold=findings[0].threshold if findings else THRESHOLD,
            explanations=explanations,
            engine=self._parts.analyst.status.info,
            notes=notes,
        )
        written = await asyncio.to_thread(_written, unit.uri, page)
        return {"uri": written.as_uri(), "findings": len(findings), "explained": len(explanations)}

    async def _scanned(self, session: Session) -> tuple[list[SiteScore], tuple[Finding, ...]]:
        unit, settings = session.unit, self._parts.sessions.settings_of(session.unit)
        request = ScanRequest(
            uri=unit.uri,
            version=unit.version,
            text=unit.text,
            priority=Priority.COMMAND,
            max_false_alarms=settings.check.max_false_alarms,
            sites=True,
        )
        scopes = await self._parts.analyst.scan(request, lambda _: None)
        found: tuple[Finding, ...] = ()
        for scope in scopes:
            found = merged(found, scope, settings.hidden)
        sites = sorted((each for scope in scopes for each in scope.sites), key=lambda each: each.span)
        return sites, settings.baseline.new(settings.baseline_path, unit.text, found)

    async def _explained(
        self, session: Session, findings: tuple[Finding, ...], on_progress: OnProgress
    ) -> tuple[Mapping[TextSpan, Attribution], list[str]]:
        """The likeliest findings with their explanations; why one has none is told on the page."""
        unit, settings = session.unit, self._parts.sessions.settings_of(session.unit)
        chosen = sorted(findings, key=lambda each: -each.score)[:MOST_EXPLAINED]
        left = len(findings) - len(chosen)
        notes = [f"The {left} least probable findings are not explained."] if left else []
        explanations: dict[TextSpan, Attribution] = {}
        for number, finding in enumerate(chosen, start=1):
            on_progress(f"explaining finding {number} of {len(chosen)}", number / len(chosen))
            request = ExplainRequest(
                uri=unit.uri,
                version=unit.version,
                text=unit.text,
                offset=finding.span.start,
                priority=Priority.COMMAND,
                max_false_alarms=settings.check.max_false_alarms,
            )
            try:
                explanations[finding.span] = await self._parts.analyst.explain(request, lambda *_: None)
            except AnalystUnavailable:
                raise
            except (AnalystError, InputError) as error:
                notes.append(f"A finding is not explained: {error}")
        return explanations, notes


def _written(uri: str, page: FilePage) -> Path:
    name = hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    path = cache_dir() / FOLDER / f"{name}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page_of(page), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: the page can't be written ({error.strerror or error})") from error
    return path
