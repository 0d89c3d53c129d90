"""Fast measures against slow truths, and intervals that cover what they should."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.errors import InputError
from ace_analysis.evaluation.statistics import (
    CleanLines,
    CleanTexts,
    Interval,
    Resampling,
    mean,
    pair_accuracy,
    ratio,
    recall_at,
    site_auroc,
    top_k,
)

FEW = Resampling(resamples=20)
SCORES = st.integers(0, 6).map(float)
SITES = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 3)), min_size=2, max_size=40).filter(
    lambda rows: len({bug for _, bug, _ in rows}) == 2
)


def slow_auroc(scores: list[float], bugs: list[bool], weights: list[float] | None = None) -> float:
    weights = weights or [1.0] * len(scores)
    wins = total = 0.0
    for (s, bug, w), (r, other, v) in itertools.product(zip(scores, bugs, weights, strict=True), repeat=2):
        if bug and not other:
            wins += w * v * ((s > r) + 0.5 * (s == r))
            total += w * v
    return wins / total if total else float("nan")


def slow_top_k(scores: list[float], bug: int, k: int) -> float:
    """Over all orders of the sites, how often a stable sort leaves the bug among the first k."""
    orders = list(itertools.permutations(range(len(scores))))
    hits = (bug in sorted(order, key=lambda site: -scores[site])[:k] for order in orders)
    return sum(hits) / len(orders)


@given(SITES)
def test_the_auroc_is_the_share_of_right_sites_below_wrong_ones(rows: list[tuple[float, bool, int]]) -> None:
    scores, bugs, labels = map(list, zip(*rows, strict=True))
    assert site_auroc(scores, bugs, labels, FEW).value == pytest.approx(slow_auroc(scores, bugs))


@given(SITES)
def test_each_draw_of_an_interval_counts_a_cluster_as_often_as_it_was_drawn(
    rows: list[tuple[float, bool, int]],
) -> None:
    scores, bugs, labels = map(list, zip(*rows, strict=True))
    codes = np.unique(labels, return_inverse=True)[1]
    n = codes.max() + 1
    options = Resampling(resamples=7, seed=3)
    found = site_auroc(scores, bugs, labels, options)
    if n == 1:
        assert np.isnan(found.low)
        return
    draws = np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), size=7)
    values = [slow_auroc(scores, bugs, draw[codes].astype(float).tolist()) for draw in draws]
    if not np.isnan(values).all():
        assert (found.low, found.high) == pytest.approx(tuple(np.nanpercentile(values, [2.5, 97.5])))


@given(st.lists(SCORES, min_size=1, max_size=5), st.integers(1, 3), st.data())
def test_top_k_is_the_average_over_all_orders_of_tied_sites(
    scores: list[float], k: int, data: st.DataObject
) -> None:
    bug = data.draw(st.integers(0, len(scores) - 1))
    flags = [site == bug for site in range(len(scores))]
    texts = ["a"] * len(scores)
    assert top_k(scores, flags, texts, k, texts).value == pytest.approx(slow_top_k(scores, bug, k))


def test_top_k_leaves_out_texts_without_a_wrong_site() -> None:
    found = top_k([3, 2, 9, 8], [True, False, False, False], ["a", "a", "b", "b"], 1, ["p"] * 4)
    assert found.value == 1.0


def test_a_constant_score_is_chance() -> None:
    flags = ([True] + [False] * 9) * 20
    texts = np.repeat(np.arange(20), 10)
    constant = np.zeros(200)
    assert site_auroc(constant, flags, texts, FEW).value == 0.5
    assert top_k(constant, flags, texts, 3, texts, FEW).value == pytest.approx(0.3)
    assert pair_accuracy(constant, constant, texts.repeat(1), FEW).value == 0.5


def test_a_pair_is_right_if_the_mutated_site_scores_higher() -> None:
    assert pair_accuracy([2, 1, 1, 0], [1, 1, 0, 1], ["a", "b", "c", "d"], FEW).value == 0.625


# --- false alarms ---------------------------------------------------------------------------------------


def clean_of(scores: list[float], lines: int, label: str = "p") -> CleanLines:
    return CleanLines(scores=np.array(scores), labels=np.array([label] * len(scores)), lines={label: lines})


@given(st.lists(SCORES, max_size=30), st.integers(30, 500), st.sampled_from([0.5, 1.0, 5.0]))
def test_the_threshold_is_the_lowest_that_keeps_the_rate(
    scores: list[float], lines: int, rate: float
) -> None:
    clean = clean_of(scores, lines)
    threshold = clean.threshold(rate)
    assert clean.rate(threshold) <= rate
    lower = [score for score in scores if score < threshold]
    assert all(clean.rate(score) > rate for score in lower)


def test_a_line_raises_one_alarm_with_its_highest_score() -> None:
    texts = CleanTexts(lines={"f": 10, "g": 20, "h": 5}, label={"f": "p", "g": "q", "h": "q"})
    clean = CleanLines.of([1, 4, 2, 3], ["f", "f", "f", "g"], [1, 1, 2, 1], texts)
    assert sorted(zip(clean.scores.tolist(), clean.labels.tolist(), strict=True)) == [
        (2.0, "p"),
        (3.0, "q"),
        (4.0, "p"),
    ]
    assert clean.lines == {"p": 10, "q": 25} and clean.total == 35


def test_recall_is_the_share_of_bugs_above_the_threshold() -> None:
    clean = clean_of([5.0, 4.0, 3.0, 2.0], 200)
    assert clean.threshold(1.0) == 3.0
    assert recall_at(1.0, [5, 3.5, 3.0, 1.0], ["p"] * 4, clean, FEW).value == 0.5


def test_everything_is_shown_where_fewer_alarms_are_possible_than_allowed() -> None:
    assert recall_at(5.0, [0.0, -9.0], ["p", "p"], clean_of([1.0], 100), FEW).value == 1.0


@given(st.data())
def test_each_draw_sets_its_own_threshold(data: st.DataObject) -> None:
    n = 4
    bugs = data.draw(st.lists(SCORES, min_size=n, max_size=n))
    alarms = data.draw(st.lists(SCORES, min_size=3 * n, max_size=3 * n))
    labels = np.array([f"p{i}" for i in range(n)])
    clean = CleanLines(
        scores=np.array(alarms), labels=labels.repeat(3), lines=dict.fromkeys(labels.tolist(), 50)
    )
    found = recall_at(1.0, bugs, labels, clean, Resampling(resamples=9, seed=1))
    values = []
    for draw in np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=9):
        repeated = clean_of(np.array(alarms).repeat(draw.repeat(3)).tolist(), 50 * n)
        values.append(np.mean(np.array(bugs).repeat(draw) > repeated.threshold(1.0)))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


# --- intervals ------------------------------------------------------------------------------------------


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        project = rng.normal(0.4, 0.1, 40).clip(0, 1)
        labels = np.arange(40).repeat(25)
        found = mean(rng.random(1000) < project[labels], labels, Resampling(resamples=300, seed=seed))
        covered += found.low <= 0.4 <= found.high
    assert 180 <= covered <= 198


def test_clusters_make_an_interval_wider_than_independent_sites_would() -> None:
    rng = np.random.default_rng(11)
    labels = np.arange(30).repeat(50)
    hits = rng.random(1500) < rng.beta(2, 2, 30)[labels]
    clustered = mean(hits, labels)
    alone = mean(hits, np.arange(1500))
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def test_an_interval_is_the_same_for_the_same_seed() -> None:
    values, labels = np.arange(20.0), np.arange(20)
    assert mean(values, labels) == mean(values, labels)


def test_a_single_cluster_has_a_value_and_no_bounds() -> None:
    found = mean([1.0, 0.0], ["p", "p"])
    assert found.value == 0.5 and np.isnan([found.low, found.high]).all()


def test_an_interval_reads_as_value_and_bounds() -> None:
    assert str(Interval(0.61234, 0.5, 0.7)) == "0.612 [0.500, 0.700]"


# --- what can't be measured -----------------------------------------------------------------------------


def test_columns_of_different_lengths_are_named() -> None:
    with pytest.raises(InputError, match=r"one entry per observation, got \{'scores': 2, 'is_bug': 1"):
        site_auroc([1, 2], [True], ["p", "p"])


def test_nan_is_no_score() -> None:
    with pytest.raises(InputError, match="one list of numbers without nan"):
        mean([np.nan], ["p"])


def test_an_auroc_of_one_sort_is_refused() -> None:
    with pytest.raises(InputError, match="wrong sites and right sites, got only one sort"):
        site_auroc([1, 2], [True, True], ["p", "q"])


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one value, got none"):
        mean([], [])


def test_a_ratio_is_of_sums_and_lies_within_its_clusters_own() -> None:
    found = ratio([1.0, 2.0, 6.0], [4.0, 4.0, 8.0], ["a", "a", "b"])
    assert found.value == 9 / 16
    assert 3 / 8 <= found.low <= found.value <= found.high <= 6 / 8
    with pytest.raises(InputError, match="a ratio needs at least one observation, got none"):
        ratio([], [], [])


def test_two_wrong_sites_in_a_text_are_refused() -> None:
    with pytest.raises(InputError, match="at most one wrong site in a text"):
        top_k([1, 2], [True, True], ["a", "a"], 1, ["p", "p"])


def test_top_k_without_a_wrong_site_is_refused() -> None:
    with pytest.raises(InputError, match="texts with a wrong site, got none"):
        top_k([1, 2], [False, False], ["a", "a"], 1, ["p", "p"])


def test_recall_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one bug and one line"):
        recall_at(1.0, [], [], clean_of([], 10))


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_rate_has_to_be_positive(rate: float) -> None:
    with pytest.raises(InputError, match="has to be above 0"):
        recall_at(rate, [1.0], ["p"], clean_of([1.0], 10))


def test_a_site_of_a_text_without_counted_lines_is_refused() -> None:
    with pytest.raises(InputError, match="text whose lines are counted, got 'g'"):
        CleanLines.of([1.0], ["g"], [1], CleanTexts(lines={"f": 3}, label={"f": "p"}))
