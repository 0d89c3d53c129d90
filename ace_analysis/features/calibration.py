"""From log-odds to what a user reads: a probability at a stated prior, and thresholds in false alarms.

Fitted on validation projects, which neither the coder nor the readout has seen. A false alarm is a line of
clean code with a finding: a scan shows at most one a line.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit

from ace_analysis.errors import InputError
from ace_analysis.features.bundle import Calibration
from ace_analysis.features.examples import BUG
from ace_analysis.features.table import SiteTable

FloatArray = NDArray[np.float64]

PRIOR = 0.02
"""Share of wrong sites at which probabilities are stated: one in 50, a bug in every second new function."""

RATES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
LINES = 100


def fit_calibration(table: SiteTable, logits: FloatArray, *, prior: float = PRIOR) -> Calibration:
    """Fit on a table of validation projects with clean functions and whole mutants.

    Args:
        table: its rows.
        logits: log-odds of each row, from features.readout.logits.
        prior: share of wrong sites at which the probability holds.

    Raises:
        InputError: the table lacks planted bugs or clean lines.
    """
    wrong = table.label == BUG
    if not wrong.any() or not len(table.clean):
        raise InputError(
            f"calibration needs planted bugs and clean sites, got {wrong.sum()} and {len(table.clean)};"
            " harvest more validation functions"
        )
    scale, offset = _platt(logits, wrong, prior)
    alarms = line_maxima(table, logits)
    lines = int(table.lines.sum())
    thresholds = {rate: _threshold(alarms, int(rate * lines / LINES)) for rate in RATES}
    return Calibration(scale=scale, offset=offset, prior=prior, thresholds=thresholds)


def line_maxima(table: SiteTable, logits: FloatArray) -> FloatArray:
    """The highest log-odds of each line of clean code, highest first: what could be shown there."""
    clean = table.clean
    _, place = np.unique(table.line[clean], return_inverse=True)
    best = np.full(place.max(initial=-1) + 1, -np.inf)
    np.maximum.at(best, place, logits[clean])
    return np.sort(best)[::-1]


def _threshold(alarms: FloatArray, allowed: int) -> float:
    """Between the last alarm that is allowed and the next one."""
    if allowed >= len(alarms):
        return float(alarms[-1]) - 1.0
    above = alarms[allowed - 1] if allowed else alarms[0] + 1.0
    return float(above + alarms[allowed]) / 2


def _platt(logits: FloatArray, wrong: NDArray[np.bool_], prior: float) -> tuple[float, float]:
    """Scale above 0 and offset of a logistic fit with wrong sites weighted to their prior.

    Source: Platt 1999; the weights move the fit from the sample's share of wrong sites to `prior`.
    """
    weight = np.where(wrong, prior / wrong.sum(), (1 - prior) / (~wrong).sum())

    def loss(at: FloatArray) -> tuple[float, FloatArray]:
        scale = np.exp(at[0])
        z = scale * logits + at[1]
        residual = weight * (expit(z) - wrong)
        value = float(weight @ (np.logaddexp(0.0, z) - wrong * z))
        return value, np.array([scale * float(residual @ logits), float(residual.sum())])

    start = np.array([0.0, np.log(prior / (1 - prior)) - float(weight @ logits)])
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-5.0, 5.0), (None, None)])
    return float(np.exp(found.x[0])), float(found.x[1])
