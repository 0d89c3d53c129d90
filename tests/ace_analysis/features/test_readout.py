"""The fit finds what was planted and nothing else, and is a logistic regression."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from ace_analysis.errors import Cancelled
from ace_analysis.features.bundle import Readout
from ace_analysis.features.harvest import KINDS
from ace_analysis.features.readout import ReadoutOptions, fit_readout, logits
from ace_analysis.features.table import SiteTable

ROWS, LATENTS, PLANTED = 2000, 20, 3
SLOTS = (0, 1)
MakeTable = Callable[..., SiteTable]


def data(seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Latents of two slots that know nothing, but for one of the second slot that fires on most bugs."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(ROWS) < 0.1
    slots = [np.where(rng.random((ROWS, LATENTS)) < 0.1, rng.random((ROWS, LATENTS)) + 0.5, 0) for _ in SLOTS]
    fires = np.where(wrong, rng.random(ROWS) < 0.6, rng.random(ROWS) < 0.02)
    slots[1][:, PLANTED] = fires * (rng.random(ROWS) + 0.5)
    return slots, wrong


def test_a_planted_latent_is_found_in_its_slot_and_noise_gets_no_weight(table_of: MakeTable) -> None:
    readout = fit_readout(table_of(*data()), ReadoutOptions(l1=0.01), slots=SLOTS)
    assert readout.weights[1, PLANTED] > 0
    assert readout.weights.nonzero().tolist() == [[1, PLANTED]]


def test_without_l1_it_is_a_logistic_regression(table_of: MakeTable) -> None:
    table = table_of(*data())
    options = ReadoutOptions(l1=0.0, l2=0.0, min_rows=1, iterations=500)
    ours = logits(table, fit_readout(table, options, slots=SLOTS))
    kinds = np.eye(2)[table.kind]
    matrix = np.hstack([table.design().toarray(), kinds])
    theirs = LogisticRegression(C=1e8, fit_intercept=False, max_iter=5000, tol=1e-8)
    theirs.fit(matrix, table.label == 1)
    np.testing.assert_allclose(expit(ours), theirs.predict_proba(matrix)[:, 1], atol=0.01)


def test_only_the_given_rows_are_learnt_from(table_of: MakeTable) -> None:
    slots, wrong = data()
    half = np.arange(ROWS // 2)
    part = fit_readout(table_of(slots, wrong), rows=half, slots=SLOTS)
    alone = fit_readout(table_of([each[half] for each in slots], wrong[half]), slots=SLOTS)
    torch.testing.assert_close(part.weights, alone.weights)


def test_a_latent_that_hardly_fires_gets_no_weight(table_of: MakeTable) -> None:
    slots, wrong = data()
    slots[0][:, 0] = 0
    slots[0][np.flatnonzero(wrong)[:5], 0] = 1.0
    readout = fit_readout(table_of(slots, wrong), ReadoutOptions(min_rows=6, l1=0.0), slots=SLOTS)
    assert readout.weights[0, 0] == 0
    readout = fit_readout(table_of(slots, wrong), ReadoutOptions(min_rows=5, l1=0.0), slots=SLOTS)
    assert readout.weights[0, 0] > 0


def test_logits_are_the_kinds_bias_and_the_weighted_latents(table_of: MakeTable) -> None:
    slots, wrong = data()
    table = table_of(slots, wrong)
    weights = torch.randn(2, LATENTS, generator=torch.Generator().manual_seed(1))
    biases = {KINDS[0].value: -1.0, KINDS[1].value: 2.0}
    readout = Readout(weights=weights, kind_bias=biases, slots=SLOTS)
    bias = np.where(table.kind == 0, -1.0, 2.0)
    latents = [each.toarray() for each in table.latents]
    expected = bias + latents[0] @ weights[0].numpy() + latents[1] @ weights[1].numpy()
    np.testing.assert_allclose(logits(table, readout), expected, rtol=1e-4, atol=1e-4)
    rows = np.array([5, 1])
    np.testing.assert_allclose(logits(table, readout, rows), expected[rows], rtol=1e-4, atol=1e-4)


def test_a_kind_that_was_never_seen_has_no_bias_and_no_score(table_of: MakeTable) -> None:
    table = table_of(*data())
    readout = fit_readout(table, rows=np.flatnonzero(table.kind == 0), slots=SLOTS)
    assert set(readout.kind_bias) == {KINDS[0].value}
    assert np.isnan(logits(table, readout)[table.kind == 1]).all()


def test_a_stop_ends_the_fit(table_of: MakeTable) -> None:
    with pytest.raises(Cancelled, match="readout was stopped"):
        fit_readout(table_of(*data()), slots=SLOTS, cancelled=lambda: True)
