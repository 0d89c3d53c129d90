"""Which latents tell wrong code from right code: the statistics, on arrays, without a model.

Three contrasts of the same pairs (a mutated site, and the original site of the same function):

- Welch's t over all sites, zeros included (Tahimic & Cheng 2025, arXiv 2510.02917, as their code has it). The
  variance between sites drowns the effect; it is here to be compared with the literature.
- Paired: mutated minus original. Removes the place, and finds token identity: a mutant changes the token.
- Token-matched: mutated minus the mean of natural sites of the *same token* in clean code. Removes the token.

An error latent has to fire more by the paired and by the matched contrast, so its p-value is the larger of
the two (an intersection-union test): neither the place nor the token alone can make one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ace_analysis.features.matrices import FloatArray, column_mean, column_sum, dense, firing, shape_of
from ace_analysis.features.moments import Clusters, ProjectMoments
from ace_analysis.features.pairs import PairActivations, TokenMeans
from ace_analysis.features.significance import p_above, t_of, z_of

_BLOCK = 128
"""Latents that are dense at once; bounds the memory of the matched contrast."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Contrast:
    """All statistics of one family of pairs (all of them, or one kind), an entry per latent.

    `t_statistic` is Welch's. `p_more` and `p_less` are one-sided, nan for a latent that fires too rarely to
    be tested. The matched entries are nan where there were no natural sites.
    """

    kind: str
    pairs: int
    matched_pairs: int
    t_statistic: FloatArray
    paired_t: FloatArray
    matched_t: FloatArray
    p_more: FloatArray
    p_less: FloatArray
    rate_buggy: FloatArray
    rate_clean: FloatArray
    rate_matched: FloatArray

    @property
    def separation(self) -> FloatArray:
        """Share of mutated sites minus share of original sites on which a latent fires."""
        return self.rate_buggy - self.rate_clean

    @property
    def deciding_t(self) -> FloatArray:
        """The weaker of the two contrasts that both have to hold; 0 where they contradict each other."""
        matched = np.where(np.isfinite(self.matched_t), self.matched_t, self.paired_t)
        weaker = np.minimum(np.abs(matched), np.abs(self.paired_t))
        return np.where(np.sign(matched) == np.sign(self.paired_t), weaker * np.sign(matched), 0.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Family:
    """The moments of one family, from which its contrast and its bootstrap are computed."""

    kind: str
    tested: NDArray[np.bool_]
    paired: ProjectMoments
    matched: ProjectMoments | None
    matched_variance: FloatArray | float

    def evidence(self, weights: FloatArray) -> "Evidence":
        """With each project counted `weights[draw, project]` times."""
        paired_t, degrees = self.paired.t_statistic(weights)
        paired = matched = z_of(paired_t, degrees)
        matched_t = np.full_like(paired_t, np.nan)
        if self.matched is not None:
            matched_t, degrees = self.matched.t_statistic(weights, self.matched_variance)
            matched = z_of(matched_t, degrees)
        more, less = np.minimum(paired, matched), np.minimum(-paired, -matched)
        more[:, ~self.tested], less[:, ~self.tested] = np.nan, np.nan
        return Evidence(paired_t, matched_t, more, less)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """`[draw, latent]`: the two t-statistics, and the deviates of firing more and of firing less by both."""

    paired_t: FloatArray
    matched_t: FloatArray
    more: FloatArray
    less: FloatArray

    def p(self, *, two_sided: bool) -> FloatArray:
        """One-sided for firing more, or two-sided; nan where a latent was not tested."""
        if not two_sided:
            return p_above(self.more)
        return np.minimum(2 * p_above(np.maximum(self.more, self.less)), 1.0)


def family_of(
    pairs: PairActivations, kind: str, means: TokenMeans | None, tested: NDArray[np.bool_], min_firing: int
) -> Family:
    """One family's moments; latents that fire in fewer than `min_firing` of its pairs are not tested."""
    rows = np.flatnonzero(pairs.of_kind(kind))
    buggy, clean = pairs.buggy[rows], pairs.clean[rows]
    fires = column_sum(firing(buggy + clean))
    clusters = Clusters.of(pairs, rows)
    paired = clusters.moments(clusters.gather @ (buggy - clean))
    matched, extra = None, 0.0
    if means is not None:
        at = means.rows_of(pairs.tokens[rows])
        matched, extra = _matched_moments(
            Clusters.of(pairs, rows[at >= 0]), buggy[at >= 0], at[at >= 0], means
        )
    return Family(
        kind=kind,
        tested=tested & (fires >= min_firing),
        paired=paired,
        matched=matched,
        matched_variance=extra,
    )


def contrast_of(pairs: PairActivations, family: Family, means: TokenMeans | None) -> Contrast:
    """The statistics of a family over all projects."""
    rows = np.flatnonzero(pairs.of_kind(family.kind))
    buggy, clean = pairs.buggy[rows], pairs.clean[rows]
    everything = np.ones((1, len(family.paired.pairs)))
    evidence = family.evidence(everything)
    at = means.rows_of(pairs.tokens[rows]) if means is not None else np.empty(0, dtype=np.intp)
    at = at[at >= 0]
    rate_matched = np.full(pairs.n_latents, np.nan)
    if means is not None and len(at):
        weights = np.bincount(at, minlength=len(means.tokens)) / len(at)
        rate_matched = np.asarray(weights @ means.rate).ravel()
    return Contrast(
        kind=family.kind,
        pairs=len(rows),
        matched_pairs=len(at),
        t_statistic=welch(buggy, clean)[0],
        paired_t=evidence.paired_t[0],
        matched_t=evidence.matched_t[0],
        p_more=p_above(evidence.more[0]),
        p_less=p_above(evidence.less[0]),
        rate_buggy=column_mean(firing(buggy)),
        rate_clean=column_mean(firing(clean)),
        rate_matched=rate_matched,
    )


def welch(first: sparse.csr_array, second: sparse.csr_array) -> tuple[FloatArray, FloatArray]:
    """Welch's t of each column, zeros included, with its degrees of freedom; positive: `first` is larger."""
    difference = column_mean(first) - column_mean(second)
    errors, squares = np.zeros_like(difference), np.zeros_like(difference)
    sizes = [shape_of(part)[0] for part in (first, second)]
    for part, n in zip((first, second), sizes, strict=True):
        variance = (column_mean(part.power(2)) - column_mean(part) ** 2) * n / max(n - 1, 1)
        error = np.maximum(variance, 0.0) / max(n, 1)
        errors, squares = errors + error, squares + error**2 / max(n - 1, 1)
    degrees = np.full_like(errors, sum(sizes) - 2)
    np.divide(errors**2, squares, out=degrees, where=squares > 0)
    return t_of(difference, errors, min(sizes)), degrees


def _matched_moments(
    clusters: Clusters, buggy: sparse.csr_array, at: NDArray[np.integer], means: TokenMeans
) -> tuple[ProjectMoments, FloatArray]:
    """The moments of mutated minus the mean of its token, and the variance that those means bring.

    A cluster's total is that of its mutated sites minus that of its tokens' means, which are dense for
    frequent tokens: a block of latents at a time.
    """
    columns = sparse.csr_array(
        (np.ones(len(at), np.float32), (np.arange(len(at)), at)), (len(at), len(means.tokens))
    )
    counts = sparse.csr_array(clusters.gather @ columns)
    observed, expected = sparse.csc_array(clusters.gather @ buggy), sparse.csc_array(means.mean)
    parts = []
    for start in range(0, shape_of(buggy)[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        parts.append(clusters.moments(dense(observed[:, block]) - counts @ dense(expected[:, block])))
    per_token = np.bincount(at, minlength=len(means.tokens)).astype(np.float64)
    extra = (per_token**2 / np.maximum(means.sites, 1.0)) @ means.variance / max(len(at), 1) ** 2
    return ProjectMoments.beside(parts), np.asarray(extra).ravel()
