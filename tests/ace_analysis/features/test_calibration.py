"""Thresholds keep their promise where they were set, and probabilities hold at the stated prior."""

import numpy as np
import pytest
from scipy import sparse

from ace_analysis.errors import InputError
from ace_analysis.features.calibration import RATES, fit_calibration, line_maxima
from ace_analysis.features.examples import BUG, CLEAN
from ace_analysis.features.table import SiteTable

FUNCTIONS, LINES, SITES = 40, 25, 3


def table_of(bugs_per_function: int = 2) -> SiteTable:
    """Clean functions of 25 lines with three sites a line, and planted bugs."""
    clean = FUNCTIONS * LINES * SITES
    bugs = FUNCTIONS * bugs_per_function
    label = np.repeat([CLEAN, BUG], [clean, bugs])
    function = np.concatenate([np.arange(clean) // (LINES * SITES), np.arange(bugs) % FUNCTIONS])
    line = np.concatenate([np.arange(clean) // SITES, FUNCTIONS * LINES + np.arange(bugs)])
    zeros = np.zeros(clean + bugs, dtype=np.int64)
    return SiteTable(
        latents=(sparse.csr_array((clean + bugs, 1)),),
        label=label,
        kind=zeros,
        mutation=zeros,
        function=function,
        text=function,
        line=line,
        origin=zeros - 1,
        token=zeros,
        projects=np.array([f"p{i % 5}" for i in range(FUNCTIONS)]),
        names=np.array([f"f{i}" for i in range(FUNCTIONS)]),
        lines=np.full(FUNCTIONS, LINES),
    )


def scores_of(table: SiteTable, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(np.where(table.label == BUG, 1.0, -1.0), 1.0)


@pytest.mark.parametrize("rate", RATES)
def test_a_threshold_lets_through_as_many_lines_as_its_rate_allows(rate: float) -> None:
    table = table_of()
    scores = scores_of(table)
    threshold = fit_calibration(table, scores).threshold(rate)
    shown = int((line_maxima(table, scores) >= threshold).sum())
    assert shown == int(rate * FUNCTIONS * LINES / 100)


def test_one_line_is_one_alarm_however_many_of_its_sites_score_high() -> None:
    table = table_of()
    maxima = line_maxima(table, scores_of(table))
    assert len(maxima) == FUNCTIONS * LINES
    assert (np.diff(maxima) <= 0).all()


@pytest.mark.parametrize("prior", [0.001, 0.01, 0.2])
def test_probabilities_average_to_the_prior_when_wrong_sites_are_as_frequent_as_it_says(prior: float) -> None:
    table = table_of(bugs_per_function=30)
    scores = scores_of(table)
    calibration = fit_calibration(table, scores, prior=prior)
    probability = np.array([calibration.probability(score) for score in scores])
    wrong = table.label == BUG
    mean = prior * probability[wrong].mean() + (1 - prior) * probability[~wrong].mean()
    assert calibration.prior == prior
    assert mean == pytest.approx(prior, rel=0.02)


def test_a_higher_logit_is_never_less_probable() -> None:
    table = table_of()
    calibration = fit_calibration(table, scores_of(table))
    values = [calibration.probability(logit) for logit in np.linspace(-30, 30, 50)]
    assert values == sorted(values)


def test_without_planted_bugs_there_is_nothing_to_calibrate_on() -> None:
    table = table_of(bugs_per_function=0)
    with pytest.raises(InputError, match="calibration needs planted bugs and clean sites, got 0"):
        fit_calibration(table, scores_of(table))
