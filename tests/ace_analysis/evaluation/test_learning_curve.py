"""A learning curve takes growing shares of the training functions, and rises where there is more to learn."""

import numpy as np
import pytest
from scipy import sparse

from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.learning_curve import CurveOptions, learning_curve
from ace_analysis.evaluation.statistics import Resampling
from ace_analysis.features.examples import BUG, CLEAN, NEAR_BUG
from ace_analysis.features.readout import ReadoutOptions
from ace_analysis.features.table import SiteTable

SITES, LATENTS, WRONG, SLOTS = 5, 300, 60, 4


def table_of(functions: int, seed: int) -> SiteTable:
    """A clean and a mutated text each; wrong sites fire other latents than right ones."""
    rng = np.random.default_rng(seed)
    rows = functions * 2 * SITES
    variant = np.arange(rows) // SITES % 2
    bug = (variant == 1) & (np.arange(rows) % SITES == np.arange(rows) // (2 * SITES) % SITES)
    latent = np.where(bug, rng.integers(0, WRONG, rows), rng.integers(WRONG, LATENTS, rows))
    fired = sparse.csr_array((np.ones(rows), (np.arange(rows), latent)), shape=(rows, LATENTS))
    return SiteTable(
        latents=(fired, *(sparse.csr_array((rows, LATENTS)) for _ in range(SLOTS - 1))),
        label=np.where(bug, BUG, np.where(variant == 0, CLEAN, NEAR_BUG)),
        kind=np.zeros(rows, dtype=int),
        mutation=variant,
        function=np.arange(rows) // (2 * SITES),
        text=np.arange(rows) // SITES,
        line=np.arange(rows),
        origin=np.where(variant == 1, np.arange(rows) - SITES, -1),
        token=np.zeros(rows, dtype=int),
        projects=np.array([f"p{i % 4}" for i in range(functions)]),
        names=np.array([f"f{i}" for i in range(functions)]),
        lines=np.full(functions, SITES),
    )


OPTIONS = CurveOptions(
    shares=(1.0, 0.02, 0.1),
    readout=ReadoutOptions(l1=0.0, l2=1e-4, min_rows=1),
    resampling=Resampling(resamples=0),
)


def test_more_functions_find_more_where_there_is_something_to_learn() -> None:
    points = learning_curve(table_of(200, seed=1), table_of(60, seed=2), options=OPTIONS)
    assert [point.functions for point in points] == [4, 20, 200]
    assert [point.mutants for point in points] == [4, 20, 200]
    aurocs = [point.detection.site_auroc.value for point in points]
    assert aurocs[0] < aurocs[1] < aurocs[2]


def test_it_can_be_stopped() -> None:
    with pytest.raises(Cancelled):
        learning_curve(table_of(50, 1), table_of(10, 2), options=OPTIONS, cancelled=lambda: True)
