"""Against the same numbers computed slowly, and on coders whose quality is known."""

from pathlib import Path

import pytest
import torch

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.coder_quality import (
    FIRST_POSITION,
    clean_positions,
    coder_quality,
    ordinary_clean,
)
from ace_analysis.features.harvest import read_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site


@pytest.fixture(scope="module")
def paths(tiny_harvest: Path) -> list[Path]:
    return sorted(tiny_harvest.glob("shard-*.safetensors"))


def identity(d_model: int, dead: int = 0) -> SparseCoder:
    """A coder that loses nothing: one latent for each side of each dimension; `dead` more never fire."""
    eye, none = torch.eye(d_model), torch.zeros(d_model, dead)
    encoder = torch.cat([eye, -eye, none], dim=1)
    zeros = torch.zeros(encoder.shape[1])
    return SparseCoder(encoder, zeros, encoder.T.contiguous(), torch.zeros(d_model), zeros, Site(1))


def width(paths: list[Path]) -> int:
    return read_shard(paths[0]).resid.shape[1]


def test_a_coder_that_loses_nothing_explains_everything(paths: list[Path]) -> None:
    quality = coder_quality(paths, identity(width(paths), dead=3))
    assert quality.explained_variance == pytest.approx(1.0, abs=1e-6)
    assert quality.l0 == pytest.approx(width(paths), rel=0.01)
    assert quality.dead >= 3 and (quality.density[-3:] == 0).all()


def test_the_numbers_are_those_of_all_ordinary_tokens_at_once(paths: list[Path]) -> None:
    coder = identity(width(paths))
    weak = SparseCoder(coder.W_enc, coder.b_enc - 0.5, coder.W_dec, coder.b_dec, coder.threshold, Site(1))
    shards = [read_shard(path) for path in paths]
    x = torch.cat([shard.resid[ordinary_clean(shard)] for shard in shards]).double()
    latents = weak.encode(x.float())
    left = (x - weak.decode(latents).double()).pow(2).sum()
    quality = coder_quality(paths, weak)
    expected = float(1 - left / (x - x.mean(dim=0)).pow(2).sum())
    assert quality.explained_variance == pytest.approx(expected, abs=1e-5)
    assert quality.tokens == len(x)
    assert torch.from_numpy(quality.density).allclose((latents > 0).double().mean(dim=0))


def test_positions_count_within_each_clean_function(paths: list[Path]) -> None:
    for path in paths:
        shard = read_shard(path)
        positions = clean_positions(shard)
        assert ((positions == -1) == ~shard.clean).all()
        assert (positions == 0).sum() == len(shard.trees)
        first = int((positions == 0).nonzero()[1]) if len(shard.trees) > 1 else len(positions)
        own = positions[:first][shard.clean[:first]]
        assert own.tolist() == list(range(len(own)))
        assert (positions[ordinary_clean(shard)] >= FIRST_POSITION).all()


def test_nothing_to_measure_on_is_told(paths: list[Path]) -> None:
    with pytest.raises(InputError, match="harvest more functions"):
        coder_quality([], identity(width(paths)))


def test_a_stop_is_heard_between_shards(paths: list[Path]) -> None:
    with pytest.raises(Cancelled, match="sparse coder was stopped"):
        coder_quality(paths, identity(width(paths)), cancelled=lambda: True)
