"""Candidates fire more often on wrong code, and the strongest come first."""

from dataclasses import replace

from ace_analysis.features.bundle import ErrorFeature
from ace_analysis.features.candidates import fires_as_it_says, strongest

MORE = ErrorFeature(
    feature_idx=1,
    t_statistic=2.0,
    paired_t=2.0,
    q_value=0.4,
    separation=0.1,
    rate_buggy=0.2,
    rate_matched=0.1,
    density=0.01,
)
LESS = replace(MORE, feature_idx=2, t_statistic=-3.0, paired_t=-3.0, rate_buggy=0.1, rate_matched=0.2)


def test_a_latent_that_only_fires_more_strongly_says_what_it_does_not_do() -> None:
    assert fires_as_it_says(MORE) and fires_as_it_says(LESS)
    assert not fires_as_it_says(replace(MORE, rate_buggy=0.1))
    assert not fires_as_it_says(replace(LESS, rate_buggy=0.3))


def test_the_strongest_come_first_and_rarer_ones_before_equals() -> None:
    strong = replace(MORE, feature_idx=3, paired_t=5.0)
    rare = replace(strong, feature_idx=4, density=0.001)
    found = strongest([MORE, strong, rare, LESS], 3, both_directions=False)
    assert [each.feature_idx for each in found] == [4, 3, 1]
    assert [each.feature_idx for each in strongest([MORE, strong, rare], 2, both_directions=False)] == [4, 3]


def test_those_that_fire_less_are_listed_on_request() -> None:
    assert strongest([LESS], 5, both_directions=False) == []
    assert strongest([MORE, LESS], 5, both_directions=True) == [LESS, MORE]


def test_what_contradicts_itself_is_no_candidate() -> None:
    nothing = [replace(MORE, paired_t=0.0), replace(MORE, rate_buggy=0.05)]
    assert strongest(nothing, 5, both_directions=True) == []
