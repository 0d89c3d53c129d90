"""Known circuits are recovered, and the measure of that is an AUC."""

import pytest

from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.attribution_methods import EAP, ONE_PASS, PAPER
from ace_analysis.evaluation.attribution_recovery import EXACT, RecoveryOptions, auc, measure_recovery
from ace_analysis.evaluation.known_circuits import TASKS


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([3, 2, 1, 0], 1.0),
        ([0, 1, 2, 3], 0.0),
        ([1, 1, 1, 1], 0.5),
        ([3, 0, 2, 1], 0.5),
        ([2, 1, 2, 0], 0.625),
    ],
)
def test_an_auc_counts_pairs_that_are_in_order(scores: list[float], expected: float) -> None:
    assert auc(scores, [True, True, False, False]) == expected


def test_rounding_breaks_no_tie() -> None:
    assert auc([1.0, 1e-15, 1e-17, 0.0], [True, True, False, False]) == 0.75


def test_exact_ablation_and_the_fast_methods_recover_what_was_built() -> None:
    methods = (EXACT, ONE_PASS, EAP)
    found = measure_recovery(RecoveryOptions(models=2, prompts=3, methods=methods))
    assert set(found) == set(methods)
    for name, tasks in found.items():
        assert set(tasks) == set(TASKS)
        for task, interval in tasks.items():
            assert interval.value > 0.9, (name, task)
    assert all(interval.value == 1.0 for interval in found[EXACT].values())


def test_the_papers_rules_can_be_measured_too() -> None:
    told: list[float | None] = []
    options = RecoveryOptions(models=1, prompts=1, methods=(PAPER,))
    found = measure_recovery(options, progress=lambda message, share: told.append(share))
    assert all(0.0 <= interval.value <= 1.0 for interval in found[PAPER].values())
    assert told == [0.0, 1 / 3, 2 / 3]


def test_it_can_be_cancelled() -> None:
    with pytest.raises(Cancelled):
        measure_recovery(RecoveryOptions(models=1, prompts=1, methods=(ONE_PASS,)), cancelled=lambda: True)
