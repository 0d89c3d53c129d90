"""What moves a candidate up."""

from dataclasses import replace

import pytest

from ace_analysis.report.repair import Source
from ace_analysis.steering.edits import EditKind
from ace_analysis.steering.opinion import (
    KIND_SHARES,
    Opinion,
    RankingWeights,
    prior,
    rank_score,
    removed_tokens,
)

ONE = Opinion(
    middle=-10.0, middle_before=-12.0, told=-6.0, scope=1.0, kind=EditKind.NAME, rivals=4, removed=1
)


@pytest.mark.parametrize("better", [{"middle": -9.0}, {"told": -5.0}, {"scope": 2.0}, {"removed": 0}])
def test_more_of_any_opinion_is_a_higher_rank(better):
    assert rank_score(replace(ONE, **better)) > rank_score(ONE)


def test_a_weight_of_0_silences_an_opinion():
    deaf = RankingWeights(middle=1.0, told=0.0, scope=0.0, prior=0.0, removed=0.0)
    assert rank_score(ONE, deaf) == ONE.gain == 2.0
    assert rank_score(replace(ONE, told=-50.0, scope=-9.0, rivals=99, removed=9), deaf) == 2.0


def test_an_opinion_that_was_not_asked_for_counts_nothing():
    silent = replace(ONE, told=None, scope=None)
    assert rank_score(silent) == pytest.approx(rank_score(ONE, RankingWeights(told=0.0, scope=0.0)))


def test_shares_are_a_distribution_over_all_kinds():
    assert set(KIND_SHARES) == set(EditKind)
    assert sum(KIND_SHARES.values()) == pytest.approx(1.0)


def test_many_edits_of_a_kind_share_what_the_kind_has():
    few, many = replace(ONE, rivals=2), replace(ONE, rivals=8)
    assert prior(few) - prior(many) == pytest.approx(1.3862944)


def test_a_line_that_the_model_wrote_is_an_edit_if_it_is_one():
    written = Opinion(middle=-1.0, middle_before=-2.0, source=Source.GREEDY)
    assert prior(replace(written, kind=EditKind.COMPARISON, rivals=5)) > prior(written)


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
