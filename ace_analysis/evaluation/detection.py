"""How well scores of sites find planted bugs, for several scorers on the same functions.

Rows are the sites of clean functions and of whole mutants of theirs. What is counted:

    site AUROC      planted bugs against every other site: those of the clean functions, and the right sites
                    of the mutants in question
    pair            the bug's site above the same site of the clean function; bugs without one are left out
    function AUROC  the highest score of a mutant against that of a clean function, over all of both
    top-1, top-3    the bug is among the first of its mutant's sites
    recall@r/100    bugs above the threshold that gives r false alarms per 100 lines of clean functions, where
                    a line can give one alarm

A scorer that was run on some functions only (nan elsewhere) is measured on those, and so are all the others
there: a comparison is fair on the same functions alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ace_analysis.errors import InputError
from ace_analysis.evaluation.statistics import (
    CleanLines,
    CleanTexts,
    Interval,
    Resampling,
    pair_accuracy,
    recall_at,
    site_auroc,
    top_k,
)
from ace_analysis.features.examples import BUG, CLEAN
from ace_analysis.features.table import SiteTable
from ace_analysis.source.mutation import MutationType

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Flags = NDArray[np.bool_]

ALL, CLASSIC = "all", "classic"
CLASSIC_TYPES = (
    MutationType.COMPARISON,
    MutationType.ARITHMETIC,
    MutationType.BOOLEAN,
    MutationType.OFF_BY_ONE,
    MutationType.VARIABLE_MISUSE,
)
"""The five single-token types that the first measurements used; the part `classic` is comparable to them."""

EVERYWHERE = "all functions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What one scorer reaches on one part; `pair` is None where no bug has its site in the clean function."""

    site_auroc: Interval
    pair: Interval | None
    function_auroc: Interval
    top_1: Interval
    top_3: Interval
    recall_at_1: Interval
    recall_at_5: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Mutants of one type, or of several: `all`, `classic` or the type's name."""

    name: str
    mutants: int
    scorers: Mapping[str, Detection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Functions on which all of some scorers were run, and how those did there."""

    name: str
    projects: int
    functions: int
    lines: int
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part:
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise InputError(f"expected one of {[part.name for part in self.parts]}, got {name!r}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionReport:
    """All functions first, then a sample for each set of functions that only some scorers were run on."""

    samples: tuple[Sample, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; an unknown bound is None."""
        return {"samples": [_sample_json(sample) for sample in self.samples]}


def measure_detection(
    table: SiteTable, scores: Mapping[str, ArrayLike], resampling: Resampling | None = None
) -> DetectionReport:
    """Measure scorers on a table of held-out projects whose mutants are whole.

    Args:
        table: clean functions and their mutants.
        scores: by scorer, a number for each row, higher where it is more likely wrong; nan where it was not
            run, -inf where it never speaks up.
        resampling: of projects, for the intervals.

    Raises:
        InputError: there is nothing to measure, or scores don't fit the table.
    """
    if not scores or not len(table.bugs) or not len(table.clean):
        raise InputError(
            f"expected scorers, planted bugs and clean sites, got {len(scores)}, {len(table.bugs)} and"
            f" {len(table.clean)}; harvest test functions with whole mutants"
        )
    values = {name: _aligned(name, column, len(table)) for name, column in scores.items()}
    covered = {name: _functions_run(table, column) for name, column in values.items()}
    everywhere = [name for name, functions in covered.items() if functions.all()]
    samples = []
    if everywhere:
        chosen = np.ones(len(table.projects), dtype=bool)
        samples.append(
            _sample(EVERYWHERE, table, chosen, {name: values[name] for name in everywhere}, resampling)
        )
    done: set[bytes] = set()
    for name, functions in covered.items():
        if functions.all() or functions.tobytes() in done:
            continue
        done.add(functions.tobytes())
        there = {other: values[other] for other in values if not (functions & ~covered[other]).any()}
        samples.append(_sample(f"where {name} was run", table, functions, there, resampling))
    return DetectionReport(samples=tuple(samples))


def _aligned(name: str, column: ArrayLike, rows: int) -> FloatArray:
    found = np.asarray(column, dtype=np.float64)
    if found.shape != (rows,):
        raise InputError(f"{name}: expected a score for each of {rows} rows, got {list(found.shape)}")
    return found


def _functions_run(table: SiteTable, column: FloatArray) -> Flags:
    """Functions whose every row has a score."""
    run = np.ones(len(table.projects), dtype=bool)
    run[table.function[np.isnan(column)]] = False
    if not run[table.function[table.bugs]].any():
        raise InputError("each scorer needs a function with a planted bug and all of its sites scored")
    return run


def _sample(
    name: str,
    table: SiteTable,
    functions: Flags,
    scores: Mapping[str, FloatArray],
    resampling: Resampling | None,
) -> Sample:
    """All parts of some functions."""
    kinds = table.mutations
    wanted: dict[str, Sequence[str]] = {ALL: list(MutationType), CLASSIC: CLASSIC_TYPES}
    wanted |= {kind.value: [kind] for kind in MutationType}
    inside = functions[table.function]
    parts = []
    for part, types in wanted.items():
        of_part = inside & np.isin(kinds, list(types)) & (table.label != CLEAN)
        mutants = int((table.label[of_part] == BUG).sum())
        if mutants:
            view = _View.of(table, inside & (table.label == CLEAN), of_part)
            measured = {scorer: view.measure(column, resampling) for scorer, column in scores.items()}
            parts.append(Part(name=part, mutants=mutants, scorers=measured))
    return Sample(
        name=name,
        projects=len(np.unique(table.projects[functions])),
        functions=int(functions.sum()),
        lines=int(table.lines[functions].sum()),
        parts=tuple(parts),
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _View:
    """Some clean functions' rows and some mutants' rows of a table."""

    table: SiteTable
    clean: IntArray
    mutated: IntArray
    cleans: CleanTexts

    @classmethod
    def of(cls, table: SiteTable, clean: Flags, mutated: Flags) -> "_View":
        functions = np.unique(table.function[clean]).tolist()
        return cls(
            table=table,
            clean=np.flatnonzero(clean),
            mutated=np.flatnonzero(mutated),
            cleans=CleanTexts(
                lines={str(each): int(table.lines[each]) for each in functions},
                label={str(each): str(table.projects[each]) for each in functions},
            ),
        )

    def measure(self, scores: FloatArray, resampling: Resampling | None) -> Detection:
        table, rows = self.table, np.concatenate([self.clean, self.mutated])
        bugs = self.mutated[table.label[self.mutated] == BUG]
        is_bug, projects = table.label == BUG, table.row_projects
        mutated = scores[self.mutated], is_bug[self.mutated], table.text[self.mutated]
        alarms = CleanLines.of(
            scores[self.clean], table.function[self.clean].astype(str), table.line[self.clean], self.cleans
        )
        paired = bugs[table.origin[bugs] >= 0]
        pair = None
        if len(paired):
            pair = pair_accuracy(scores[paired], scores[table.origin[paired]], projects[paired], resampling)
        return Detection(
            site_auroc=site_auroc(scores[rows], is_bug[rows], projects[rows], resampling),
            pair=pair,
            function_auroc=self._function_auroc(scores, resampling),
            top_1=top_k(*mutated, 1, projects[self.mutated], resampling),
            top_3=top_k(*mutated, 3, projects[self.mutated], resampling),
            recall_at_1=recall_at(1.0, scores[bugs], projects[bugs], alarms, resampling),
            recall_at_5=recall_at(5.0, scores[bugs], projects[bugs], alarms, resampling),
        )

    def _function_auroc(self, scores: FloatArray, resampling: Resampling | None) -> Interval:
        rows = np.concatenate([self.clean, self.mutated])
        _, first, text = np.unique(self.table.text[rows], return_index=True, return_inverse=True)
        highest = np.full(len(first), -np.inf)
        np.maximum.at(highest, text, scores[rows])
        is_mutant = self.table.label[rows[first]] != CLEAN
        return site_auroc(highest, is_mutant, self.table.row_projects[rows[first]], resampling)


def _sample_json(sample: Sample) -> dict[str, Any]:
    counts = {name: getattr(sample, name) for name in ("name", "projects", "functions", "lines")}
    return {**counts, "parts": [_part_json(part) for part in sample.parts]}


def _part_json(part: Part) -> dict[str, Any]:
    scorers = {
        name: {each.name: _told(getattr(measured, each.name)) for each in fields(Detection)}
        for name, measured in part.scorers.items()
    }
    return {"name": part.name, "mutants": part.mutants, "scorers": scorers}


def _told(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else interval.as_json()
