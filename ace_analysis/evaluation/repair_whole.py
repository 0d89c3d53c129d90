"""The whole of it, as a user has it: what is found without being told the line, and what its first fix does.

On right programs every fix is a danger: a program is *corrupted* if the first fix of any finding makes its
tests fail. On wrong ones a bug is *found* if a finding is on its line, and *mended* if that finding's first
fix passes the tests. The published method mends 4.0 % and corrupts 14.7 % (Tahimic & Cheng,
arXiv:2510.02917).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair import exact_rate
from ace_analysis.evaluation.repair_tasks import CleanProgram, RepairTask
from ace_analysis.evaluation.sandbox import Sandbox

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """A finding's line (from 0), and the whole text with its first fix; None where no fix was offered."""

    line: int
    fixed: str | None


class WholePipeline(Protocol):
    """Finds what is wrong in a text and fixes it; `identity` names what the outcome depends on."""

    @property
    def identity(self) -> str: ...

    def places(self, text: str) -> Sequence[FoundPlace]: ...


def places_of(pipeline: WholePipeline, text: str, ledger: Ledger) -> tuple[FoundPlace, ...]:
    """What a pipeline finds in a text, or once found."""
    key = "whole:" + hashlib.sha256(repr((pipeline.identity, text)).encode()).hexdigest()
    kept = ledger.get(key)
    if kept is None:
        start = time.perf_counter()
        found = [asdict(place) for place in pipeline.places(text)]
        kept = {"places": found, "seconds": time.perf_counter() - start}
        ledger.put(key, kept)
    return tuple(FoundPlace(place["line"], place["fixed"]) for place in kept["places"])


def measure_corruption(
    programs: Sequence[CleanProgram],
    pipeline: WholePipeline,
    sandbox: Sandbox,
    ledger: Ledger,
    progress: Progress,
) -> dict[str, Any]:
    """How many right programs a first fix breaks. Programs whose own tests fail here are left out."""
    findings = offered = flagged = left_out = 0
    corrupted: list[str] = []
    for index, program in enumerate(programs):
        progress("right programs through the whole pipeline", index / len(programs))
        if not sandbox.passes(program.text, program.tests):
            left_out += 1
            continue
        places = places_of(pipeline, program.text, ledger)
        fixes = [place.fixed for place in places if place.fixed is not None]
        findings += len(places)
        flagged += bool(places)
        offered += len(fixes)
        if not all(sandbox.passes(fix, program.tests) for fix in fixes):
            corrupted.append(program.id)
    run = len(programs) - left_out
    return {
        "programs": run,
        "left_out": left_out,
        "lines": sum(program.text.count("\n") + 1 for program in programs),
        "flagged": flagged,
        "findings": findings,
        "fixes_offered": offered,
        "corrupted": exact_rate(len(corrupted), run).as_json(),
        "corrupted_programs": corrupted,
    }


def measure_end_to_end(
    tasks: Sequence[RepairTask],
    pipeline: WholePipeline,
    sandbox: Sandbox,
    ledger: Ledger,
    progress: Progress,
) -> dict[str, Any]:
    """How many bugs are found on their line, and then mended by the first fix of that finding."""
    found = mended = elsewhere = 0
    for index, task in enumerate(tasks):
        progress("wrong programs through the whole pipeline", index / len(tasks))
        places = places_of(pipeline, task.buggy, ledger)
        here = [place for place in places if place.line == task.line]
        found += bool(here)
        elsewhere += len(places) - len(here)
        mended += any(place.fixed is not None and sandbox.passes(place.fixed, task.tests) for place in here)
    return {
        "tasks": len(tasks),
        "found": exact_rate(found, len(tasks)).as_json(),
        "mended": exact_rate(mended, len(tasks)).as_json(),
        "findings_elsewhere": elsewhere,
    }
