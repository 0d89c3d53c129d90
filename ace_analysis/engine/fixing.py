"""`Engine.fix`: what could stand in a place, checked by the scan's own scores and by the user's tests.

A place with a finding has to lose it; a place that a person named must not score worse than before. The whole
model that writes is loaded when the first fix is asked for, and the scan's blocks stay as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ace_analysis.engine.tasks import ScanOptions
from ace_analysis.errors import InputError
from ace_analysis.model.store import Progress
from ace_analysis.report.finding import Finding
from ace_analysis.report.repair import Fix, Gate, GateResult
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.reading import encode_source
from ace_analysis.source.replacing import with_line_ends_of
from ace_analysis.steering.options import RepairOptions
from ace_analysis.steering.regions import Level
from ace_analysis.steering.repair import RepairRequest, Watch, repair
from ace_analysis.steering.shipped import shipped_steering
from ace_analysis.steering.user_tests import TestPlan, project_copy

if TYPE_CHECKING:
    from ace_analysis.engine.scanning import Engine

LEAST_GAIN = 0.0
"""Nats by which the whole scope has to become likelier where a person or a test says that it is wrong."""

LEAST_GAIN_UNASKED = 4.0
"""The same where only the model says so."""

LEAST_SCORE_UNASKED = 9.0
"""Nats that the ranking has to give it there, all opinions together. On the validation halves, of 184 right
programs 8 are made wrong without these two, 1 with 4 and 6 nats, none with 4 and 9; of 15 right first fixes
of bugs that are found, 14 and 12 are left. To break a right program is worse than to show a bug without a
fix."""

MOST_TESTED = 12
"""Candidates that tests decide between; each costs a run of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOptions:
    """How a place is repaired.

    Attributes:
        candidates: how many texts the model writes anew; None: as the settings say.
        level: how much is replaced at most; None: a line that was named, else the line of the place or the
            statement that it is part of.
        test: a command that decides; None runs nothing.
        encode: the text of a file as the bytes that its tests read.
        max_false_alarms: the rate that findings are shown at; None: as the settings say.
        most: how many fixes are offered at most.
    """

    candidates: int | None = None
    level: Level | None = None
    test: TestPlan | None = None
    encode: Callable[[str], bytes] = encode_source
    max_false_alarms: float | None = None
    most: int = 5


def options_from(data: Mapping[str, Any]) -> FixOptions:
    """Options as a client of the worker sends them: candidates, level, most, max_false_alarms, test.

    `test` is {"command", "path", "seconds"}: who sends it has the user's consent.

    Raises:
        InputError: an option that is not known, or can't be used.
    """
    known = {"candidates", "level", "most", "max_false_alarms", "test"}
    if unknown := sorted(set(data) - known):
        raise InputError(f"expected options among {', '.join(sorted(known))}, got {unknown[0]!r}")
    values = {name: value for name, value in data.items() if value is not None}
    try:
        if "level" in values:
            values["level"] = Level(values["level"])
        if "test" in values:
            test = values["test"]
            seconds = float(test.get("seconds", 60.0))
            values["test"] = TestPlan(command=str(test["command"]), path=Path(test["path"]), seconds=seconds)
        for name in ("candidates", "most"):
            if name in values and (not isinstance(values[name], int) or values[name] < 1):
                raise ValueError(f"{name}: {values[name]!r} is no whole number from 1 on")
        return FixOptions(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected options of a fix ({error}), got {dict(data)!r:.200}") from error


class Fixer:
    """Repairs places with an engine's model and bundle."""

    def __init__(
        self,
        engine: "Engine",
        options: FixOptions,
        cancelled: Callable[[], bool],
        progress: Progress | None,
    ) -> None:
        self._engine, self._options = engine, options
        self._watch = Watch(cancelled, progress) if progress is not None else Watch(cancelled)

    def fix(self, document: CodeDocument, place: TextSpan | int) -> tuple[Fix, ...]:
        """Fixes of a place, best first."""
        span = span_of(document, place)
        engine, options = self._engine, self._options
        self._watch.progress("reading the place", 0.0)
        # A person who names a line need not prove it: what stands there is wrong, found or not.
        finding = None if isinstance(place, int) else self._finding(document, span)
        threshold = engine.threshold(options.max_false_alarms) if finding is not None else None
        unasked = finding is not None and options.test is None
        causal = engine.causal(self._watch.progress)
        steering = shipped_steering(engine.bundle, engine.settings.steering)
        plan = RepairOptions(
            candidates=options.candidates or engine.settings.fix.candidates,
            vectors=steering.vectors,
            strengths=steering.strengths,
            gate=steering.gate,
            most_fixes=options.most if options.test is None else MOST_TESTED,
            least_gain=LEAST_GAIN_UNASKED if unasked else LEAST_GAIN,
            least_score=LEAST_SCORE_UNASKED if unasked else -inf,
            most_weighed=RepairOptions().most_weighed if options.test is None else MOST_TESTED,
        )
        # A line that was named is the line that is wrong, not the whole statement that goes on behind it.
        level = options.level or (Level.LINE if isinstance(place, int) else None)
        request = RepairRequest(document, span, level, threshold)
        fixes = repair(causal, engine.bundle, request, plan, self._watch)
        ended = tuple(
            replace(fix, replacement=with_line_ends_of(document.text, fix.replacement)) for fix in fixes
        )
        return ended if options.test is None else self._tested(document, ended, options.test)

    def _finding(self, document: CodeDocument, span: TextSpan) -> Finding | None:
        """The finding that a place is about: the one on its lines with the highest score."""
        options = ScanOptions(only=(span,), max_false_alarms=self._options.max_false_alarms)
        reports = self._engine.scan(document, options=options, cancelled=self._watch.cancelled)
        lines = _lines(document, span)
        found = [
            finding
            for report in reports
            for finding in report.findings
            if document.line_column(finding.span.start)[0] in lines
        ]
        return max(found, key=lambda finding: finding.score, default=None)

    def _tested(self, document: CodeDocument, fixes: tuple[Fix, ...], plan: TestPlan) -> tuple[Fix, ...]:
        """Those with which the tests pass, in the order that they came in."""
        if not fixes:
            return ()
        encode, cancelled = self._options.encode, self._watch.cancelled
        passed: list[Fix] = []
        with project_copy(plan) as project:
            self._watch.progress("running the tests as it is", 0.0)
            before = project.passes(encode(document.text), cancelled)
            note = "passed before, too" if before else "failed before"
            for index, fix in enumerate(fixes):
                self._watch.progress("running the tests with each fix", index / len(fixes))
                if project.passes(encode(fix.applied_to(document.text)), cancelled):
                    gates = (*fix.gates, GateResult(Gate.TESTS, True, note))
                    passed.append(replace(fix, gates=gates, verified_by_tests=True))
                if len(passed) == self._options.most:
                    break
        return tuple(passed)


def span_of(document: CodeDocument, place: TextSpan | int) -> TextSpan:
    """A place as a span: a line (from 1) is all of it.

    Raises:
        InputError: a line or a span that the document doesn't have.
    """
    if isinstance(place, TextSpan):
        if place.end > len(document):
            raise InputError(
                f"expected a span within {len(document)} code points, got {place.start}..{place.end}"
            )
        return place
    count = len(document.line_starts)
    if not 1 <= place <= count:
        raise InputError(f"{document.uri}: expected a line from 1 to {count}, got {place}")
    start = document.line_starts[place - 1]
    return TextSpan(start, start + len(document.line_text(place)))


def _lines(document: CodeDocument, span: TextSpan) -> range:
    first, _ = document.line_column(span.start)
    last, _ = document.line_column(max(span.start, span.end - 1))
    return range(first, last + 1)
