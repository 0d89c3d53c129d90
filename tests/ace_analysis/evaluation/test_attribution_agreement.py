"""Correlations over the nodes that matter, and what they leave out."""

import numpy as np
import pytest
from scipy import stats

from ace_analysis.errors import InputError
from ace_analysis.evaluation.attribution_agreement import agreement, correlations


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.normal(size=30), rng.normal(size=30)
    expected = (stats.pearsonr(truth, found)[0], stats.spearmanr(truth, found)[0])
    assert correlations(truth, found) == pytest.approx(expected)


def test_scores_in_the_same_order_agree_by_spearman_alone() -> None:
    pearson, spearman = correlations([1, 2, 3, 4], [1, 2, 3, 1000]) or (0, 0)
    assert spearman == pytest.approx(1) and pearson < 0.9


def test_nodes_without_an_effect_are_left_out() -> None:
    truth, found = [1.0, 2.0, 4.0, 0.0, 1e-12], [1.0, 2.0, 4.0, 99.0, -99.0]
    assert correlations(truth, found) == pytest.approx((1.0, 1.0))


def test_fewer_than_three_nodes_say_nothing() -> None:
    assert correlations([1.0, 2.0, 0.0], [1.0, 2.0, 3.0]) is None


def test_scores_that_are_all_the_same_agree_with_nothing() -> None:
    assert correlations([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) == (0.0, 0.0)


def test_a_score_too_few_is_refused() -> None:
    with pytest.raises(InputError, match="expected a score for each effect"):
        correlations([1.0, 2.0, 3.0], [1.0, 2.0])


def test_groups_are_told_apart_and_texts_averaged() -> None:
    heads = [True, True, True, False, False, False]
    effects = [[1, 2, 3, 1, 2, 3], [1, 2, 3, 1, 2, 3]]
    scores = [[1, 2, 3, 3, 2, 1], [3, 2, 1, 3, 2, 1]]
    found = agreement(effects, scores, [heads, heads])
    assert found["heads"].pearson is not None and found["mlps"].spearman is not None
    assert found["heads"].pearson.value == pytest.approx(0.0)
    assert (found["heads"].pearson.low, found["heads"].pearson.high) == pytest.approx((-1.0, 1.0))
    assert found["mlps"].spearman.value == pytest.approx(-1.0)


def test_a_group_that_no_text_has_enough_of_is_none() -> None:
    found = agreement([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], [[True, True, True]])
    assert found["mlps"].pearson is None and found["heads"].spearman is not None
