"""Right and wrong inputs of any number compared latent by latent, with what few inputs can and can't bear."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ace_analysis.features.bundle import ErrorFeature
from ace_analysis.features.discovery import DiscoveryOptions, discover
from ace_analysis.features.inputs import ChangedTokens
from ace_analysis.features.pairs import NaturalSites, PairActivations, TokenMeans
from ace_analysis.features.reading import Reading
from ace_analysis.features.unpaired import discover_unpaired

MIN_ORDINARY_TOKENS = 5000
"""With fewer tokens in right inputs, whether a latent fires on 2 % of ordinary code can't be told."""

MIN_MATCHED = 0.5
"""Share of the pairs whose token has to occur elsewhere in right inputs for the token-matched contrast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """How error features are looked for.

    Attributes:
        paired: whether the i-th right and wrong input belong together; None: see for yourself.
        fdr: bound on the share of false latents; 1.0 lists whatever exceeds the t-threshold.
        pooling: what stands for a whole input that has no partner, its largest or its mean activation.
        both_directions: also latents that fire more on right code, last.
        candidates: where chance may explain every difference, how many of the strongest latents to list as
            not significant.
    """

    paired: bool | None = None
    fdr: float = 0.05
    pooling: Literal["max", "mean"] = "max"
    both_directions: bool = False
    candidates: int = 10


def compare_pairs(
    right: Reading, wrong: Reading, changes: Sequence[ChangedTokens], options: Identification
) -> tuple[ErrorFeature, ...]:
    """Pairs at the tokens that differ, by the paired and, where tokens recur, the token-matched contrast."""
    n, ordinary = len(changes), ordinary_tokens(right)
    groups = _repeated([len(change.wrong) for change in changes])
    at = np.concatenate([change.wrong for change in changes]) + wrong.starts[groups]
    single = np.array([len(change.wrong) == 1 for change in changes])
    tokens = np.where(single, wrong.tokens[at[np.searchsorted(groups, np.arange(n))]], -1)
    before = _repeated([len(change.right) for change in changes])
    original = np.concatenate([change.right for change in changes]) + right.starts[before]
    pairs = PairActivations(
        buggy=wrong.maximum(at, groups, n),
        clean=right.maximum(original, before, n),
        tokens=tokens,
        kinds=np.full(n, ""),
        projects=np.full(n, ""),
        groups=right.group_of_each(),
    )
    settings = _discovery_options(options, n, len(ordinary))
    natural = NaturalSites(latents=right.latents[ordinary], tokens=right.tokens[ordinary])
    matched = TokenMeans.of(natural, tokens, settings.min_natural).rows_of(tokens) >= 0
    return discover(
        pairs,
        natural if matched.mean() >= MIN_MATCHED else None,
        density=right.density(ordinary),
        options=settings,
    ).features


def ordinary_tokens(right: Reading) -> NDArray[np.intp]:
    """Tokens of right inputs that count as ordinary code; the original of several mutants counts once."""
    _, first = np.unique(right.group_of_each(), return_index=True)
    return np.flatnonzero(right.kept & np.isin(right.rows, first))


def compare_wholes(right: Reading, wrong: Reading, options: Identification) -> tuple[ErrorFeature, ...]:
    """Inputs without partners, one observation each."""
    ordinary = ordinary_tokens(right)
    pooled: list[sparse.csr_array] = []
    for reading in (wrong, right):
        tokens = np.flatnonzero(reading.kept)
        pool = reading.maximum if options.pooling == "max" else reading.mean
        pooled.append(pool(tokens, reading.rows[tokens], len(reading)))
    settings = _discovery_options(options, min(len(right), len(wrong)), len(ordinary))
    return discover_unpaired(pooled[0], pooled[1], settings, right.density(ordinary))


def _discovery_options(options: Identification, n: int, n_ordinary: int) -> DiscoveryOptions:
    """Those of large corpora, loosened where a few inputs can't bear them."""
    usual = DiscoveryOptions(
        fdr=options.fdr,
        both_directions=options.both_directions,
        candidates=options.candidates,
        resamples=0,
    )
    return replace(
        usual,
        min_firing=min(usual.min_firing, max(n // 4, 2)),
        max_density=usual.max_density if n_ordinary >= MIN_ORDINARY_TOKENS else 1.0,
    )


def _repeated(counts: Sequence[int]) -> NDArray[np.intp]:
    return np.arange(len(counts)).repeat(counts)
