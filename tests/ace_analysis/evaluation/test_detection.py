"""That the benchmark counts what it says, against slow counts on small tables."""

import json
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from ace_analysis.errors import InputError
from ace_analysis.evaluation.detection import CLASSIC_TYPES, Detection, measure_detection
from ace_analysis.evaluation.statistics import Resampling
from ace_analysis.features.examples import BUG, CLEAN, NEAR_BUG
from ace_analysis.features.harvest import TYPES
from ace_analysis.features.table import SiteTable
from ace_analysis.source.mutation import MutationType

FEW = Resampling(resamples=20)
SITES, MUTANTS = 6, 4
USED = (MutationType.COMPARISON, MutationType.VARIABLE_MISUSE, MutationType.MISSING_NOT)


def random_table(functions: int = 40, seed: int = 0) -> SiteTable:
    """Functions of six sites in three lines of four, each with four whole mutants; every third bug is new."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, int]] = []
    for function in range(functions):
        first = len(rows)
        for variant in range(MUTANTS + 1):
            bug = int(rng.integers(SITES)) if variant else -1
            kind = USED[(function + variant) % len(USED)]
            for site in range(SITES):
                is_new = site == bug and variant == 3
                rows.append(
                    {
                        "label": CLEAN if not variant else BUG if site == bug else NEAR_BUG,
                        "mutation": TYPES.index(kind) if variant else 0,
                        "function": function,
                        "text": function * (MUTANTS + 1) + variant,
                        "line": (function * (MUTANTS + 1) + variant) * 3 + site // 2,
                        "origin": -1 if is_new else first + site,
                    }
                )
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return SiteTable(
        latents=(sparse.csr_array((len(rows), 1)),),
        kind=np.zeros(len(rows), dtype=int),
        token=np.zeros(len(rows), dtype=int),
        projects=np.array([f"p{function % 7}" for function in range(functions)]),
        names=np.array([f"f{function}" for function in range(functions)]),
        lines=np.full(functions, 4),
        **columns,
    )


@pytest.fixture
def table() -> SiteTable:
    return random_table()


def perfect(table: SiteTable) -> np.ndarray:
    return (table.label == BUG).astype(float)


def values_of(detection: Detection) -> dict[str, float]:
    found = {name: getattr(detection, name) for name in Detection.__slots__}
    return {name: each.value for name, each in found.items() if each is not None}


def slow_values(table: SiteTable, scores: np.ndarray, types: set[str]) -> dict[str, float]:
    """The definitions, word by word; scores have no ties."""
    kinds = table.mutations
    clean = [row for row in range(len(table)) if table.label[row] == CLEAN]
    mutated = [row for row in range(len(table)) if table.label[row] != CLEAN and kinds[row] in types]
    bugs = [row for row in mutated if table.label[row] == BUG]
    others = [row for row in clean + mutated if table.label[row] != BUG]
    texts = {text: [r for r in clean + mutated if table.text[r] == text] for text in table.text}
    texts = {text: rows for text, rows in texts.items() if rows}
    best = {text: max(scores[r] for r in rows) for text, rows in texts.items()}
    whole = [text for text, rows in texts.items() if table.label[rows[0]] == CLEAN]
    broken = [text for text in texts if text not in whole]
    rank = {bug: sum(scores[r] > scores[bug] for r in texts[table.text[bug]]) for bug in bugs}
    lines: dict[int, float] = {}
    for row in clean:
        lines[table.line[row]] = max(lines.get(table.line[row], -np.inf), scores[row])
    alarms = sorted(lines.values(), reverse=True)

    def recall(rate: float) -> float:
        allowed = int(rate * table.lines.sum() / 100 + 1e-9)
        return float(np.mean([scores[bug] > alarms[allowed] for bug in bugs]))

    return {
        "site_auroc": float(np.mean([scores[bug] > scores[other] for bug in bugs for other in others])),
        "pair": float(np.mean([scores[b] > scores[table.origin[b]] for b in bugs if table.origin[b] >= 0])),
        "function_auroc": float(np.mean([best[b] > best[w] for b in broken for w in whole])),
        "top_1": float(np.mean([rank[bug] < 1 for bug in bugs])),
        "top_3": float(np.mean([rank[bug] < 3 for bug in bugs])),
        "recall_at_1": recall(1.0),
        "recall_at_5": recall(5.0),
    }


@pytest.mark.parametrize("seed", range(3))
def test_every_part_is_what_its_definition_says(seed: int) -> None:
    table = random_table(functions=12, seed=seed)
    scores = np.random.default_rng(seed).normal(size=len(table)) + perfect(table)
    (sample,) = measure_detection(table, {"some": scores}, FEW).samples
    types = {"all": set(USED), "classic": {"comparison", "variable_misuse"}, "missing_not": {"missing_not"}}
    for part, kinds in types.items():
        expected = slow_values(table, scores, {str(kind) for kind in kinds})
        assert values_of(sample.part(part).scorers["some"]) == pytest.approx(expected), part


def test_a_perfect_scorer_reaches_1_everywhere(table: SiteTable) -> None:
    (sample,) = measure_detection(table, {"perfect": perfect(table)}, FEW).samples
    for part in sample.parts:
        assert set(values_of(part.scorers["perfect"]).values()) == {1.0}, part.name


@pytest.mark.parametrize("constant", [True, False])
def test_a_scorer_that_knows_nothing_is_chance(constant: bool) -> None:
    table = random_table(functions=300)
    scores = np.zeros(len(table)) if constant else np.random.default_rng(1).random(len(table))
    (sample,) = measure_detection(table, {"chance": scores}, FEW).samples
    measured = values_of(sample.part("all").scorers["chance"])
    chances = {"site_auroc": 0.5, "pair": 0.5, "function_auroc": 0.5, "top_1": 1 / SITES, "top_3": 3 / SITES}
    assert {name: measured[name] for name in chances} == pytest.approx(chances, abs=0.05)
    assert measured["recall_at_1"] < 0.05


def test_scores_are_compared_by_rank_alone(table: SiteTable) -> None:
    scores = np.random.default_rng(0).normal(size=len(table))
    (sample,) = measure_detection(table, {"one": scores, "same": np.exp(scores) * 3}, FEW).samples
    for part in sample.parts:
        assert part.scorers["one"] == part.scorers["same"]


def test_there_is_a_part_for_all_for_the_single_token_types_and_for_each_type_that_occurs(
    table: SiteTable,
) -> None:
    (sample,) = measure_detection(table, {"perfect": perfect(table)}, FEW).samples
    assert [part.name for part in sample.parts] == ["all", "classic", *(str(kind) for kind in USED)]
    assert sample.part("all").mutants == 40 * MUTANTS == len(table.bugs)
    by_type = {part.name: part.mutants for part in sample.parts}
    assert by_type["classic"] == by_type["comparison"] + by_type["variable_misuse"]
    assert (sample.functions, sample.projects, sample.lines) == (40, 7, 160)
    assert MutationType.MISSING_NOT not in CLASSIC_TYPES
    with pytest.raises(InputError, match=r"expected one of .*'classic'.*, got 'unknown'"):
        sample.part("unknown")


def test_a_bug_that_is_new_in_the_code_has_no_pair() -> None:
    table = random_table(functions=6)
    table.origin[:] = -1
    report = measure_detection(table, {"perfect": perfect(table)}, FEW)
    assert report.samples[0].part("all").scorers["perfect"].pair is None
    assert report.to_json()["samples"][0]["parts"][0]["scorers"]["perfect"]["pair"] is None


def test_a_scorer_that_was_run_on_some_functions_is_measured_there_beside_the_others(
    table: SiteTable,
) -> None:
    rng = np.random.default_rng(0)
    full, some = rng.random(len(table)), rng.random(len(table))
    some[table.function >= 10] = np.nan
    some[np.flatnonzero(table.function == 9)[0]] = np.nan
    scores = {"full": full, "some": some, "also": some * 2}
    whole, partial = measure_detection(table, scores, FEW).samples
    assert set(whole.part("all").scorers) == {"full"} and whole.functions == 40
    assert set(partial.part("all").scorers) == {"full", "some", "also"}
    assert (partial.name, partial.functions, partial.part("all").mutants) == (
        "where some was run",
        9,
        9 * MUTANTS,
    )
    rows = table.function < 9
    alone = measure_detection(random_table(functions=40), {"full": np.where(rows, full, np.nan)}, FEW)
    assert alone.samples[0].parts[0].scorers["full"] == partial.parts[0].scorers["full"]


def test_sites_that_never_speak_up_cost_their_bugs_only(table: SiteTable) -> None:
    scores = np.where(table.mutations == "comparison", -np.inf, perfect(table))
    (sample,) = measure_detection(table, {"silent": scores}, FEW).samples
    assert sample.part("comparison").scorers["silent"].recall_at_5.value == 0.0
    assert sample.part("missing_not").scorers["silent"].recall_at_5.value == 1.0


def test_the_report_is_json_with_bounds_around_the_values(table: SiteTable) -> None:
    scores = np.random.default_rng(0).random(len(table)) + perfect(table) / 2
    report = json.loads(json.dumps(measure_detection(table, {"s": scores}, FEW).to_json(), allow_nan=False))
    for interval in report["samples"][0]["parts"][0]["scorers"]["s"].values():
        assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1


def test_a_bound_that_a_single_project_has_not_is_null(table: SiteTable) -> None:
    table.projects[:] = "only"
    report = measure_detection(table, {"perfect": perfect(table)}, FEW).to_json()
    interval = report["samples"][0]["parts"][0]["scorers"]["perfect"]["site_auroc"]
    assert interval == {"value": 1.0, "low": None, "high": None}


def test_what_can_not_be_measured_is_refused(table: SiteTable) -> None:
    with pytest.raises(InputError, match="expected scorers, planted bugs and clean sites, got 0,"):
        measure_detection(table, {})
    with pytest.raises(InputError, match="short: expected a score for each of 1200 rows, got \\[3\\]"):
        measure_detection(table, {"short": [1.0, 2.0, 3.0]})
    with pytest.raises(InputError, match="each scorer needs a function with a planted bug"):
        measure_detection(table, {"nothing": np.full(len(table), np.nan)})
    table.label[:] = CLEAN
    with pytest.raises(InputError, match="harvest test functions with whole mutants"):
        measure_detection(table, {"s": np.zeros(len(table))})
