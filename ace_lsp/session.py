"""One open unit: its newest version wins.

    opened ──scan──> edited: findings carried over, running scan cancelled ──rest──> scan ──> ...

What is shown belongs to the newest version always: findings of the version before are moved by the edit, and
each scope's are replaced when the scope was analysed. A scan of a version that is no longer the newest is
cancelled, down to the model's layer, and nothing of it is shown.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ace_analysis.report.finding import Finding, ScopeReport
from ace_analysis.source.document import TextSpan
from ace_lsp.analyst import Analyst, AnalystError, AnalystUnavailable, Priority, ScanRequest, State
from ace_lsp.carrying import carry, edited
from ace_lsp.features.progress import ProgressBar, slow_work
from ace_lsp.units import Unit

if TYPE_CHECKING:
    from ace_lsp.configuration import DocumentSettings
    from ace_lsp.publishing import Publisher

logger = logging.getLogger(__name__)

MakeBar = Callable[[str, Callable[[], None]], ProgressBar]
"""A progress bar from a title and what cancelling it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a scan went. `analysed` scopes were read by the model, the others were known already."""

    version: int
    findings: int
    scopes: int
    analysed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all sessions share."""

    analyst: Analyst
    publisher: "Publisher"
    make_bar: MakeBar
    on_analysed: Callable[["Session"], None] = lambda _: None
    """Called when all of a unit's newest version was analysed."""


class Session:
    """See the module's docstring."""

    def __init__(self, desk: Desk, unit: Unit) -> None:
        self._desk = desk
        self.unit = unit
        self.findings: tuple[Finding, ...] = ()
        """What is shown."""
        self._found: tuple[Finding, ...] = ()
        """The same, with what the baseline knows."""
        self._task: asyncio.Task[Summary] | None = None
        self._first: TextSpan | None = None
        self._attached: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def analysis(self) -> "asyncio.Task[Summary] | None":
        """What analyses the newest version, or has."""
        return self._task

    def attach(self, task: "asyncio.Task[Any]") -> None:
        """Have a task end with this version of the unit."""
        self._attached.add(task)
        task.add_done_callback(self._attached.discard)

    def finding_at(self, offset: int) -> Finding | None:
        """The finding that stands there, or ends there; the likeliest one where there are several."""
        found = (each for each in self.findings if each.span.start <= offset <= each.span.end)
        return max(found, key=lambda each: (offset < each.span.end, each.score), default=None)

    def move_to(self, unit: Unit) -> None:
        """There is a new version. What runs is for an old one, so it ends."""
        self.stop()
        self._detach()
        old, new = self.unit.text, unit.text
        if old != new:
            start, old_end, shift = edited(old, new)
            self._first = TextSpan(max(0, start - 1), min(len(new), old_end + shift + 1))
        self.findings, self._found = carry(self.findings, old, new), carry(self._found, old, new)
        self.unit = unit
        self._desk.publisher.move(unit, self.findings)

    def analyse(
        self, settings: "DocumentSettings", priority: Priority, *, delay: float = 0.0
    ) -> "asyncio.Task[Summary]":
        """Analyse the newest version after `delay` seconds, in place of what runs."""
        self.stop()
        self._task = asyncio.ensure_future(self._analyse(settings, priority, delay))
        self._task.add_done_callback(_log_failure)
        return self._task

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """The unit is gone, or is not to be analysed any more."""
        self.stop()
        self._detach()
        self.findings = self._found = ()
        self._desk.publisher.clear(self.unit.uri)

    def _detach(self) -> None:
        for task in self._attached:
            task.cancel()
        self._attached.clear()

    async def _analyse(self, settings: "DocumentSettings", priority: Priority, delay: float) -> Summary:
        unit = self.unit
        await asyncio.sleep(delay)
        request = ScanRequest(
            uri=unit.uri,
            version=unit.version,
            text=unit.text,
            priority=priority,
            first=self._first,
            max_false_alarms=settings.check.max_false_alarms,
        )
        loop = asyncio.get_running_loop()
        begin, seen = loop.time(), _Seen()
        async with slow_work(self._bar, self._works) as report:

            def on_scope(scope: ScopeReport) -> None:
                if self.unit is not unit:
                    return
                self._take(merged(self._found, scope, settings.hidden), settings)
                seen.add(scope)
                report(f"{seen.scopes} scopes", seen.code_points / max(1, len(unit.text)))
                self._desk.publisher.show(unit, self.findings, finished=False)

            scopes = await self._desk.analyst.scan(request, on_scope)
        found: tuple[Finding, ...] = ()
        for scope in scopes:
            found = merged(found, scope, settings.hidden)
        self._take(found, settings)
        self._first = None
        self._desk.publisher.show(unit, self.findings, finished=True)
        self._desk.on_analysed(self)
        return Summary(
            version=unit.version,
            findings=len(self.findings),
            scopes=len(scopes),
            analysed=sum(not scope.from_cache for scope in scopes),
            seconds=loop.time() - begin,
        )

    def _take(self, found: tuple[Finding, ...], settings: "DocumentSettings") -> None:
        self._found = found
        self.findings = settings.baseline.new(settings.baseline_path, self.unit.text, found)

    def _bar(self) -> ProgressBar:
        name = self.unit.uri.rsplit("/", 1)[-1]
        return self._desk.make_bar(f"ACE: {name}", self.stop)

    def _works(self) -> bool:
        return self._desk.analyst.status.state is State.BUSY


@dataclass(slots=True)
class _Seen:
    scopes: int = 0
    code_points: int = 0

    def add(self, report: ScopeReport) -> None:
        self.scopes += 1
        self.code_points += len(report.scope)


def merged(
    findings: tuple[Finding, ...], report: ScopeReport, hidden: frozenset[str] = frozenset()
) -> tuple[Finding, ...]:
    """The findings with those of one scope replaced by what was found there now."""
    start, end = report.scope.start, report.scope.end
    others = (finding for finding in findings if not start <= finding.span.start < end)
    new = (finding for finding in report.findings if finding.kind not in hidden)
    return tuple(sorted((*others, *new), key=lambda finding: finding.span))


def _log_failure(task: "asyncio.Task[Summary]") -> None:
    """An engine that isn't there has been told about already; a scan that failed concerns one document."""
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, AnalystUnavailable):
        logger.debug("not analysed: %s", error)
    elif isinstance(error, AnalystError):
        logger.error("not analysed: %s", error)
    elif error is not None:
        logger.error("a scan failed unexpectedly", exc_info=error)
