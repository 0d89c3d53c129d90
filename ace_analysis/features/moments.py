"""Sums per project from which the t-statistic of any set of projects follows.

Errors are those of clusters: all sites of one function or file count as one observation, because they share
their context. Since everything is kept as sums per project, a bootstrap over projects is one matrix product.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ace_analysis.features.matrices import FloatArray, Matrix, dense, indicator, squared
from ace_analysis.features.pairs import PairActivations
from ace_analysis.features.significance import t_of


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectMoments:
    """Sums over the clusters of each project, all that a t-statistic of any set of projects needs.

    With S the total of a cluster of n observations: `total` is the sum of S, `cross` of n S, `square` of S
    squared `[project, latent]`; `pairs`, `squared_pairs` and `clusters` are the sums of n, n squared and 1.
    """

    pairs: FloatArray
    squared_pairs: FloatArray
    clusters: FloatArray
    total: FloatArray
    cross: FloatArray
    square: FloatArray

    @classmethod
    def beside(cls, parts: "Sequence[ProjectMoments]") -> "ProjectMoments":
        """The moments of all latents from those of blocks of them."""
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("total", "cross", "square")
        }
        return replace(parts[0], **joined)

    def t_statistic(
        self, weights: FloatArray, extra_variance: FloatArray | float = 0.0
    ) -> tuple[FloatArray, FloatArray]:
        """t `[draw, latent]` and degrees of freedom `[draw, 1]`, with each project `weights[draw]` times."""
        n = np.maximum(weights @ self.pairs, 1.0)[:, None]
        clusters = (weights @ self.clusters)[:, None]
        mean = (weights @ self.total) / n
        spread = weights @ self.square - 2 * mean * (weights @ self.cross)
        spread = np.maximum(spread + mean**2 * (weights @ self.squared_pairs)[:, None], 0.0)
        variance = clusters / np.maximum(clusters - 1, 1) * spread / n**2 + extra_variance
        return t_of(mean, variance, clusters), clusters - 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Clusters:
    """How pairs gather into clusters, and clusters into projects."""

    gather: sparse.csr_array
    per_project: sparse.csr_array
    sizes: FloatArray

    @classmethod
    def of(cls, pairs: PairActivations, rows: NDArray[np.intp]) -> "Clusters":
        used, cluster = np.unique(pairs.clusters[rows], return_inverse=True)
        project_of = np.zeros(len(used), dtype=np.intp)
        project_of[cluster] = pairs.project_codes[rows]
        return cls(
            gather=indicator(cluster, len(used)),
            per_project=sparse.csr_array(
                indicator(project_of, int(pairs.project_codes.max(initial=-1)) + 1).astype(np.float64)
            ),
            sizes=np.bincount(cluster, minlength=len(used)).astype(np.float64),
        )

    def moments(self, totals: Matrix) -> ProjectMoments:
        """From the clusters' totals `[cluster, latent]`."""
        by_size = self.per_project @ sparse.diags_array(self.sizes)
        total, cross, square = (
            dense(x)
            for x in (self.per_project @ totals, by_size @ totals, self.per_project @ squared(totals))
        )
        return ProjectMoments(
            pairs=self.per_project @ self.sizes,
            squared_pairs=self.per_project @ self.sizes**2,
            clusters=np.asarray(self.per_project.sum(axis=1)).ravel(),
            total=total,
            cross=cross,
            square=square,
        )
