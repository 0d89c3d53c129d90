"""Sums per project give the t-statistics that the observations themselves give."""

import numpy as np
import pytest
from scipy import stats

from ace_analysis.features.moments import Clusters, ProjectMoments
from ace_analysis.features.pairs import PairActivations


def moments_of(values: np.ndarray, projects: np.ndarray, groups: np.ndarray) -> ProjectMoments:
    n = len(values)
    pairs = PairActivations(
        buggy=values, clean=0 * values, tokens=np.zeros(n), kinds=[""] * n, projects=projects, groups=groups
    )
    clusters = Clusters.of(pairs, np.arange(n))
    return clusters.moments(clusters.gather @ pairs.buggy)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(0.2, 1.0, (60, 3))


PROJECTS = np.arange(6).repeat(10)
ONCE = np.ones((1, 6))


def test_independent_observations_give_the_one_sample_t(values: np.ndarray) -> None:
    t, degrees = moments_of(values, PROJECTS, np.arange(60)).t_statistic(ONCE)
    assert t[0] == pytest.approx(stats.ttest_1samp(values, 0).statistic, rel=1e-5)
    assert degrees.item() == 59


def test_drawing_a_project_twice_is_the_same_as_having_its_groups_twice(values: np.ndarray) -> None:
    draw = np.array([2.0, 0.0, 1.0, 1.0, 0.0, 2.0])
    rows = np.concatenate([np.flatnonzero(p == PROJECTS) for p in range(6) for _ in range(int(draw[p]))])
    expected, _ = moments_of(values[rows], np.zeros(60), np.arange(60)).t_statistic(np.ones((1, 1)))
    t, _ = moments_of(values, PROJECTS, np.arange(60)).t_statistic(draw[None])
    assert t == pytest.approx(expected, rel=1e-5)


def test_copies_of_an_observation_in_its_group_add_no_certainty(values: np.ndarray) -> None:
    once, _ = moments_of(values, PROJECTS, np.arange(60)).t_statistic(ONCE)
    copied = moments_of(values.repeat(5, axis=0), PROJECTS.repeat(5), np.arange(60).repeat(5))
    t, degrees = copied.t_statistic(ONCE)
    assert t == pytest.approx(once, rel=1e-5) and degrees.item() == 59


def test_moments_of_blocks_of_latents_stand_beside_each_other(values: np.ndarray) -> None:
    parts = [moments_of(values[:, [latent]], PROJECTS, np.arange(60)) for latent in range(3)]
    whole, _ = moments_of(values, PROJECTS, np.arange(60)).t_statistic(ONCE)
    assert ProjectMoments.beside(parts).t_statistic(ONCE)[0] == pytest.approx(whole)


def test_variance_from_elsewhere_shrinks_a_t(values: np.ndarray) -> None:
    moments = moments_of(values, PROJECTS, np.arange(60))
    assert (np.abs(moments.t_statistic(ONCE, np.ones(3))[0]) < np.abs(moments.t_statistic(ONCE)[0])).all()
