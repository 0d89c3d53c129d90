"""Rows keep their latents, and shards that are joined keep their rows apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ace_analysis.errors import InputError
from ace_analysis.features.harvest import read_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.table import SiteTable, site_table, token_latents
from ace_analysis.model.sites import Site

D_SAE = 12


@pytest.fixture(scope="module")
def paths(tiny_harvest: Path) -> list[Path]:
    return sorted(tiny_harvest.glob("shard-*.safetensors"))


@pytest.fixture(scope="module")
def coder(paths: list[Path]) -> SparseCoder:
    generator = torch.Generator().manual_seed(0)
    d_model = read_shard(paths[0]).resid.shape[1]
    encoder = torch.randn(d_model, D_SAE, generator=generator)
    zeros = torch.zeros(D_SAE)
    return SparseCoder(encoder, zeros, encoder.T.contiguous(), torch.zeros(d_model), zeros, Site(1))


def test_a_row_has_the_latents_of_the_tokens_that_it_is_read_at(
    paths: list[Path], coder: SparseCoder
) -> None:
    shard = read_shard(paths[0])
    table = site_table(paths[:1], coder)
    expected = coder.encode(shard.resid.float()) * shard.keep[:, None]
    for slot, latents in enumerate(table.latents):
        places = shard.row_slots[:, slot].long()
        np.testing.assert_allclose(latents.toarray(), expected[places].numpy(), rtol=1e-4, atol=1e-5)
    assert table.token.tolist() == shard.ids[shard.row_slots[:, 0].long()].tolist()


def test_masked_tokens_have_no_latents(paths: list[Path], coder: SparseCoder) -> None:
    shard = read_shard(paths[0])
    latents = token_latents(shard, coder).toarray()
    assert not latents[~shard.keep.numpy()].any() and latents[shard.keep.numpy()].any()


def test_joined_shards_say_of_each_row_what_its_own_shard_says(paths: list[Path], coder: SparseCoder) -> None:
    whole, parts = site_table(paths, coder), [site_table([path], coder) for path in paths]
    assert len(whole) == sum(map(len, parts))
    start = 0
    for part in parts:
        rows = slice(start, start + len(part))
        for name in ("label", "kind", "mutation", "token"):
            assert getattr(whole, name)[rows].tolist() == getattr(part, name).tolist()
        assert whole.names[whole.function[rows]].tolist() == part.names[part.function].tolist()
        assert whole.row_projects[rows].tolist() == part.row_projects.tolist()
        origin = np.where(part.origin < 0, -1, part.origin + start)
        assert whole.origin[rows].tolist() == origin.tolist()
        assert (whole.latents[0][rows] != part.latents[0]).nnz == 0
        start += len(part)


def test_joined_shards_share_no_function_text_or_line(paths: list[Path], coder: SparseCoder) -> None:
    whole, first = site_table(paths, coder), len(site_table(paths[:1], coder))
    for name in ("function", "text", "line"):
        column = getattr(whole, name)
        assert not set(column[:first].tolist()) & set(column[first:].tolist())
        assert sorted(set(column.tolist())) == list(range(column.max() + 1))


def test_the_design_has_the_slots_side_by_side(paths: list[Path], coder: SparseCoder) -> None:
    table: SiteTable = site_table(paths[:1], coder)
    rows = np.array([2, 0])
    expected = np.hstack([each.toarray()[rows] for each in table.latents])
    assert np.array_equal(table.design(rows).toarray(), expected)
    assert table.design().shape == (len(table), 4 * D_SAE)


def test_without_shards_it_says_what_to_run(coder: SparseCoder) -> None:
    with pytest.raises(InputError, match="ace train harvest"):
        site_table([], coder)
