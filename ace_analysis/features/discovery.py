"""Error features: latents that fire more on wrong code, held against everything that could fake one.

A latent is listed if, on all mutants together or on one kind of them, it fires more by the paired and by the
token-matched contrast (see `contrast`), with the share of false latents in the list bounded over all latents;
if it fires more often there than on the same tokens, and not only more strongly; if it is rare on ordinary
code; and if it stays in the list when the projects are drawn again. Whether it holds on projects that it was
not found on, corrected over the list, is said beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ace_analysis.errors import InputError
from ace_analysis.features.bundle import ErrorFeature
from ace_analysis.features.candidates import fires_as_it_says, strongest
from ace_analysis.features.contrast import Contrast, Family, contrast_of, family_of
from ace_analysis.features.matrices import FloatArray, column_mean, firing
from ace_analysis.features.pairs import ALL_KINDS, NaturalSites, PairActivations, TokenMeans
from ace_analysis.features.significance import benjamini_hochberg, simes

MIN_PROJECTS = 5
"""With fewer, drawing projects again says nothing about stability."""

REPLICATION_Q = 0.05
"""Bound on the share of features that only seem to hold on held-out projects."""

_MIN_FIRING_AGAIN = 5
"""Held-out projects are fewer, and a listed latent is tested there only once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryOptions:
    """What a latent has to pass.

    Attributes:
        fdr: bound on the share of false latents in the list.
        max_density: a latent that fires on more of ordinary code is out.
        min_firing: pairs (of a family) on which a latent has to fire at all to be tested there.
        min_pairs: a mutation kind with fewer pairs is not tested alone.
        min_natural: natural sites that a token needs to be matched.
        resamples: how often the projects are drawn again; 0 leaves stability out.
        min_stability: share of those draws in which the latent has to be listed.
        both_directions: also list latents that fire less on wrong code (behind the others).
        candidates: where nothing passes, list the strongest latents that were tested, up to so many, as not
            significant.
    """

    fdr: float = 0.05
    max_density: float = 0.02
    min_firing: int = 15
    min_pairs: int = 200
    min_natural: int = 3
    resamples: int = 200
    min_stability: float = 0.5
    both_directions: bool = False
    candidates: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Discovery:
    """The error features, strongest first, and the numbers behind them, an entry per latent.

    `families` holds the contrasts of all pairs and of each kind that was tested, `held_out` the same on
    held-out projects; `q` is nan where a latent was not tested, `stability` where projects were not drawn.
    """

    features: tuple[ErrorFeature, ...]
    families: dict[str, Contrast]
    held_out: dict[str, Contrast] = field(default_factory=dict)
    q: FloatArray
    density: FloatArray
    stability: FloatArray

    @property
    def pooled(self) -> Contrast:
        return self.families[ALL_KINDS]

    @property
    def tested(self) -> int:
        """Over how many latents the list was corrected."""
        return int(np.isfinite(self.q).sum())

    @property
    def replicated(self) -> tuple[ErrorFeature, ...]:
        return tuple(feature for feature in self.features if feature.replicated)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Pairs, and natural sites, of projects that take no part in the search."""

    pairs: PairActivations
    natural: NaturalSites | None = None


def discover(
    pairs: PairActivations,
    natural: NaturalSites | None = None,
    *,
    density: FloatArray | None = None,
    held_out: HeldOut | None = None,
    options: DiscoveryOptions | None = None,
) -> Discovery:
    """Find error features.

    Args:
        pairs: mutated and original sites of the projects to search.
        natural: sites of clean code of those projects, for token matching. Without them only the paired
            contrast decides, which finds token identity too, and `rate_matched` is that of original sites.
        density: share of ordinary tokens on which each latent fires; None: that of natural (original) sites.
        held_out: projects to replicate on.
    """
    options = options or DiscoveryOptions()
    density = _checked_density(pairs, natural, density)
    kinds = _kinds_of(pairs, options.min_pairs)
    families, contrasts = _families(pairs, natural, kinds, density <= options.max_density, options)
    q = benjamini_hochberg(simes(by_family := _by_family(contrasts, options)))
    stability = _stability(families, pairs, options)
    kept = (q <= options.fdr) & ~(stability < options.min_stability)
    again = _replication(held_out, kinds, kept, options)
    share = options.fdr * float((q <= options.fdr).sum()) / max(int(np.isfinite(q).sum()), 1)
    found = {int(latent): _best(contrasts, by_family[:, latent], share) for latent in np.flatnonzero(kept)}
    made = (_feature(latent, best, q, density) for latent, best in found.items())
    listed = [each for each in made if natural is None or fires_as_it_says(each)]
    shown = _replicated(listed, found, again)
    if not shown and options.candidates:
        shown = _candidates(contrasts, by_family, q, density, options)
    return Discovery(
        features=tuple(sorted(shown, key=lambda feature: -feature.paired_t)),
        families={contrast.kind: contrast for contrast in contrasts},
        held_out=again,
        q=q,
        density=density,
        stability=stability,
    )


def _checked_density(
    pairs: PairActivations, natural: NaturalSites | None, density: FloatArray | None
) -> FloatArray:
    if len(pairs) < 2:
        raise InputError(f"a contrast needs at least 2 pairs, got {len(pairs)}")
    if density is None:
        return column_mean(firing(pairs.clean if natural is None else natural.latents))
    if len(density) != pairs.n_latents:
        raise InputError(f"density needs one entry for each of {pairs.n_latents} latents, got {len(density)}")
    return density


def _replication(
    held_out: HeldOut | None, kinds: Sequence[str], kept: NDArray[np.bool_], options: DiscoveryOptions
) -> dict[str, Contrast]:
    """The contrasts of the listed latents on other projects, by kind."""
    if held_out is None or not kept.any():
        return {}
    again = replace(options, min_firing=min(options.min_firing, _MIN_FIRING_AGAIN))
    _, contrasts = _families(held_out.pairs, held_out.natural, kinds, kept, again)
    return {contrast.kind: contrast for contrast in contrasts}


def _kinds_of(pairs: PairActivations, minimum: int) -> list[str]:
    """All pairs first, then each kind that is frequent enough, where there is more than one."""
    names, counts = np.unique(pairs.kinds, return_counts=True)
    frequent = [str(name) for name, count in zip(names, counts, strict=True) if count >= minimum]
    return [ALL_KINDS, *(frequent if len(names) > 1 else [])]


def _families(
    pairs: PairActivations,
    natural: NaturalSites | None,
    kinds: Sequence[str],
    tested: NDArray[np.bool_],
    options: DiscoveryOptions,
) -> tuple[list[Family], list[Contrast]]:
    means = None if natural is None else TokenMeans.of(natural, pairs.tokens, options.min_natural)
    families = [family_of(pairs, kind, means, tested, options.min_firing) for kind in kinds]
    return families, [contrast_of(pairs, family, means) for family in families]


def _by_family(contrasts: Sequence[Contrast], options: DiscoveryOptions) -> FloatArray:
    """One- or two-sided p-values, with the families along the first axis."""
    more, less = (np.stack([getattr(c, side) for c in contrasts]) for side in ("p_more", "p_less"))
    return np.minimum(2 * np.minimum(more, less), 1.0) if options.both_directions else more


def _stability(families: Sequence[Family], pairs: PairActivations, options: DiscoveryOptions) -> FloatArray:
    """In which share of the draws of projects each latent is listed; nan with too few projects."""
    n_projects = len(np.unique(pairs.project_codes))
    if n_projects < MIN_PROJECTS or options.resamples < 1:
        return np.full(pairs.n_latents, np.nan)
    rng = np.random.default_rng(options.seed)
    weights = rng.multinomial(n_projects, np.full(n_projects, 1 / n_projects), size=options.resamples)
    listed = np.zeros(pairs.n_latents)
    for draws in np.array_split(weights.astype(np.float64), -(-options.resamples // 25)):
        p = [family.evidence(draws).p(two_sided=options.both_directions) for family in families]
        q = benjamini_hochberg(simes(np.stack(p)))
        listed += (q <= options.fdr).sum(axis=0)
    return listed / options.resamples


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The family that a latent is described by, and the kinds on which it shows."""

    contrast: Contrast
    kinds: tuple[str, ...]


def _best(contrasts: Sequence[Contrast], p: FloatArray, share: float) -> _Best:
    """All pairs if a listed latent shows there, else the kind that shows it best.

    `share` is the level that is left for a listed latent's families (Benjamini & Bogomolov 2014).
    """
    shown = np.nan_to_num(benjamini_hochberg(p), nan=1.0) <= share
    best = contrasts[0] if shown[0] else contrasts[int(np.nanargmin(p))]
    kinds = (c.kind for c, there in zip(contrasts, shown, strict=True) if there and c.kind != ALL_KINDS)
    return _Best(best, tuple(kinds))


def _feature(latent: int, best: _Best, q: FloatArray, density: FloatArray) -> ErrorFeature:
    contrast = best.contrast
    rate_matched = contrast.rate_matched[latent]
    return ErrorFeature(
        feature_idx=latent,
        t_statistic=float(contrast.t_statistic[latent]),
        paired_t=float(contrast.deciding_t[latent]),
        q_value=float(q[latent]),
        separation=float(contrast.separation[latent]),
        rate_buggy=float(contrast.rate_buggy[latent]),
        rate_matched=float(rate_matched if np.isfinite(rate_matched) else contrast.rate_clean[latent]),
        density=float(density[latent]),
        kinds=best.kinds,
    )


def _candidates(
    contrasts: Sequence[Contrast],
    by_family: FloatArray,
    q: FloatArray,
    density: FloatArray,
    options: DiscoveryOptions,
) -> list[ErrorFeature]:
    """The strongest of what was tested and can't be told from chance, each by what shows it best."""
    found: list[ErrorFeature] = []
    for latent in np.flatnonzero(np.isfinite(q)):
        contrast = contrasts[int(np.nanargmin(by_family[:, latent]))]
        kinds = () if contrast.kind == ALL_KINDS else (contrast.kind,)
        feature = _feature(int(latent), _Best(contrast, kinds), q, density)
        found.append(replace(feature, significant=False))
    return strongest(found, options.candidates, both_directions=options.both_directions)


def _replicated(
    features: Sequence[ErrorFeature], found: dict[int, _Best], again: dict[str, Contrast]
) -> list[ErrorFeature]:
    """The features, marked where they hold on the held-out projects too, corrected over all of them."""
    p = np.full(len(features), np.nan)
    for index, feature in enumerate(features):
        contrast = again.get(found[feature.feature_idx].contrast.kind)
        if contrast is not None:
            side = contrast.p_more if feature.paired_t > 0 else contrast.p_less
            p[index] = side[feature.feature_idx]
    q = np.nan_to_num(benjamini_hochberg(p), nan=1.0) if len(features) else p
    return [
        replace(feature, replicated=bool(value < REPLICATION_Q))
        for feature, value in zip(features, q, strict=True)
    ]
