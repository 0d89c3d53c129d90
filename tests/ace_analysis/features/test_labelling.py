"""A latent is named by the tokens that hold most of its strongest activations."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ace_analysis.errors import Cancelled
from ace_analysis.features.bundle import Bundle, Calibration, ErrorFeature, Readout
from ace_analysis.features.harvest import read_shard
from ace_analysis.features.labelling import STRONGEST, TOKENS, latents_to_name, top_tokens
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.table import token_latents
from ace_analysis.model.sites import Site

D_SAE = 6


@pytest.fixture(scope="module")
def paths(tiny_harvest: Path) -> list[Path]:
    return sorted(tiny_harvest.glob("shard-*.safetensors"))


@pytest.fixture(scope="module")
def coder(paths: list[Path]) -> SparseCoder:
    """The last latent never fires."""
    generator = torch.Generator().manual_seed(0)
    d_model = read_shard(paths[0]).resid.shape[1]
    encoder = torch.randn(d_model, D_SAE, generator=generator)
    threshold = torch.tensor([0.0] * (D_SAE - 1) + [1e9])
    zeros = torch.zeros(D_SAE)
    return SparseCoder(encoder, zeros, encoder.T.contiguous(), torch.zeros(d_model), threshold, Site(1))


@pytest.fixture
def bundle_of_few(coder: SparseCoder) -> Bundle:
    """The readout weighs latent 3, latent 1 is an error feature."""
    weights = torch.zeros(1, D_SAE)
    weights[0, 3] = -0.5
    feature = ErrorFeature(
        feature_idx=1,
        t_statistic=3.0,
        paired_t=3.0,
        q_value=0.0,
        separation=0.1,
        rate_buggy=0.2,
        rate_matched=0.1,
        density=0.01,
    )
    return Bundle(
        folder=Path(),
        model="m",
        fingerprint="f",
        layer=1,
        coder=coder,
        readout=Readout(weights=weights, kind_bias={"name": 0.0}, slots=(0,)),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.02, thresholds={1.0: 0.0}),
        catalog=(feature,),
    )


def by_hand(paths: Sequence[Path], coder: SparseCoder, latent: int) -> list[int]:
    """Token ids by how much of the latent's strongest activations they hold."""
    found: list[tuple[float, int]] = []
    for path in paths:
        shard = read_shard(path)
        values = token_latents(shard, coder).toarray()[:, latent].tolist()
        triples = zip(values, shard.ids.tolist(), shard.clean.tolist(), strict=True)
        found += [(value, token) for value, token, clean in triples if value > 0 and clean]
    mass: dict[int, float] = {}
    for value, token in sorted(found, reverse=True)[:STRONGEST]:
        mass[token] = mass.get(token, 0.0) + value
    return sorted(mass, key=lambda token: -mass[token])[:TOKENS]


def test_tokens_are_those_that_hold_most_of_the_strongest_activations(
    paths: list[Path], coder: SparseCoder
) -> None:
    labels = top_tokens(paths, coder, range(D_SAE), str)
    assert list(labels) == list(range(D_SAE - 1))
    for latent, tokens in labels.items():
        expected = [str(token) for token in by_hand(paths, coder, latent)]
        assert list(tokens) == expected[: len(tokens)] and tokens


def test_the_order_of_shards_makes_no_difference(paths: list[Path], coder: SparseCoder) -> None:
    one, other = (top_tokens(order, coder, [0, 3], str) for order in (paths, paths[::-1]))
    assert one == other


def test_what_an_explanation_can_show_is_named(bundle_of_few: Bundle) -> None:
    assert latents_to_name(bundle_of_few) == [1, 3]


def test_tokens_of_mutants_name_nothing(paths: list[Path], coder: SparseCoder, tmp_path: Path) -> None:
    """A harvest in which the mutants' tokens are others: the labels are the same."""
    content = load_file(paths[0])
    content["ids"][~content["clean"]] = 0
    changed = tmp_path / paths[0].name
    with_metadata(paths[0], changed, content)
    assert top_tokens([changed], coder, [1], str) == top_tokens(paths[:1], coder, [1], str)


def with_metadata(original: Path, path: Path, content: dict[str, torch.Tensor]) -> None:
    with safe_open(original, "pt") as file:
        save_file(content, path, metadata=file.metadata())


def test_tokens_that_are_spelt_alike_stand_there_once(paths: list[Path], coder: SparseCoder) -> None:
    assert top_tokens(paths, coder, [2], lambda token: "x") == {2: ("x",)}


def test_progress_is_told_and_a_stop_is_heard(paths: list[Path], coder: SparseCoder) -> None:
    told: list[str] = []
    top_tokens(paths, coder, [0], str, progress=lambda message, fraction: told.append(message))
    assert told[-1] == f"naming latents: shard {len(paths)} of {len(paths)}"
    with pytest.raises(Cancelled, match="nothing was kept"):
        top_tokens(paths, coder, [0], str, cancelled=lambda: True)
