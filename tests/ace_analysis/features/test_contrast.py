"""The contrasts against scipy's tests and against the slow truth."""

import numpy as np
import pytest
from scipy import stats

from ace_analysis.features.contrast import Contrast, contrast_of, family_of, welch
from ace_analysis.features.matrices import as_csr
from ace_analysis.features.pairs import ALL_KINDS, NaturalSites, PairActivations, TokenMeans

N, LATENTS, TOKENS = 300, 200, 6


def sites(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random((n, LATENTS)) < 0.3, rng.random((n, LATENTS)) + 0.5, 0.0)


@pytest.fixture(scope="module")
def pairs() -> PairActivations:
    rng = np.random.default_rng(0)
    return PairActivations(
        buggy=sites(rng, N),
        clean=sites(rng, N),
        tokens=rng.integers(0, TOKENS, N),
        kinds=rng.choice(["name", "number"], N),
        projects=rng.choice(["p", "q", "r"], N),
        groups=np.arange(N),
    )


@pytest.fixture(scope="module")
def natural() -> NaturalSites:
    rng = np.random.default_rng(1)
    return NaturalSites(latents=sites(rng, 500), tokens=rng.integers(1, TOKENS, 500))


def contrast(pairs: PairActivations, natural: NaturalSites | None, kind: str = ALL_KINDS) -> Contrast:
    means = None if natural is None else TokenMeans.of(natural, pairs.tokens, 3)
    family = family_of(pairs, kind, means, np.ones(LATENTS, dtype=bool), 15)
    return contrast_of(pairs, family, means)


def test_welchs_t_is_scipys(pairs: PairActivations) -> None:
    expected = stats.ttest_ind(pairs.buggy.toarray(), pairs.clean.toarray(), equal_var=False)
    t, degrees = welch(pairs.buggy, pairs.clean)
    assert t == pytest.approx(expected.statistic) and degrees == pytest.approx(expected.df)


def test_the_paired_t_is_scipys(pairs: PairActivations) -> None:
    expected = stats.ttest_rel(pairs.buggy.toarray(), pairs.clean.toarray()).statistic
    assert contrast(pairs, None).paired_t == pytest.approx(expected, rel=1e-4)


def test_one_kind_is_tested_on_its_own_pairs(pairs: PairActivations) -> None:
    rows = pairs.kinds == "name"
    expected = stats.ttest_rel(pairs.buggy.toarray()[rows], pairs.clean.toarray()[rows]).statistic
    found = contrast(pairs, None, "name")
    assert found.paired_t == pytest.approx(expected, rel=1e-4) and found.pairs == rows.sum()


def test_the_matched_t_is_mutated_minus_the_tokens_mean_over_both_variances(
    pairs: PairActivations, natural: NaturalSites
) -> None:
    buggy, latents = pairs.buggy.toarray(), natural.latents.toarray()
    matched = np.isin(pairs.tokens, natural.tokens)
    means = np.stack(
        [latents[natural.tokens == t].mean(0) if t else np.zeros(LATENTS) for t in range(TOKENS)]
    )
    difference = (buggy - means[pairs.tokens])[matched]
    variance = difference.var(0, ddof=1) / matched.sum()
    for token in range(1, TOKENS):
        own = latents[natural.tokens == token]
        weight = (pairs.tokens == token).sum() / matched.sum()
        variance = variance + weight**2 * own.var(0, ddof=1) / len(own)
    found = contrast(pairs, natural)
    assert found.matched_t == pytest.approx(difference.mean(0) / np.sqrt(variance), rel=1e-4)
    assert found.matched_pairs == matched.sum() < N
    rates = np.stack([(latents[natural.tokens == t] > 0).mean(0) if t else means[0] for t in range(TOKENS)])
    assert found.rate_matched == pytest.approx(rates[pairs.tokens][matched].mean(0), rel=1e-5)


def test_p_values_are_uniform_where_there_is_no_difference(
    pairs: PairActivations, natural: NaturalSites
) -> None:
    """The larger of two: below the level, and by how much depends on how far the contrasts agree."""
    assert stats.kstest(contrast(pairs, None).p_more, "uniform").pvalue > 0.01
    both = contrast(pairs, natural).p_more
    assert (both < 0.1).mean() < 0.1


def test_a_latent_that_hardly_fires_is_not_tested(pairs: PairActivations) -> None:
    rare = pairs.buggy.toarray()
    rare[14:, 0] = 0.0
    clean = pairs.clean.toarray()
    clean[:, 0] = 0.0
    means = None
    thin = PairActivations(
        buggy=rare,
        clean=clean,
        tokens=pairs.tokens,
        kinds=pairs.kinds,
        projects=pairs.projects,
        groups=pairs.groups,
    )
    family = family_of(thin, ALL_KINDS, means, np.ones(LATENTS, dtype=bool), 15)
    p = contrast_of(thin, family, means).p_more
    assert np.isnan(p[0]) and np.isfinite(p[1:]).all()


def test_the_deciding_t_is_the_weaker_one_and_none_where_the_two_contradict() -> None:
    values = {name: np.zeros(3) for name in ("t_statistic", "p_more", "p_less")}
    rates = {name: np.array([0.5, 0.1, 0.2]) for name in ("rate_buggy", "rate_clean", "rate_matched")}
    found = Contrast(
        kind=ALL_KINDS,
        pairs=1,
        matched_pairs=1,
        paired_t=np.array([5.0, -3.0, 4.0]),
        matched_t=np.array([2.0, -6.0, -1.0]),
        **values,
        **rates,
    )
    assert found.deciding_t.tolist() == [2.0, -3.0, 0.0]
    assert found.separation.tolist() == [0.0, 0.0, 0.0]


def test_dense_and_sparse_activations_give_the_same(pairs: PairActivations) -> None:
    dense = pairs.buggy.toarray()
    assert welch(as_csr(dense), pairs.clean)[0] == pytest.approx(welch(pairs.buggy, pairs.clean)[0])
