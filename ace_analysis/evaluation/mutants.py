"""How many planted bugs the tests of their functions notice.

A mutant that passes good tests is often no bug at all. The share of such survivors, by type, bounds how many
of the labels that a detector learns from are wrong (from above: weak tests let real bugs survive too).
"""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ace_analysis.errors import InputError
from ace_analysis.evaluation.sandbox import Limits, Sandbox
from ace_analysis.source.mutation import MutationGenerator, MutationPair, MutationType
from ace_analysis.source.mutation.generator import spread

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedFunction:
    """A text and the assertions that hold for it."""

    name: str
    text: str
    tests: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalOptions:
    """How much to run, and how much a single run may take."""

    functions: int = 150
    mutants_per_function: int = 3
    seed: int = 0
    limits: Limits = field(default_factory=lambda: Limits(megabytes=1024))


@dataclass(slots=True)
class SurvivalReport:
    """How many mutants of each type were run, and how many of them passed the tests."""

    functions: int = 0
    failing: int = 0
    """Functions left out because their own tests fail."""
    run: dict[MutationType, int] = field(default_factory=dict)
    survived: dict[MutationType, int] = field(default_factory=dict)
    survivors: list[MutationPair] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of all mutants that survived; 0 if none was run."""
        return sum(self.survived.values()) / max(1, sum(self.run.values()))

    def share_of(self, kind: MutationType) -> float | None:
        """The share of one type's mutants that survived; None if none was run."""
        return self.survived.get(kind, 0) / self.run[kind] if self.run.get(kind) else None


def measure_survivors(
    path: Path, options: SurvivalOptions | None = None, progress: Progress | None = None
) -> SurvivalReport:
    """Run mutants of the functions in a file of JSON lines (`fixed` and `tests`) against their tests.

    This runs the code of the file, in the sandbox, which guards against accidents and not against malice.
    Name only files that you trust.
    """
    options = options or SurvivalOptions()
    rng = random.Random(options.seed)
    functions = list(read_tested(path))
    chosen = rng.sample(functions, min(options.functions, len(functions)))
    report = SurvivalReport()
    sandbox = Sandbox(options.limits)
    generator = MutationGenerator(options.seed)
    for index, function in enumerate(chosen):
        if progress is not None:
            progress("running mutants", index / len(chosen))
        if not sandbox.passes(function.text, function.tests):
            report.failing += 1
            continue
        report.functions += 1
        pairs = spread(generator.mutations_of(function.text), options.mutants_per_function, rng)
        for pair in pairs:
            _count(report, pair, sandbox.passes(pair.negative, function.tests))
    return report


def _count(report: SurvivalReport, pair: MutationPair, survived: bool) -> None:
    kind = pair.mutation_type
    report.run[kind] = report.run.get(kind, 0) + 1
    if survived:
        report.survived[kind] = report.survived.get(kind, 0) + 1
        report.survivors.append(pair)


def read_tested(path: Path) -> Iterator[TestedFunction]:
    """The functions with tests in a file of JSON lines, gzipped or not; lines without tests are left out."""
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                text, tests = row["fixed"], row["tests"]
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{path}:{number}: expected a JSON object with `fixed` and `tests`, got {line[:60]!r}"
                ) from None
            if isinstance(text, str) and isinstance(tests, str) and tests.strip():
                yield TestedFunction(name=str(row.get("id", number)), text=text, tests=tests)
