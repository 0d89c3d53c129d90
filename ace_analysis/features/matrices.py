"""Sparse matrices of activations, and the few sums over them that the statistics need."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ace_analysis.errors import InputError

FloatArray = NDArray[np.floating]
Matrix = sparse.csr_array | FloatArray


def as_csr(matrix: ArrayLike | sparse.sparray | sparse.spmatrix) -> sparse.csr_array:
    """The same numbers, sparse; nothing is copied that already is."""
    found = sparse.csr_array(matrix if sparse.issparse(matrix) else np.asarray(matrix))
    if found.ndim != 2:
        raise InputError(f"activations need two axes, [site, latent], got {found.ndim}")
    return found


def shape_of(matrix: sparse.csr_array) -> tuple[int, int]:
    rows, columns = matrix.shape or (0, 0)
    return int(rows), int(columns)


def firing(latents: sparse.csr_array) -> sparse.csr_array:
    """1 where a latent fires."""
    fires = latents.copy()
    fires.data = (fires.data > 0).astype(np.float32)
    return fires


def column_mean(matrix: sparse.csr_array) -> FloatArray:
    return column_sum(matrix) / max(shape_of(matrix)[0], 1)


def column_sum(matrix: sparse.csr_array) -> FloatArray:
    return np.asarray(matrix.sum(axis=0, dtype=np.float64)).ravel()


def squared(matrix: Matrix) -> Matrix:
    return np.square(matrix) if isinstance(matrix, np.ndarray) else sparse.csr_array(matrix.power(2))


def dense(matrix: Matrix | sparse.csc_array) -> FloatArray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


def indicator(rows: NDArray[np.integer], n_rows: int) -> sparse.csr_array:
    """`[n_rows, len(rows)]`, with a 1 at (rows[i], i): multiplying by it sums what belongs together."""
    ones, columns = np.ones(len(rows), dtype=np.float32), np.arange(len(rows))
    return sparse.csr_array((ones, (rows, columns)), shape=(n_rows, len(rows)))
