"""From latents to log-odds: a sparse logistic layer, fitted on sites of mutants and of clean code.

Sparse, so that a finding can name the few latents that made it fire. Latents are scaled by their root mean
square while fitting, so that the penalty treats rare and frequent ones alike, and left uncentred, so that a
site without any latent has its kind's bias and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.special import expit

from ace_analysis.errors import Cancelled
from ace_analysis.features.bundle import Readout
from ace_analysis.features.harvest import KINDS, Progress
from ace_analysis.features.matrices import shape_of
from ace_analysis.features.positions import DEFAULT_SLOTS
from ace_analysis.features.table import BUG, SiteTable
from ace_analysis.model.scan import never

FloatArray = NDArray[np.float64]
_SMALLEST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutOptions:
    """`l1` and `l2` per row, in units of scaled latents; latents with fewer than `min_rows` are out."""

    l1: float = 2e-5
    l2: float = 1e-4
    bug_weight: float = 1.0
    min_rows: int = 20
    iterations: int = 150


def fit_readout(
    table: SiteTable,
    options: ReadoutOptions | None = None,
    *,
    rows: NDArray[np.int64] | None = None,
    slots: tuple[int | str, ...] = DEFAULT_SLOTS,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Readout:
    """Fit on the given rows (all, without them): planted bugs against every other site.

    Raises:
        Cancelled: the caller asked to stop.
    """
    options = options or ReadoutOptions()
    rows = np.arange(len(table)) if rows is None else rows
    design = table.design(rows)
    scale, used = _scales(design, options.min_rows)
    kinds = sparse.csr_array(
        (np.ones(len(rows)), (np.arange(len(rows)), table.kind[rows])), (len(rows), len(KINDS))
    )
    scaled = sparse.csr_array(design[:, used] @ sparse.diags_array(1.0 / scale[used]))
    matrix = sparse.csr_array(sparse.hstack([scaled, kinds], format="csr"))
    wrong = (table.label[rows] == BUG).astype(np.float64)
    problem = _Problem(matrix, wrong, np.where(wrong > 0, options.bug_weight, 1.0), len(used), options)
    solution = problem.solve(progress, cancelled)
    width = shape_of(design)[1]
    weights = np.zeros(width)
    weights[used] = np.where(np.abs(solution[: len(used)]) < _SMALLEST_WEIGHT, 0.0, solution[: len(used)])
    weights[used] /= scale[used]
    present = np.bincount(table.kind[rows], minlength=len(KINDS)) > 0
    bias = {KINDS[i].value: float(solution[len(used) + i]) for i in range(len(KINDS)) if present[i]}
    shape = (len(slots), width // len(slots))
    return Readout(weights=torch.from_numpy(weights).float().reshape(shape), kind_bias=bias, slots=slots)


def logits(table: SiteTable, readout: Readout, rows: NDArray[np.int64] | None = None) -> FloatArray:
    """Log-odds of a table's rows."""
    weights = readout.weights.double().numpy()
    parts = [each if rows is None else each[rows] for each in table.latents]
    total = np.sum([part @ weight for part, weight in zip(parts, weights, strict=True)], axis=0)
    bias = np.array([readout.kind_bias.get(kind, np.nan) for kind in KINDS])
    return total + bias[table.kind if rows is None else table.kind[rows]]


def _scales(design: sparse.csr_array, min_rows: int) -> tuple[FloatArray, NDArray[np.int64]]:
    """Root mean squares of the columns over rows where they fire, and the columns that fire often enough."""
    coo = sparse.csc_array(design)
    fires = np.diff(coo.indptr)
    squares = np.add.reduceat(np.append(coo.data.astype(np.float64) ** 2, 0.0), coo.indptr[:-1])
    scale = np.sqrt(np.where(fires > 0, squares, 1.0) / np.maximum(fires, 1))
    return scale, np.flatnonzero(fires >= min_rows)


class _Problem:
    """L1 and L2 penalised logistic regression; weights are split in two parts >= 0, so that L1 is smooth."""

    def __init__(
        self,
        matrix: sparse.csr_array,
        wrong: FloatArray,
        weight: FloatArray,
        penalised: int,
        options: ReadoutOptions,
    ) -> None:
        self._matrix = sparse.csr_array(matrix.astype(np.float32))
        self._transposed = sparse.csr_array(self._matrix.T.tocsr())
        self._wrong = wrong
        self._weight = weight / weight.sum()
        self._penalised = penalised
        self._options = options

    def solve(self, progress: Progress | None, cancelled: Callable[[], bool]) -> FloatArray:
        size = shape_of(self._matrix)[1]
        count = 0

        def tell(_: FloatArray) -> None:
            nonlocal count
            count += 1
            if cancelled():
                raise Cancelled("the fit of the readout was stopped by the caller; nothing was kept")
            if progress is not None:
                progress("fitting the readout", min(1.0, count / self._options.iterations))

        start = np.zeros(2 * size)
        rate = float(self._weight @ self._wrong)
        start[self._penalised : size] = max(0.0, np.log(rate / (1 - rate)))
        start[size + self._penalised :] = max(0.0, -np.log(rate / (1 - rate)))
        found = optimize.minimize(
            self._loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * (2 * size),
            callback=tell,
            options={"maxiter": self._options.iterations, "maxcor": 10},
        )
        return found.x[:size] - found.x[size:]

    def _loss(self, halves: FloatArray) -> tuple[float, FloatArray]:
        size, penalised = len(halves) // 2, self._penalised
        weights = halves[:size] - halves[size:]
        z = self._matrix @ weights.astype(np.float32)
        z = z.astype(np.float64)
        loss = float(self._weight @ (np.logaddexp(0.0, z) - self._wrong * z))
        residual = self._weight * (expit(z) - self._wrong)
        gradient = (self._transposed @ residual.astype(np.float32)).astype(np.float64)
        inner = weights[:penalised]
        loss += self._options.l2 * float(inner @ inner)
        gradient[:penalised] += 2 * self._options.l2 * inner
        both = np.concatenate([gradient, -gradient])
        l1 = self._options.l1
        for start in (0, size):
            both[start : start + penalised] += l1
            loss += l1 * float(halves[start : start + penalised].sum())
        return loss, both
