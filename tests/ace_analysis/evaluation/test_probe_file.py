"""A probe from a file scores as the probe that was fitted; one that doesn't fit is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ace_analysis.errors import BundleError, StorageError
from ace_analysis.evaluation import probe_file
from ace_analysis.evaluation.baselines import DenseProbe, ProbeOptions, fit_dense_probe
from ace_analysis.evaluation.held_out import Harvested
from ace_analysis.evaluation.probe_file import keep_probe, probe_bytes, read_probe


@pytest.fixture(scope="module")
def probe(harvested: Harvested) -> DenseProbe:
    return fit_dense_probe(harvested.shards, (), ProbeOptions(iterations=5))


def test_a_kept_probe_scores_as_before(probe: DenseProbe, harvested: Harvested, tmp_path: Path) -> None:
    path = tmp_path / "new" / "probe.safetensors"
    keep_probe(path, probe)
    again = read_probe(path, len(probe.weights))
    assert torch.equal(again.weights, probe.weights) and torch.equal(again.kind_bias, probe.kind_bias)
    np.testing.assert_allclose(again.scores(harvested.shards), probe.scores(harvested.shards), rtol=1e-5)
    assert (again.l2, again.rows) == (probe.l2, probe.rows)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


Spoil = Callable[[Path, DenseProbe, pytest.MonkeyPatch], None]


def cut(path: Path, probe: DenseProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(probe_bytes(probe)[:-10])


def other_kinds(path: Path, probe: DenseProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_probe(path, probe)
    monkeypatch.setattr(probe_file, "KINDS", probe_file.KINDS[::-1])


def other_width(path: Path, probe: DenseProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_probe(path, replace(probe, weights=probe.weights[:-1]))


@pytest.mark.parametrize("spoil", [cut, other_kinds, other_width])
def test_a_probe_that_does_not_fit_is_refused(
    spoil: Spoil, probe: DenseProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "probe.safetensors"
    spoil(path, probe, monkeypatch)
    with pytest.raises(BundleError, match=r"expected a dense probe of \d+ weights.*ace train bundle"):
        read_probe(path, len(probe.weights))


def test_a_missing_probe_and_one_of_no_numbers_are_refused(probe: DenseProbe, tmp_path: Path) -> None:
    path = tmp_path / "probe.safetensors"
    with pytest.raises(BundleError, match="expected a dense probe"):
        read_probe(path, len(probe.weights))
    keep_probe(path, replace(probe, weights=torch.full_like(probe.weights, torch.nan)))
    with pytest.raises(BundleError, match="expected finite weights"):
        read_probe(path, len(probe.weights))


def test_a_disk_that_can_t_be_written_is_told(probe: DenseProbe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="the dense probe can't be written"):
        keep_probe(tmp_path / "file" / "probe.safetensors", probe)
