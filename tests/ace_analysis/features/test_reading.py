"""Latents of whole inputs against reading them one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ace_analysis.features.matrices import as_csr
from ace_analysis.features.reading import BATCH_TOKENS, Reading, read_latents
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site

D_MODEL, D_SAE = 6, 10


class Embedding(nn.Module):
    """A model whose stream at every layer is its input's embedding; notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(20, D_MODEL, generator=torch.Generator().manual_seed(0)))
        self.asked: list[tuple[tuple[int, ...], str, int]] = []

    def run_with_cache(self, ids: Tensor, names_filter: str, stop_at_layer: int) -> tuple[None, Any]:
        self.asked.append((tuple(ids.shape), names_filter, stop_at_layer))
        return None, {names_filter: self.table[ids]}


@pytest.fixture
def coder() -> SparseCoder:
    generator = torch.Generator().manual_seed(1)
    return SparseCoder(
        torch.randn(D_MODEL, D_SAE, generator=generator),
        torch.zeros(D_SAE),
        torch.zeros(D_SAE, D_MODEL),
        torch.zeros(D_MODEL),
        torch.full((D_SAE,), 0.5),
        Site(3),
    )


INPUTS = [[1, 2, 3], [4, 5], [6, 7, 8], [9, 2, 3]]


def test_each_token_has_the_latents_of_its_own_activation(coder: SparseCoder) -> None:
    model = Embedding()
    reading = read_latents(model, coder, INPUTS)
    expected = coder.encode(model.table[torch.tensor([t for row in INPUTS for t in row])]).detach().numpy()
    expected[reading.starts] = 0.0
    assert reading.latents.toarray() == pytest.approx(expected)
    assert reading.tokens.tolist() == [t for row in INPUTS for t in row]
    assert reading.rows.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3] and len(reading) == 4


def test_position_0_and_sinks_have_no_latents(coder: SparseCoder) -> None:
    model = Embedding()
    with torch.no_grad():
        model.table[5] *= 1000
    reading = read_latents(model, coder, [[1, 2, 3, 5, 4]])
    assert reading.kept.tolist() == [False, True, True, False, True]
    assert reading.latents.toarray()[[0, 3]].sum() == 0


def test_inputs_of_one_length_run_together_without_padding_up_to_the_coders_layer(coder: SparseCoder) -> None:
    model = Embedding()
    read_latents(model, coder, INPUTS)
    assert model.asked == [((3, 3), "blocks.3.hook_resid_post", 4), ((1, 2), "blocks.3.hook_resid_post", 4)]


def test_a_batch_is_bounded_in_tokens(coder: SparseCoder) -> None:
    model = Embedding()
    read_latents(model, coder, [[1] * 1500] * 5)
    assert [shape for shape, _, _ in model.asked] == [(2, 1500), (2, 1500), (1, 1500)]
    assert all(rows * length <= BATCH_TOKENS for (rows, length), _, _ in model.asked)


def random_reading() -> Reading:
    rng = np.random.default_rng(0)
    latents = np.where(rng.random((12, 5)) < 0.4, rng.random((12, 5)), 0.0)
    starts = np.array([0, 4, 9])
    return Reading(
        latents=as_csr(latents),
        tokens=np.array([1, 2, 3, 4, 1, 2, 2, 2, 2, 1, 2, 3]),
        kept=np.ones(12, dtype=bool),
        rows=np.array([0] * 4 + [1] * 5 + [2] * 3),
        starts=starts,
    )


def test_the_largest_and_the_mean_activation_of_groups_of_tokens() -> None:
    reading, dense = random_reading(), random_reading().latents.toarray()
    tokens, groups = np.array([0, 3, 5, 6, 7, 3]), np.array([0, 0, 2, 2, 2, 3])
    members = [[0, 3], [], [5, 6, 7], [3]]
    maximum = [dense[rows].max(axis=0) if rows else np.zeros(5) for rows in members]
    mean = [dense[rows].mean(axis=0) if rows else np.zeros(5) for rows in members]
    assert reading.maximum(tokens, groups, 4).toarray() == pytest.approx(np.array(maximum))
    assert reading.mean(tokens, groups, 4).toarray() == pytest.approx(np.array(mean))


def test_nothing_has_no_largest_activation() -> None:
    none = np.array([], dtype=int)
    assert random_reading().maximum(none, none, 2).toarray().tolist() == [[0.0] * 5] * 2


def test_density_is_the_share_of_tokens_on_which_a_latent_fires() -> None:
    reading = random_reading()
    expected = (reading.latents.toarray()[2:8] > 0).mean(axis=0)
    assert reading.density(np.arange(2, 8)) == pytest.approx(expected)


def test_equal_inputs_are_one_group() -> None:
    reading = random_reading()
    again = Reading(
        latents=reading.latents,
        tokens=np.array([1, 2, 3, 1, 2, 3, 1, 2, 2, 1, 2, 3]),
        kept=reading.kept,
        rows=reading.rows,
        starts=np.array([0, 3, 6, 9]),
    )
    assert again.group_of_each().tolist() == [0, 0, 1, 0]
