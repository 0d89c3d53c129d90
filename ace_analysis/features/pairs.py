"""What the contrasts compare: sites of mutants and originals, and sites of clean code with the same token."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ace_analysis.errors import InputError
from ace_analysis.features.matrices import FloatArray, as_csr, firing, indicator, shape_of

ALL_KINDS = "all"


@dataclass(frozen=True, eq=False, kw_only=True)
class PairActivations:
    """Latents at the mutated site (`buggy`) and at the original site of the same pair (`clean`).

    `buggy` and `clean` are `[pair, latent]`, dense or scipy sparse. `tokens` holds the token id at each
    mutated site, `kinds` the mutation type, `projects` where the function is from, `groups` the function (or
    file): sites of one group are not independent, and projects are what a bootstrap draws.
    """

    buggy: sparse.csr_array
    clean: sparse.csr_array
    tokens: NDArray[np.integer]
    kinds: NDArray[Any]
    projects: NDArray[Any]
    groups: NDArray[Any]

    def __post_init__(self) -> None:
        for name in ("buggy", "clean"):
            object.__setattr__(self, name, as_csr(getattr(self, name)))
        for name in ("tokens", "kinds", "projects", "groups"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        if self.buggy.shape != self.clean.shape:
            raise InputError(
                f"pairs need as many mutated as original sites and the same latents, "
                f"got {self.buggy.shape} and {self.clean.shape}"
            )
        for name in ("tokens", "kinds", "projects", "groups"):
            if len(getattr(self, name)) != len(self):
                raise InputError(f"{name} needs one entry for each of the {len(self)} pairs")

    def __len__(self) -> int:
        return shape_of(self.buggy)[0]

    @property
    def n_latents(self) -> int:
        return shape_of(self.buggy)[1]

    @cached_property
    def project_codes(self) -> NDArray[np.intp]:
        """Projects numbered from 0."""
        return np.unique(self.projects, return_inverse=True)[1]

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """The number of each pair's group; a group's name counts within its project."""
        _, group = np.unique(self.groups, return_inverse=True)
        joint = self.project_codes * (int(group.max(initial=0)) + 1) + group
        return np.unique(joint, return_inverse=True)[1]

    def of_kind(self, kind: str) -> NDArray[np.bool_]:
        return np.ones(len(self), dtype=bool) if kind == ALL_KINDS else self.kinds == kind


@dataclass(frozen=True, eq=False, kw_only=True)
class NaturalSites:
    """Candidate sites of clean code: latents `[site, latent]`, dense or sparse, and the token id at each."""

    latents: sparse.csr_array
    tokens: NDArray[np.integer]

    def __post_init__(self) -> None:
        object.__setattr__(self, "latents", as_csr(self.latents))
        object.__setattr__(self, "tokens", np.asarray(self.tokens))
        if len(self.tokens) != shape_of(self.latents)[0]:
            raise InputError(
                f"natural sites need one token each, "
                f"got {len(self.tokens)} tokens for {shape_of(self.latents)[0]} sites"
            )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenMeans:
    """What each token does in clean code: `[token, latent]`, for tokens with enough natural sites."""

    tokens: NDArray[np.integer]
    sites: FloatArray
    mean: sparse.csr_array
    variance: sparse.csr_array
    rate: sparse.csr_array

    @classmethod
    def of(cls, natural: NaturalSites, wanted: NDArray[np.integer], minimum: int) -> "TokenMeans":
        tokens, counts = np.unique(natural.tokens, return_counts=True)
        tokens = tokens[(counts >= minimum) & np.isin(tokens, wanted)]
        rows = np.flatnonzero(np.isin(natural.tokens, tokens))
        column = np.searchsorted(tokens, natural.tokens[rows])
        gather = indicator(column, len(tokens))
        latents = natural.latents[rows]
        sites = np.bincount(column, minlength=len(tokens)).astype(np.float64)
        per_site = sparse.diags_array(1.0 / sites)
        mean = sparse.csr_array(per_site @ (gather @ latents))
        square = per_site @ (gather @ latents.power(2))
        unbiased = sparse.diags_array(sites / np.maximum(sites - 1.0, 1.0))
        variance = sparse.csr_array(unbiased @ (square - mean.power(2)))
        rate = sparse.csr_array(per_site @ (gather @ firing(latents)))
        return cls(tokens=tokens, sites=sites, mean=mean, variance=variance, rate=rate)

    def rows_of(self, tokens: NDArray[np.integer]) -> NDArray[np.intp]:
        """The row of each token, -1 for a token with too few natural sites."""
        if not len(self.tokens):
            return np.full(len(tokens), -1, dtype=np.intp)
        rows = np.minimum(np.searchsorted(self.tokens, tokens), len(self.tokens) - 1)
        return np.where(self.tokens[rows] == tokens, rows, -1)
