"""p-values against scipy's, corrections against their definitions."""

import numpy as np
import pytest
from scipy import stats

from ace_analysis.features.significance import benjamini_hochberg, p_above, simes, t_of, z_of


@pytest.mark.parametrize("degrees", [1, 3, 10, 29, 30, 100, 10_000])
def test_the_deviate_of_a_t_is_as_unlikely_as_the_t(degrees: int) -> None:
    t = np.linspace(-6, 6, 49)
    expected = stats.t.sf(t, degrees)
    assert p_above(z_of(t, float(degrees))) == pytest.approx(expected, rel=0.02)


def test_many_and_few_degrees_can_stand_in_one_array() -> None:
    t, degrees = np.array([[2.0, -2.0], [2.0, -2.0]]), np.array([[3.0], [300.0]])
    assert p_above(z_of(t, degrees)) == pytest.approx(stats.t.sf(t, degrees), rel=0.01)


def test_equal_observations_count_as_spread_by_a_tenth_and_no_difference_has_no_t() -> None:
    zero = np.zeros(3)
    assert t_of(np.array([0.5, -2.0, 0.0]), zero, 4).tolist() == pytest.approx([20, -20, 0.0])


def test_two_equal_pairs_are_no_proof() -> None:
    t = t_of(np.ones(1), np.zeros(1), 2)
    assert p_above(z_of(t, 1.0)) > 0.01


def test_q_values_are_scipys_and_what_was_not_tested_stays_out() -> None:
    p = np.random.default_rng(0).random(50) ** 3
    with_gaps = np.insert(p, [3, 10, 50], np.nan)
    q = benjamini_hochberg(with_gaps)
    assert q[np.isfinite(q)] == pytest.approx(stats.false_discovery_control(p))
    assert np.isnan(q).tolist() == np.isnan(with_gaps).tolist()


def test_each_row_is_corrected_alone() -> None:
    p = np.random.default_rng(1).random((4, 20))
    assert benjamini_hochberg(p) == pytest.approx(np.stack([benjamini_hochberg(row) for row in p]))


def test_simes_takes_the_best_of_the_ranked_families_and_skips_untested_ones() -> None:
    p = np.array([[0.01, 0.2, np.nan, np.nan], [0.5, 0.2, 0.03, np.nan], [0.02, 0.2, 0.9, np.nan]])
    assert simes(p)[:3] == pytest.approx([0.03, 0.2, 0.06])
    assert np.isnan(simes(p)[3])


def test_simes_keeps_its_level_under_the_null() -> None:
    p = np.random.default_rng(2).random((6, 20_000))
    assert (simes(p) <= 0.05).mean() == pytest.approx(0.05, abs=0.006)
