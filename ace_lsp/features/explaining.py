"""Explanations on demand: for a hover over a finding, and for any place when a person asks.

A hover says at once what the scan knows, and waits only a moment for more; what comes later is there for the
next hover. The likeliest findings are explained ahead, while nothing else is to do. An explanation belongs to
one version of a text: it is asked for once, kept with that version, and cancelled by an edit, or when nobody
waits for it any more.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lsprotocol import types

from ace_analysis.report.attribution import Attribution
from ace_analysis.report.attribution_wire import attribution_to_wire
from ace_analysis.report.finding import Finding
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_lsp.analyst import ExplainRequest, OnProgress, Priority, State
from ace_lsp.features.hover import Told, hover_of, markdown_of, plain_of
from ace_lsp.features.pages import LatentPages
from ace_lsp.session import Session
from ace_lsp.units import Unit

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that a hover waits for the explanation before it says what is known without."""

REST = 0.5
"""Seconds without news after which findings are explained ahead."""

METHOD = "ace/explain"
COMING = "Which heads, layers and source tokens are behind this is being worked out; hover again to see it."


class NothingThere(Exception):
    """Why a place has no explanation; the message is fit for a person."""


@dataclass(slots=True, eq=False)
class _Asked:
    """One explanation, asked for or here."""

    task: "asyncio.Task[Attribution]"
    priority: Priority
    begun: bool = False
    waiting: int = 0

    @property
    def result(self) -> Attribution | None:
        ended = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if ended else None

    def serves(self, priority: Priority) -> bool:
        """Whether who asks with this priority is helped by it; not where it stands behind other work."""
        if self.task.done():
            return self.result is not None
        return self.begun or self.waiting > 0 or self.priority <= priority


class Explainer:
    """Answers hovers and the command `ace.explainHere`."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts
        self._asked: WeakKeyDictionary[Unit, dict[tuple[int, bool], _Asked]] = WeakKeyDictionary()
        """By version of a unit, and by what was asked: an offset, and whether what is expected there."""
        self._ahead: WeakKeyDictionary[Session, asyncio.Task[None]] = WeakKeyDictionary()
        self._pages_of: tuple[str, ...] = ()
        self._pages = LatentPages("", "", "")

    async def hover(self, params: types.HoverParams) -> types.Hover | None:
        """What is known of the finding, or of the explained token, at a position."""
        place = self._place(params.text_document.uri, params.position)
        if place is None:
            return None
        session, offset = place
        unit, finding = session.unit, session.finding_at(offset)
        if finding is None:
            return self._hover(unit, self._told(unit, None, self._explained(unit, offset), ""))
        why, note = None, ""
        if self._may_ask():
            why, note = await self._within_patience(session, finding)
        return self._hover(unit, self._told(unit, finding, why, note))

    def ahead(self, session: Session) -> None:
        """Have the likeliest findings explained while nothing else is to do."""
        if self._parts.sessions.settings_of(session.unit).server.explain_ahead and self._may_ask():
            if (before := self._ahead.get(session)) is not None:
                before.cancel()
            self._ahead[session] = task = asyncio.ensure_future(self._explain_ahead(session))
            session.attach(task)

    async def _explain_ahead(self, session: Session) -> None:
        await asyncio.sleep(REST)
        most = self._parts.sessions.settings_of(session.unit).server.explain_ahead
        likeliest = sorted(session.findings, key=lambda finding: -finding.score)[:most]
        for finding in likeliest:
            if not self._may_ask():
                return
            asked = self._ask(session, (finding.span.start, False), Priority.BACKGROUND, _nobody)
            await asyncio.wait({asked.task})

    async def explain_here(
        self, uri: str, position: types.Position, on_progress: OnProgress, *, html: bool = False
    ) -> dict[str, Any]:
        """Why a finding was found, or what the model expects there; raises NothingThere, AnalystError."""
        place = self._place(uri, position)
        if place is None:
            raise NothingThere(f"expected a place in a Python document that is open, got {uri!r}")
        session, offset = place
        unit, finding = session.unit, session.finding_at(offset)
        if finding is not None:
            offset = finding.span.start
        asked = self._ask(session, (offset, finding is None), Priority.COMMAND, on_progress)
        await _ended(asked, None)
        if asked.task.cancelled():
            raise NothingThere("the document was changed or closed, or the explanation was cancelled")
        why = asked.task.result()
        told = self._told(unit, finding, why, "")
        page = {"html": _page_of(unit, why)} if html else {}
        return {
            **page,
            "attribution": attribution_to_wire(why),
            "markdown": markdown_of(told),
            "plain": plain_of(told),
        }

    def _place(self, uri: str, position: types.Position) -> tuple[Session, int] | None:
        session = self._parts.sessions.find(self._server.documents, uri)
        span = session.unit.span_of(uri, types.Range(position, position)) if session is not None else None
        return (session, span.start) if session is not None and span is not None else None

    def _may_ask(self) -> bool:
        """Not where it would be refused, or where a person wants rest."""
        status = self._parts.analyst.status
        if status.state is State.FAILED or self._parts.sessions.paused:
            return False
        return self._parts.analyst.supports(METHOD) or "methods" not in status.info

    def _explained(self, unit: Unit, offset: int) -> Attribution | None:
        results = (asked.result for asked in self._asked.get(unit, {}).values())
        spans = (each for each in results if each is not None)
        return next((each for each in spans if each.target.span.start <= offset < each.target.span.end), None)

    async def _within_patience(self, session: Session, finding: Finding) -> tuple[Attribution | None, str]:
        """The explanation if it comes in time, else why not."""
        asked = self._ask(session, (finding.span.start, False), Priority.HOVER, _nobody)
        if not await _ended(asked, PATIENCE):
            return None, COMING
        if asked.task.cancelled():  # by an edit: there will be another hover
            return None, ""
        error = asked.task.exception()
        return asked.result, f"There is no explanation: {error}" if error is not None else ""

    def _ask(
        self, session: Session, what: tuple[int, bool], priority: Priority, on_progress: OnProgress
    ) -> _Asked:
        """The explanation of a place, asked for now unless it was before; a failure is asked for again."""
        unit = session.unit
        of_unit = self._asked.setdefault(unit, {})
        before = of_unit.get(what)
        if before is not None and before.serves(priority):
            return before
        if before is not None:
            before.task.cancel()
        offset, expectation = what
        request = ExplainRequest(
            uri=unit.uri,
            version=unit.version,
            text=unit.text,
            offset=offset,
            priority=priority,
            expectation=expectation,
            max_false_alarms=self._parts.sessions.settings_of(unit).check.max_false_alarms,
        )

        def hear(message: str, fraction: float | None) -> None:
            asked.begun = True
            on_progress(message, fraction)

        task = asyncio.ensure_future(self._parts.analyst.explain(request, hear))
        task.add_done_callback(_look_at_the_error)
        session.attach(task)
        asked = of_unit[what] = _Asked(task, priority)
        return asked

    def _told(self, unit: Unit, finding: Finding | None, why: Attribution | None, note: str) -> Told:
        return Told(
            text=unit.text, where=_words(unit), finding=finding, attribution=why, note=note, page=self._page
        )

    def _page(self, feature: str) -> str | None:
        """The address of a latent's page, in the bundle that the worker has loaded."""
        info = self._parts.analyst.status.info
        key = tuple(str(info.get(name, "")) for name in ("bundle", "model", "fingerprint"))
        if key != self._pages_of:
            self._pages_of, self._pages = key, LatentPages(*key)
        return self._pages.address(feature)

    def _hover(self, unit: Unit, told: Told) -> types.Hover | None:
        if told.finding is not None:
            span = told.finding.span
        elif told.attribution is not None:
            span = told.attribution.target.span
        else:
            return None
        place = unit.place(span)
        where = place[0].lines.range_of(place[1]) if place is not None else None
        return hover_of(told, where, markdown=self._server.client.markdown)


async def _ended(asked: _Asked, seconds: float | None) -> bool:
    """Wait for it. Who is cancelled while waiting alone takes the work along; who has no more time, not."""
    asked.waiting += 1
    try:
        await asyncio.wait({asked.task}, timeout=seconds)
    except asyncio.CancelledError:
        if asked.waiting == 1:
            asked.task.cancel()
        raise
    finally:
        asked.waiting -= 1
    return asked.task.done()


def _words(unit: Unit) -> Callable[[TextSpan], str]:
    """A place in words, as a person counts."""

    def words(span: TextSpan) -> str:
        place = unit.place(span)
        if place is None:
            return "elsewhere"
        part, local = place
        line = f"line {part.lines.line_at(local.start) + 1}"
        return f"cell {unit.parts.index(part) + 1}, {line}" if unit.is_notebook else line

    return words


def _page_of(unit: Unit, why: Attribution) -> str:
    from ace_analysis.report.html import document_of, why_html

    document = CodeDocument(uri=unit.uri, text=unit.text, version=unit.version)
    return document_of(f"ACE: {why.target.text}", why_html(document, why))


def _nobody(_: str, __: float | None) -> None:
    """Hears the progress of what nobody watches."""


def _look_at_the_error(task: "asyncio.Task[Any]") -> None:
    """So that asyncio doesn't complain of one that no hover came back for."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.info("not explained: %s", error)
