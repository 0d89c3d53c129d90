"""How often a wrong line is set right, by each way of making candidates, decided by running the tests.

Every arm is told the line and may offer so many candidates, best first, without running anything. *First*
is that the first one passes the tests, *any* that one of them does; *exact* that the first is the program
that stands in the data. Arms are compared on the same tasks: the interval of a gain is that of the
differences, over problems drawn again. What an arm offers is kept as it comes, and so is how each test run
ended, so that a run that was stopped goes on, and one that is repeated costs nothing.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair_tasks import RepairTask
from ace_analysis.evaluation.sandbox import Sandbox
from ace_analysis.evaluation.statistics import Interval, mean
from ace_analysis.steering.candidates import program_of

Progress = Callable[[str, float | None], None]

MEASURES = ("first", "any", "exact", "repeats")


class Arm(Protocol):
    """A way of making candidates. `identity` names everything that what it offers depends on."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def offered_in(self) -> float | None:
        """Seconds of its own that the latest offer took, where arms write together; None: as a clock says."""
        ...

    def offer(self, text: str, line: int) -> Sequence[str]:
        """Whole new texts, made to mend a line (from 0) of a text, best first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an arm offered for a task, whether each of it passes the tests, and how long it took."""

    task: RepairTask
    offered: tuple[str, ...]
    passed: tuple[bool, ...]
    seconds: float

    def measure(self, name: str) -> float:
        """1 or 0 for one of MEASURES; nothing offered is nothing right."""
        if name == "any":
            return float(any(self.passed))
        if not self.offered:
            return 0.0
        if name == "first":
            return float(self.passed[0])
        wanted = self.task.fixed if name == "exact" else self.task.buggy
        return float(program_of(self.offered[0]) == program_of(wanted))


def attempt(arm: Arm, task: RepairTask, count: int, sandbox: Sandbox, ledger: Ledger) -> Attempt:
    """Have an arm offer up to `count` texts for a task, or read what it once did, and run their tests."""
    key = "offer:" + hashlib.sha256(repr((arm.identity, task.buggy, task.line)).encode()).hexdigest()
    kept = ledger.get(key)
    if kept is None:
        start = time.perf_counter()
        offered = list(arm.offer(task.buggy, task.line))
        seconds = time.perf_counter() - start if arm.offered_in is None else arm.offered_in
        kept = {"offered": offered, "seconds": seconds}
        ledger.put(key, kept)
    texts = tuple(kept["offered"][:count])
    passed = tuple(sandbox.passes(text, task.tests) for text in texts)
    return Attempt(task=task, offered=texts, passed=passed, seconds=kept["seconds"])


def failing(tasks: Sequence[RepairTask], sandbox: Sandbox) -> tuple[list[RepairTask], int]:
    """The tasks whose tests notice the bug and accept the fix here, and how many do not."""
    good = [
        task
        for task in tasks
        if sandbox.passes(task.fixed, task.tests) and not sandbox.passes(task.buggy, task.tests)
    ]
    return good, len(tasks) - len(good)


def summary(attempts: Mapping[str, Sequence[Attempt]], base: str) -> dict[str, Any]:
    """For each arm, its measures with 95 % intervals over problems, and its gain over the arm `base`.

    All arms must have attempted the same tasks in the same order.
    """
    return {
        name: {
            "tasks": len(tried),
            **{measure: _mean(tried, measure).as_json() for measure in MEASURES},
            "gain_first": None if name == base else _gain(tried, attempts[base], "first").as_json(),
            "gain_any": None if name == base else _gain(tried, attempts[base], "any").as_json(),
            "offered": float(np.mean([len(each.offered) for each in tried])),
            "median_seconds": float(np.median([each.seconds for each in tried])),
        }
        for name, tried in attempts.items()
    }


def _mean(tried: Sequence[Attempt], measure: str) -> Interval:
    return mean([each.measure(measure) for each in tried], [each.task.problem for each in tried])


def _gain(tried: Sequence[Attempt], base: Sequence[Attempt], measure: str) -> Interval:
    differences = [
        one.measure(measure) - other.measure(measure) for one, other in zip(tried, base, strict=True)
    ]
    return mean(differences, [each.task.problem for each in tried])


def exact_rate(hits: int, of: int) -> Interval:
    """A rate with the exact 95 % interval (Clopper and Pearson 1934), which has a width at 0 of many too."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return Interval(hits / of if of else float("nan"), low, high)
