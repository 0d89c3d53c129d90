"""Code lenses and inlay hints: off unless a person wants them, and then only what is known anyway."""

import bisect
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lsprotocol import types

from ace_analysis.report.finding import Finding
from ace_analysis.report.kinds import kind_text
from ace_analysis.source.document import TextSpan
from ace_analysis.source.syntax import scopes_of
from ace_lsp.session import Session
from ace_lsp.units import Part, Unit

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer


class Lenses:
    """Answers `textDocument/codeLens` and `textDocument/inlayHint`, and says when there is news."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts
        self._hints_shown = self._lenses_shown = False

    def lenses(self, params: types.CodeLensParams) -> list[types.CodeLens]:
        found = self._session(params.text_document.uri)
        if found is None or not self._parts.sessions.settings_of(found[0].unit).server.code_lens:
            return []
        self._lenses_shown = True
        session, part = found
        return lenses_of(session.unit, part, session.findings)

    def hints(self, params: types.InlayHintParams) -> list[types.InlayHint]:
        found = self._session(params.text_document.uri)
        if found is None or not self._parts.sessions.settings_of(found[0].unit).server.inlay_hints:
            return []
        self._hints_shown = True
        session, part = found
        return hints_of(session.unit, part, params.range, session.findings)

    def news(self) -> None:
        """Findings have changed: have the client ask again, if it has asked before."""
        if self._lenses_shown and self._server.client.refreshes_lenses:
            self._server.workspace_code_lens_refresh(None)
        if self._hints_shown and self._server.client.refreshes_hints:
            self._server.workspace_inlay_hint_refresh(None)

    def _session(self, uri: str) -> tuple[Session, Part] | None:
        session = self._parts.sessions.find(self._server.documents, uri)
        part = session.unit.part(uri) if session is not None else None
        return (session, part) if session is not None and part is not None else None


def lenses_of(unit: Unit, part: Part, findings: Iterable[Finding]) -> list[types.CodeLens]:
    """One above each scope with findings; running it explains the likeliest one."""
    starts = sorted(scope.span.start for scope in scopes_of(unit.text))
    by_scope: dict[int, list[Finding]] = {}
    for finding in findings:
        at = bisect.bisect_right(starts, finding.span.start) - 1
        by_scope.setdefault(starts[at] if at >= 0 else 0, []).append(finding)
    lenses: list[types.CodeLens] = []
    for start, found in sorted(by_scope.items()):
        first = max(found, key=lambda each: each.score)
        place, scope = unit.place(first.span), unit.place(TextSpan(start, start))
        if place is None or scope is None or place[0] is not part or scope[0] is not part:
            continue
        where = part.lines.position_at(place[1].start)
        title = f"ACE: {len(found)} finding{'s' * (len(found) > 1)}, likeliest {first.score:.2f}"
        command = types.Command(title=title, command="ace.explainHere", arguments=[part.uri, where])
        line = types.Position(part.lines.line_at(scope[1].start), 0)
        lenses.append(types.CodeLens(range=types.Range(line, line), command=command))
    return lenses


def hints_of(
    unit: Unit, part: Part, where: types.Range, findings: Iterable[Finding]
) -> list[types.InlayHint]:
    """The probability behind each finding in a range."""
    wanted = part.lines.span_of(where)
    hints: list[types.InlayHint] = []
    for finding in findings:
        place = unit.place(finding.span)
        if place is None or place[0] is not part or not wanted.start <= place[1].end <= wanted.end:
            continue
        hint = types.InlayHint(
            position=part.lines.position_at(place[1].end),
            label=f"{finding.score:.2f}",
            tooltip=f"ACE: {kind_text(finding.kind).claim}",
            padding_left=True,
        )
        hints.append(hint)
    return hints
