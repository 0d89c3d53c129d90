"""From test statistics to lists that can be believed: p-values, corrected for testing thousands of latents.

Benjamini & Hochberg (1995) bound the share of false latents in a list. A latent that is tested in several
families (all mutations, and each kind of mutation alone) first gets one p-value by Simes (1986), so that the
bound counts latents, not tests (Benjamini & Bogomolov 2014).
"""

import numpy as np
from scipy import special

from ace_analysis.features.matrices import FloatArray

SMALLEST_SPREAD = 0.1
"""Of a mean: observations count as spread by at least so much, lest a few equal ones (texts that begin alike
have the same activations) look like proof."""

_FEW_DEGREES = 30


def t_of(mean: FloatArray, squared_error: FloatArray, n: FloatArray | float) -> FloatArray:
    """The mean of n observations over its standard error; 0 where both are 0."""
    error = np.sqrt(np.maximum(squared_error, 0.0))
    floor = SMALLEST_SPREAD * np.abs(mean) / np.sqrt(np.maximum(n, 1.0))
    return mean / np.maximum(np.maximum(error, floor), np.finfo(np.float64).tiny)


def z_of(t: FloatArray, degrees: FloatArray | float) -> FloatArray:
    """The normal deviate that is as unlikely as a t: Wallace's (1959) formula, exact with few degrees."""
    t, degrees = np.broadcast_arrays(t, np.maximum(degrees, 1.0))
    shrink = (8 * degrees + 1) / (8 * degrees + 3)
    z = np.copysign(shrink * np.sqrt(degrees * np.log1p(t**2 / degrees)), t)
    few = degrees < _FEW_DEGREES
    if few.any():
        z[few] = np.copysign(special.ndtri(special.stdtr(degrees[few], -np.abs(t[few]))), t[few])
    return z


def p_above(z: FloatArray) -> FloatArray:
    """The chance of a deviate this large or larger where there is no difference."""
    return special.ndtr(-z)


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """q-values over the last axis; nan marks what was not tested, and stays nan."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1)
    ranked = np.take_along_axis(p, order, axis=-1)
    tested = np.isfinite(p).sum(axis=-1, keepdims=True)
    scaled = ranked * tested / np.arange(1, p.shape[-1] + 1)
    scaled = np.where(np.isfinite(ranked), scaled, np.inf)
    lowest = np.minimum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    q = np.empty_like(p)
    np.put_along_axis(q, order, np.minimum(lowest, 1.0), axis=-1)
    return np.where(np.isfinite(p), q, np.nan)


def simes(p: FloatArray) -> FloatArray:
    """One p-value for "in at least one family there is something"; families along the first axis."""
    p = np.asarray(p, dtype=np.float64)
    ranked = np.sort(p, axis=0)
    tested = np.isfinite(p).sum(axis=0)
    ranks = np.arange(1, len(p) + 1).reshape(-1, *[1] * (p.ndim - 1))
    scaled = np.where(np.isfinite(ranked), ranked * tested / ranks, np.inf)
    combined = scaled.min(axis=0)
    return np.where(tested > 0, np.minimum(combined, 1.0), np.nan)
