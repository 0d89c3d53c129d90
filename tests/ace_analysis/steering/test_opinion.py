"""What moves a candidate up."""

from dataclasses import replace

import pytest

from ace_analysis.steering.opinion import (
    Opinion,
    RankingWeights,
    rank_score,
    removed_tokens,
)

ONE = Opinion(middle=-10.0, middle_before=-12.0, told=-6.0, scope=1.0, removed=1)


@pytest.mark.parametrize("better", [{"middle": -9.0}, {"told": -5.0}, {"scope": 2.0}, {"removed": 0}])
def test_more_of_any_opinion_is_a_higher_rank(better):
    assert rank_score(replace(ONE, **better)) > rank_score(ONE)


def test_a_weight_of_0_silences_an_opinion():
    deaf = RankingWeights(middle=1.0, told=0.0, scope=0.0, removed=0.0)
    assert rank_score(ONE, deaf) == ONE.gain == 2.0
    assert rank_score(replace(ONE, told=-50.0, scope=-9.0, removed=9), deaf) == 2.0


def test_an_opinion_that_was_not_asked_for_counts_nothing():
    silent = replace(ONE, told=None, scope=None)
    assert rank_score(silent) == pytest.approx(rank_score(ONE, RankingWeights(told=0.0, scope=0.0)))


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        ("return a", "return a", 0),
        ("return a", "return a + b", 0),
        ("return f(a, b)", "return a", 5),
        ("if a <= b:", "if a < b:", 1),
        ("x += 1", "x = x + 1", 1),
        ("a[i] - b", "b - a[i]", 2),
    ],
)
def test_what_is_removed_is_counted_in_tokens(old, new, count):
    assert removed_tokens(old, new) == count
