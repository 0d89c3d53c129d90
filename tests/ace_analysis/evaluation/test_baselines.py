"""That the dense probe finds what is there, and nothing where nothing is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.baselines import DenseProbe, ProbeOptions, fit_dense_probe, random_scores
from ace_analysis.evaluation.statistics import Resampling, site_auroc
from ace_analysis.features.examples import BUG, NEAR_BUG
from ace_analysis.features.harvest import KINDS, Shard, read_shard, write_shard

WIDTH, TOKENS, ROWS = 24, 900, 600


def planted_shard(path: Path, seed: int, strength: float = 1.5, share: float = 0.2) -> Path:
    """Rows that read two tokens; the second token of a wrong one has more of one direction."""
    rng = np.random.default_rng(seed)
    resid = rng.normal(size=(TOKENS, WIDTH)) * np.linspace(1, 30, WIDTH) + 50
    slots = rng.permutation(TOKENS)[: 2 * (TOKENS // 2)].reshape(-1, 2)
    slots = np.concatenate([slots, slots[: ROWS - len(slots)]])
    wrong = rng.random(len(slots)) < share
    wrong[TOKENS // 2 :] = wrong[: ROWS - TOKENS // 2]
    resid[slots[wrong, 1], 7] += strength * np.linspace(1, 30, WIDTH)[7]
    zeros = torch.zeros(ROWS, dtype=torch.int32)
    shard = Shard(
        resid=torch.from_numpy(resid).bfloat16(),
        ids=torch.zeros(TOKENS, dtype=torch.int32),
        keep=torch.ones(TOKENS, dtype=torch.bool),
        clean=torch.ones(TOKENS, dtype=torch.bool),
        row_slots=torch.from_numpy(slots).int(),
        row_kind=torch.from_numpy(rng.integers(len(KINDS), size=ROWS)).int(),
        row_label=torch.from_numpy(np.where(wrong, BUG, NEAR_BUG)).int(),
        row_variant=zeros + 1,
        row_tree=zeros,
        row_origin=zeros - 1,
        row_type=zeros + 1,
        trees=({"project": f"p{seed}", "name": "f", "lines": 3},),
    )
    write_shard(path, shard)
    return path


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [planted_shard(tmp_path / f"shard-{seed:05}.safetensors", seed) for seed in range(5)]


def quality(probe: DenseProbe, paths: list[Path]) -> float:
    wrong = np.concatenate([read_shard(path).row_label.numpy() == BUG for path in paths])
    return site_auroc(probe.scores(paths), wrong, np.zeros(len(wrong)), Resampling(resamples=0)).value


def test_it_finds_a_planted_direction_and_reaches_what_that_direction_reaches(shards: list[Path]) -> None:
    probe = fit_dense_probe(shards[:3], shards[3:4])
    test = read_shard(shards[4])
    planted = test.resid[test.row_slots[:, 1].long(), 7].float().numpy()
    wrong = test.row_label.numpy() == BUG
    ceiling = site_auroc(planted, wrong, np.zeros(len(wrong)), Resampling(resamples=0)).value
    assert ceiling > 0.8 and quality(probe, shards[4:]) > ceiling - 0.05
    # In units of each dimension's spread, the planted one has the largest weight.
    scaled = probe.weights * torch.linspace(1, 30, WIDTH).repeat(2)
    assert int(scaled.abs().argmax()) == WIDTH + 7


def test_where_nothing_is_planted_it_finds_nothing(tmp_path: Path) -> None:
    paths = [planted_shard(tmp_path / f"shard-{s:05}.safetensors", s, strength=0.0) for s in range(4)]
    assert quality(fit_dense_probe(paths[:2], paths[2:3]), paths[3:]) == pytest.approx(0.5, abs=0.1)


def test_a_sample_of_the_rows_is_weighted_up_to_all_of_them(shards: list[Path]) -> None:
    whole = fit_dense_probe(shards[:3], shards[3:4])
    sampled = fit_dense_probe(shards[:3], shards[3:4], ProbeOptions(max_rows=800))
    assert whole.rows == 3 * ROWS and 700 < sampled.rows < 900
    assert quality(sampled, shards[4:]) > quality(whole, shards[4:]) - 0.05
    means = [float(each.scores(shards[4:]).mean()) for each in (whole, sampled)]
    assert means[0] == pytest.approx(means[1], abs=0.6)


def test_the_l2_is_the_one_that_is_best_on_validation_projects(shards: list[Path]) -> None:
    options = ProbeOptions(l2=(100.0, 1e-2))
    assert fit_dense_probe(shards[:3], shards[3:4], options).l2 == 1e-2
    assert fit_dense_probe(shards[:3], [], options).l2 == 100.0


def test_masked_tokens_count_as_zero(shards: list[Path]) -> None:
    probe = fit_dense_probe(shards[:3], shards[3:4])
    shard = read_shard(shards[4])
    shard.keep[:] = False
    masked = shards[4].with_name("shard-00009.safetensors")
    write_shard(masked, shard)
    expected = probe.kind_bias[shard.row_kind.long()].double().numpy()
    np.testing.assert_allclose(probe.scores([masked]), expected)


def test_scores_are_in_the_order_of_the_shards(shards: list[Path]) -> None:
    probe = fit_dense_probe(shards[:2], shards[3:4])
    both = probe.scores(shards[2:4])
    np.testing.assert_array_equal(both, np.concatenate([probe.scores([each]) for each in shards[2:4]]))


def test_random_scores_repeat() -> None:
    np.testing.assert_array_equal(random_scores(5), random_scores(5))
    assert len(set(random_scores(100))) == 100


def test_a_fit_can_be_stopped(shards: list[Path]) -> None:
    with pytest.raises(Cancelled, match="the fit of the dense probe was stopped"):
        fit_dense_probe(shards[:1], [], cancelled=lambda: True)


def test_a_probe_without_bugs_or_without_a_penalty_is_refused(tmp_path: Path, shards: list[Path]) -> None:
    right = planted_shard(tmp_path / "shard-00010.safetensors", 10, share=0.0)
    with pytest.raises(InputError, match="a probe needs planted bugs and other sites, got 0 and 600"):
        fit_dense_probe([right], [])
    with pytest.raises(InputError, match="expected at least one L2"):
        fit_dense_probe(shards[:1], shards[1:2], ProbeOptions(l2=()))
