"""What can be asked of a worker, as it crosses the wire: params out, reports back.

Apart from worker_analyst.py, which is about when a worker runs and whether it is alive, whatever it is asked.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from ace_analysis.report.attribution import Attribution
from ace_analysis.report.attribution_wire import attribution_from_wire
from ace_analysis.report.finding import ScopeReport
from ace_analysis.report.repair import Fix
from ace_analysis.report.repair_wire import fix_from_wire
from ace_analysis.report.wire import scope_report_from_wire
from ace_lsp.analyst import ExplainRequest, FixRequest, OnProgress, Priority, ScanRequest
from ace_lsp.jobs import Job


class Verbs(ABC):
    """The verbs of `ace_lsp.analyst.Analyst`, over `_submit`."""

    @abstractmethod
    async def _submit(self, job: Job) -> Any:
        """Have the worker do a job; its answer as JSON, or AnalystError."""

    async def scan(
        self, request: ScanRequest, on_scope: Callable[[ScopeReport], None]
    ) -> tuple[ScopeReport, ...]:
        params: dict[str, Any] = {"uri": request.uri, "version": request.version, "text": request.text}
        if request.sites:
            params["sites"] = True
        if request.first is not None:
            params["first"] = [request.first.start, request.first.end]
        if request.max_false_alarms is not None:
            params["max_false_alarms"] = request.max_false_alarms

        def hear(method: str, note: Mapping[str, Any]) -> None:
            if method == "ace/scope":
                on_scope(scope_report_from_wire(note["scope"]))

        job = Job(method="ace/scan", params=params, priority=request.priority, on_note=hear)
        result = await self._submit(job)
        return tuple(scope_report_from_wire(each) for each in result["scopes"])

    async def explain(self, request: ExplainRequest, on_progress: OnProgress) -> Attribution:
        params = {
            "uri": request.uri,
            "version": request.version,
            "text": request.text,
            "offset": request.offset,
            "expectation": request.expectation,
            "max_false_alarms": request.max_false_alarms,
        }
        hear = _progress_to(on_progress)
        job = Job(method="ace/explain", params=params, priority=request.priority, on_note=hear)
        return attribution_from_wire(await self._submit(job))

    async def fix(self, request: FixRequest, on_progress: OnProgress) -> tuple[Fix, ...]:
        params = {
            "uri": request.uri,
            "version": request.version,
            "text": request.text,
            "start": request.span.start,
            "end": request.span.end,
            "options": dict(request.options),
        }
        hear = _progress_to(on_progress)
        job = Job(method="ace/fix", params=params, priority=request.priority, on_note=hear)
        result = await self._submit(job)
        return tuple(fix_from_wire(each) for each in result["fixes"])

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        priority: Priority,
        on_progress: OnProgress | None = None,
    ) -> Any:
        hear = None if on_progress is None else _progress_to(on_progress)
        return await self._submit(Job(method=method, params=params, priority=priority, on_note=hear))


def _progress_to(on_progress: OnProgress) -> Callable[[str, Mapping[str, Any]], None]:
    def hear(method: str, note: Mapping[str, Any]) -> None:
        if method == "ace/progress":
            on_progress(str(note.get("message", "")), note.get("fraction"))

    return hear
