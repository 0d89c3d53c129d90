"""What is an error feature and what only looks like one, in a world whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from ace_analysis.errors import InputError
from ace_analysis.features.discovery import Discovery, DiscoveryOptions, HeldOut, discover
from ace_analysis.features.pairs import NaturalSites, PairActivations

N, PROJECTS, TOKENS, LATENTS = 1200, 12, 5, 60
ERROR, TOKEN, PLACE, STRONG_VARIANCE, DENSE, ONE_KIND, CORRECT, ONE_PROJECT = range(8)
"""Latents with a meaning; all others fire by chance."""

OPTIONS = DiscoveryOptions(max_density=0.15, resamples=40, min_pairs=80)


class World:
    """Pairs whose mutated sites hold other tokens than the originals, and natural sites of clean code."""

    def __init__(self, seed: int, *, null: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.tokens = self.rng.integers(0, 3, N)
        self.original = self.rng.integers(2, TOKENS, N)
        self.kinds = self.rng.choice(["comparison", "name", "number"], N, p=[0.1, 0.3, 0.6])
        self.projects = np.array([f"p{i}" for i in self.rng.integers(0, PROJECTS, N)])
        self.natural_tokens = self.rng.integers(0, TOKENS, 6000)
        self.buggy, self.clean = self.chance(N), self.chance(N)
        self.natural = self.chance(6000)
        if not null:
            self.plant()

    def chance(self, n: int) -> np.ndarray:
        fires = self.rng.random((n, LATENTS)) < np.linspace(0.03, 0.08, LATENTS)
        return np.where(fires, self.rng.exponential(1.0, (n, LATENTS)) + 0.2, 0.0)

    def fires(self, where: np.ndarray, rate: float) -> np.ndarray:
        return np.where(where & (self.rng.random(len(where)) < rate), 1 + self.rng.random(len(where)), 0.0)

    def plant(self) -> None:
        every, natural = np.ones(N, dtype=bool), np.ones(6000, dtype=bool)
        self.buggy[:, ERROR] = self.fires(every, 0.06)
        self.clean[:, ERROR] = self.fires(every, 0.006)
        self.natural[:, ERROR] = self.fires(natural, 0.006)
        for sites, tokens in ((self.buggy, self.tokens), (self.clean, self.original)):
            sites[:, TOKEN] = self.fires(tokens < 2, 0.3)
        self.natural[:, TOKEN] = self.fires(self.natural_tokens < 2, 0.3)
        self.buggy[:, PLACE] = self.clean[:, PLACE] = self.fires(every, 0.2)
        self.natural[:, PLACE] = self.fires(natural, 0.05)
        level = self.fires(every, 0.1) * 50 * self.rng.exponential(1.0, N)
        self.clean[:, STRONG_VARIANCE] = level
        self.buggy[:, STRONG_VARIANCE] = level + self.fires(level > 0, 1.0)
        self.natural[:, STRONG_VARIANCE] = 0.02 * self.fires(natural, 0.1)
        self.buggy[:, DENSE] = self.fires(every, 0.9)
        self.natural[:, DENSE] = self.fires(natural, 0.4)
        self.buggy[:, ONE_KIND] = self.fires(self.kinds == "comparison", 0.25)
        self.clean[:, ONE_KIND] = self.fires(every, 0.01)
        self.natural[:, ONE_KIND] = self.fires(natural, 0.01)
        self.buggy[:, CORRECT] = self.fires(every, 0.02)
        self.clean[:, CORRECT] = self.fires(every, 0.13)
        self.natural[:, CORRECT] = self.fires(natural, 0.13)
        self.buggy[:, ONE_PROJECT] = self.fires(self.projects == "p0", 0.3)
        self.clean[:, ONE_PROJECT] = self.natural[:, ONE_PROJECT] = 0.0

    def pairs(self) -> PairActivations:
        return PairActivations(
            buggy=self.buggy,
            clean=self.clean,
            tokens=self.tokens,
            kinds=self.kinds,
            projects=self.projects,
            groups=np.arange(N) // 2,
        )

    def natural_sites(self) -> NaturalSites:
        return NaturalSites(latents=self.natural, tokens=self.natural_tokens)


@pytest.fixture(scope="module")
def world() -> World:
    return World(0)


@pytest.fixture(scope="module")
def found(world: World) -> Discovery:
    other = World(1)
    other.buggy[:, ONE_KIND] = other.fires(np.ones(N, dtype=bool), 0.01)
    held_out = HeldOut(other.pairs(), other.natural_sites())
    return discover(world.pairs(), world.natural_sites(), held_out=held_out, options=OPTIONS)


def indices(found: Discovery) -> set[int]:
    return {feature.feature_idx for feature in found.features}


def test_a_latent_that_fires_ten_times_as_often_on_wrong_code_is_found_with_its_rates(
    found: Discovery,
) -> None:
    (feature,) = (feature for feature in found.features if feature.feature_idx == ERROR)
    assert feature.direction == "buggy" and feature.q_value < 0.01
    assert feature.rate_buggy == pytest.approx(0.06, abs=0.02)
    assert feature.rate_matched == pytest.approx(0.006, abs=0.004)
    assert feature.separation == pytest.approx(0.054, abs=0.02)
    assert feature.t_statistic > 0 and feature.paired_t > 0


def test_a_latent_that_stands_for_the_token_is_rejected_although_the_paired_contrast_finds_it(
    world: World, found: Discovery
) -> None:
    alone = discover(world.pairs(), options=replace(OPTIONS, max_density=0.3))
    assert TOKEN in indices(alone) and TOKEN not in indices(found)
    assert found.pooled.paired_t[TOKEN] > 5 > abs(found.pooled.matched_t[TOKEN])


def test_a_latent_that_stands_for_the_place_is_rejected_although_the_matched_contrast_finds_it(
    world: World, found: Discovery
) -> None:
    assert found.pooled.matched_t[PLACE] > 5 and PLACE not in indices(found)


def test_a_small_effect_in_every_pair_is_found_where_welchs_t_sees_nothing(world: World) -> None:
    alone = discover(world.pairs(), options=OPTIONS)
    assert STRONG_VARIANCE in indices(alone)
    assert abs(alone.pooled.t_statistic[STRONG_VARIANCE]) < 1 < 5 < alone.pooled.paired_t[STRONG_VARIANCE]


def test_a_latent_that_fires_on_much_of_ordinary_code_is_out(world: World, found: Discovery) -> None:
    assert DENSE not in indices(found) and np.isnan(found.q[DENSE])
    rare = np.zeros(LATENTS)
    assert DENSE in indices(discover(world.pairs(), world.natural_sites(), density=rare, options=OPTIONS))


def test_a_latent_of_one_kind_is_named_with_its_kind(found: Discovery) -> None:
    (feature,) = (feature for feature in found.features if feature.feature_idx == ONE_KIND)
    assert "comparison" in feature.kinds and "number" not in feature.kinds
    assert found.families["comparison"].rate_buggy[ONE_KIND] > 5 * found.pooled.rate_buggy[ONE_KIND]
    assert set(found.families) == {"all", "comparison", "name", "number"}


def test_a_kind_with_few_pairs_is_not_tested_alone(world: World) -> None:
    found = discover(world.pairs(), options=replace(OPTIONS, min_pairs=200))
    assert set(found.families) == {"all", "name", "number"}


def test_strongest_features_come_first(found: Discovery) -> None:
    strengths = [feature.paired_t for feature in found.features]
    assert strengths == sorted(strengths, reverse=True) and len(strengths) > 1


def test_latents_of_right_code_are_listed_only_on_request_and_last(world: World, found: Discovery) -> None:
    assert CORRECT not in indices(found)
    both = discover(world.pairs(), world.natural_sites(), options=replace(OPTIONS, both_directions=True))
    assert both.features[-1].feature_idx == CORRECT and both.features[-1].direction == "correct"
    assert ERROR in indices(both)


def test_what_holds_on_other_projects_is_replicated_and_what_does_not_is_listed_without(
    found: Discovery,
) -> None:
    replicated = {feature.feature_idx for feature in found.replicated}
    assert ERROR in replicated and ONE_KIND not in replicated and ONE_KIND in indices(found)


def test_a_kind_that_held_out_projects_lack_replicates_nothing_there(world: World) -> None:
    other = World(1)
    other.kinds = np.where(other.kinds == "comparison", "name", other.kinds)
    held_out = HeldOut(other.pairs(), other.natural_sites())
    found = discover(world.pairs(), world.natural_sites(), held_out=held_out, options=OPTIONS)
    assert found.held_out["comparison"].pairs == 0
    assert np.isnan(found.held_out["comparison"].p_more).all() and ERROR in indices(found)


def test_without_held_out_projects_nothing_counts_as_replicated(world: World) -> None:
    assert discover(world.pairs(), world.natural_sites(), options=OPTIONS).replicated == ()


def test_a_latent_of_a_single_project_is_less_stable_than_one_of_all(found: Discovery) -> None:
    assert found.stability[ERROR] > 0.9
    assert found.stability[ONE_PROJECT] < found.stability[ERROR]


def test_an_unstable_latent_is_left_out(world: World) -> None:
    strict = replace(OPTIONS, min_stability=1.01)
    assert discover(world.pairs(), world.natural_sites(), options=strict).features == ()


def test_few_projects_leave_stability_open(world: World) -> None:
    world = World(0)
    world.projects = np.where(world.projects < "p5", "a", "b")
    found = discover(world.pairs(), world.natural_sites(), options=OPTIONS)
    assert np.isnan(found.stability).all() and ERROR in indices(found)


def test_chance_alone_is_hardly_ever_called_a_discovery() -> None:
    """At a false discovery rate of 5 %, one in twenty null worlds may list something."""
    false_alarms = 0
    for seed in range(40):
        null = World(100 + seed, null=True)
        options = DiscoveryOptions(resamples=0, max_density=1.0)
        false_alarms += bool(discover(null.pairs(), options=options).features)
    assert false_alarms <= 5, "of 40; 5 or fewer in 95 of 100 such tests"


def test_the_same_seed_gives_the_same_list(world: World, found: Discovery) -> None:
    again = discover(world.pairs(), world.natural_sites(), options=OPTIONS)
    assert (again.stability == found.stability).all() and indices(again) == indices(found)


def test_one_pair_is_no_contrast() -> None:
    one = PairActivations(
        buggy=np.ones((1, 2)), clean=np.ones((1, 2)), tokens=[1], kinds=["a"], projects=["p"], groups=["g"]
    )
    with pytest.raises(InputError, match="at least 2 pairs, got 1"):
        discover(one)


def test_a_density_of_another_coder_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="density needs one entry for each of 60 latents, got 3"):
        discover(world.pairs(), density=np.zeros(3))
