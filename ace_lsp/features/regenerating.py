"""Writing something better in the place of a finding or a selection, when a person has chosen to.

    command ──ace/fix──> candidates ──best──> workspace/applyEdit, for the version that they were made for
                             └──────────────> code actions, as plain edits, as long as the text is the same

An edit that comes too late is not made: the person is told, and may have it done again for the new text.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.uris import to_fs_path

from ace_analysis.report.repair import Fix
from ace_analysis.report.repair_wire import fix_to_wire
from ace_analysis.source.document import TextSpan
from ace_lsp.analyst import FixRequest, OnProgress, State
from ace_lsp.carrying import carried_span
from ace_lsp.features.asking import choice
from ace_lsp.features.code_actions import Asked, actions_of, title_of, touching
from ace_lsp.features.consent import Consent
from ace_lsp.features.edits import edit_of_fix, workspace_edit
from ace_lsp.features.progress import watched
from ace_lsp.session import Session
from ace_lsp.settings import folder_of
from ace_lsp.units import Part, Unit

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

METHOD = "ace/fix"
MOST_TEXTS = 16
"""Texts whose candidates are kept at hand; the oldest goes first."""

TRY_AGAIN = "Try again"
NONE_PASSED = "ACE found no replacement here that passes all of its checks."
TOO_LATE = "ACE: the text was changed meanwhile, so nothing was replaced."


class NoPlace(Exception):
    """Why nothing can be written there; the message is fit for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is to be replaced, in one version of one text."""

    session: Session
    unit: Unit
    part: Part
    span: TextSpan


class Candidates:
    """Fixes by the text that they are for, so that undoing an edit brings them back."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], tuple[Fix, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, unit: Unit) -> tuple[Fix, ...]:
        return self._kept.get(_key(unit), ()) if self._kept else ()

    def put(self, unit: Unit, span: TextSpan, fixes: Sequence[Fix]) -> None:
        """In place of what was there for the same stretch."""
        others = [fix for fix in self.of(unit) if fix.span.end < span.start or span.end < fix.span.start]
        self._kept[_key(unit)] = (*fixes, *others)
        self._kept.move_to_end(_key(unit))
        while len(self._kept) > MOST_TEXTS:
            self._kept.popitem(last=False)


class Regenerator:
    """Answers `textDocument/codeAction` and the command `ace.regenerate`."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts
        self._candidates = Candidates()
        self._consent = Consent(server)
        self._offers: set[asyncio.Task[None]] = set()

    def actions(self, params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        """At once, from what is known."""
        found = self._parts.sessions.find(self._server.documents, params.text_document.uri)
        part = found.unit.part(params.text_document.uri) if found is not None else None
        if found is None or part is None:
            return []
        asked = Asked(
            unit=found.unit,
            part=part,
            where=params.range,
            context=params.context,
            client=self._server.client,
            regenerates=self._may_ask(),
            preview=self._parts.sessions.settings_of(found.unit).server.preview_fix,
        )
        fixes = self._candidates.of(found.unit)
        return actions_of(asked, touching(found.findings, asked.span), fixes)

    async def regenerate(self, uri: str, where: types.Range, version: int, *, apply: bool) -> dict[str, Any]:
        """Candidates for a stretch, the best of them put in place; says what became of it.

        Raises NoPlace, AnalystError, CancelledByPerson.
        """
        place = self._place(uri, where)
        if version >= 0 and place.part.version != version:
            return self._too_late(place, TOO_LATE)
        fixes = await watched(self._server, "ACE: writing a fix", lambda report: self._made(place, report))
        if fixes is None:
            return self._too_late(place, TOO_LATE)
        self._candidates.put(place.unit, place.span, fixes)
        told = {"version": place.part.version, "fixes": [_told(place.unit, fix) for fix in fixes]}
        usable = [fix for fix in fixes if edit_of_fix(place.unit, fix) is not None]
        if not usable:
            self._say(NONE_PASSED)
            return {"applied": False, "reason": NONE_PASSED, **told}
        if not apply:
            return {"applied": False, "reason": "", **told}
        return {**await self._apply(place, usable[0]), **told}

    def close(self) -> None:
        for offer in self._offers:
            offer.cancel()

    def _may_ask(self) -> bool:
        status = self._parts.analyst.status
        unknown = "methods" not in status.info
        return status.state is not State.FAILED and (unknown or self._parts.analyst.supports(METHOD))

    def _place(self, uri: str, where: types.Range) -> Place:
        session = self._parts.sessions.find(self._server.documents, uri)
        part = session.unit.part(uri) if session is not None else None
        if session is None or part is None:
            raise NoPlace(f"expected a place in a Python document that is open, got {uri!r}")
        span = part.lines.span_of(where).shifted(part.start)
        return Place(session=session, unit=session.unit, part=part, span=span)

    async def _made(self, place: Place, report: OnProgress) -> tuple[Fix, ...] | None:
        """The candidates; None where the text was changed while they were made."""
        task = asyncio.ensure_future(self._ask(place, report))
        place.session.attach(task)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        return None if task.cancelled() else task.result()

    async def _ask(self, place: Place, report: OnProgress) -> tuple[Fix, ...]:
        unit, settings = place.unit, self._parts.sessions.settings_of(place.unit)
        options: dict[str, Any] = {
            "candidates": settings.fix.candidates,
            "max_false_alarms": settings.check.max_false_alarms,
        }
        path = to_fs_path(unit.uri)
        if settings.fix.test and path and not unit.is_notebook:
            report("waiting for your word to run the tests", None)
            if await self._consent.to_run(settings.fix.test, self._folder(Path(path))):
                seconds = settings.fix.test_seconds
                options["test"] = {"command": settings.fix.test, "path": path, "seconds": seconds}
        report("reading", None)
        request = FixRequest(
            uri=unit.uri, version=unit.version, text=unit.text, span=place.span, options=options
        )
        return await self._parts.analyst.fix(request, report)

    def _folder(self, path: Path) -> Path:
        return folder_of(path, self._parts.configuration.roots) or path.parent

    async def _apply(self, place: Place, fix: Fix) -> dict[str, Any]:
        if place.session.unit is not place.unit:
            return self._too_late(place, TOO_LATE)
        part_and_edit = edit_of_fix(place.unit, fix)
        if part_and_edit is None or not self._server.client.applies_edits:
            reason = "This editor takes no edits from servers; the fix is among the code actions now."
            self._say(f"ACE: {reason}")
            return {"applied": False, "reason": reason}
        part, edit = part_and_edit
        settings = self._parts.sessions.settings_of(place.unit).server
        title = title_of(place.unit, fix)
        whole = workspace_edit(
            self._server.client, part, [edit], preview=title if settings.preview_fix else None
        )
        try:
            params = types.ApplyWorkspaceEditParams(label=f"ACE: {title}", edit=whole)
            answer = await self._server.workspace_apply_edit_async(params)
        except Exception as error:
            answer = types.ApplyWorkspaceEditResult(applied=False, failure_reason=str(error))
        if answer.applied:
            return {"applied": True, "reason": ""}
        why = f": {answer.failure_reason}" if answer.failure_reason else ""
        return self._too_late(place, f"ACE: the editor did not make the edit{why}.")

    def _too_late(self, place: Place, reason: str) -> dict[str, Any]:
        """Tell it, without having the command wait for an answer, and offer to do it again."""
        offer = asyncio.ensure_future(self._offer(place, reason))
        self._offers.add(offer)
        offer.add_done_callback(self._offers.discard)
        return {"applied": False, "reason": reason}

    async def _offer(self, place: Place, reason: str) -> None:
        try:
            if await choice(self._server, reason, TRY_AGAIN) != TRY_AGAIN:
                return
            now = place.session.unit
            span = carried_span(place.span, place.unit.text, now.text)
            again = now.place(span) if span is not None else None
            if again is None:
                self._say("ACE: what was to be replaced is not there any more.")
                return
            part, local = again
            await self.regenerate(part.uri, part.lines.range_of(local), -1, apply=True)
        except Exception as error:
            logger.info("not tried again: %s", error)

    def _say(self, message: str) -> None:
        params = types.ShowMessageParams(type=types.MessageType.Info, message=message)
        self._server.window_show_message(params)


def _told(unit: Unit, fix: Fix) -> dict[str, Any]:
    """A fix for a plugin: as on the wire, with its title and the edit's range in its document."""
    found = edit_of_fix(unit, fix)
    place = {"uri": found[0].uri, "range": found[1].range, "newText": found[1].new_text} if found else {}
    return {**fix_to_wire(fix), "title": title_of(unit, fix), **place}


def _key(unit: Unit) -> tuple[str, bytes]:
    text = unit.text.encode("utf-8", "surrogatepass")
    return unit.uri, hashlib.blake2b(text, digest_size=16).digest()
