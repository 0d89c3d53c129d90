"""Error features from right and wrong texts that belong to no pairs, for lack of anything better.

Nothing removes the place and the token here: what wrong texts are about, and how long they are, looks like an
error, too.
"""

import numpy as np
from scipy import sparse

from ace_analysis.features.bundle import ErrorFeature
from ace_analysis.features.candidates import strongest
from ace_analysis.features.contrast import welch
from ace_analysis.features.discovery import DiscoveryOptions
from ace_analysis.features.matrices import FloatArray, column_mean, column_sum, firing
from ace_analysis.features.significance import benjamini_hochberg, p_above, z_of


def discover_unpaired(
    buggy: sparse.csr_array, clean: sparse.csr_array, options: DiscoveryOptions, density: FloatArray
) -> tuple[ErrorFeature, ...]:
    """Error features from observations `[text, latent]` that belong to no pairs: Welch's t decides alone.

    Where none is significant, up to `options.candidates` of the strongest are listed as not significant.
    `paired_t` is Welch's t then, and `rate_matched` the rate on right texts.
    """
    t, degrees = welch(buggy, clean)
    fires = column_sum(firing(buggy)) + column_sum(firing(clean))
    p = p_above(z_of(t if not options.both_directions else np.abs(t), degrees))
    p = np.minimum(2 * p, 1.0) if options.both_directions else p
    p[(fires < options.min_firing) | (density > options.max_density)] = np.nan
    q = benjamini_hochberg(p)
    rate_buggy, rate_clean = column_mean(firing(buggy)), column_mean(firing(clean))
    tested = [
        ErrorFeature(
            feature_idx=int(latent),
            t_statistic=float(t[latent]),
            paired_t=float(t[latent]),
            q_value=float(q[latent]),
            separation=float(rate_buggy[latent] - rate_clean[latent]),
            rate_buggy=float(rate_buggy[latent]),
            rate_matched=float(rate_clean[latent]),
            density=float(density[latent]),
            significant=bool(q[latent] <= options.fdr),
        )
        for latent in np.flatnonzero(np.isfinite(q))
    ]
    listed = [each for each in tested if each.significant] or strongest(
        tested, options.candidates, both_directions=options.both_directions
    )
    return tuple(sorted(listed, key=lambda feature: -feature.t_statistic))
