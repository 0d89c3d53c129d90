import numpy as np
import pytest
from scipy import sparse

from ace_analysis.errors import InputError
from ace_analysis.features.matrices import as_csr, column_mean, firing, indicator


def test_dense_and_sparse_inputs_become_the_same_matrix() -> None:
    dense = np.array([[0.0, 2.0], [3.0, 0.0]])
    assert (as_csr(dense).toarray() == as_csr(sparse.csc_matrix(dense)).toarray()).all()


def test_a_matrix_without_two_axes_is_refused() -> None:
    with pytest.raises(InputError, match=r"two axes, \[site, latent\], got 1"):
        as_csr(np.zeros(3))


def test_an_indicator_sums_what_belongs_together() -> None:
    summed = indicator(np.array([1, 0, 1]), 3) @ np.array([[1.0], [10.0], [100.0]])
    assert summed.ravel().tolist() == [10.0, 101.0, 0.0]


def test_rates_count_positive_entries_and_zeros_stored_explicitly_do_not_fire() -> None:
    stored_zero = sparse.csr_array((np.array([0.0, 5.0]), ([0, 1], [0, 0])), shape=(4, 1))
    assert column_mean(firing(stored_zero)).tolist() == [0.25]
    assert column_mean(stored_zero).tolist() == [1.25]
