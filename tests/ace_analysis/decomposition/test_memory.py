"""A batch is as large as fits."""

from pathlib import Path

import pytest
import torch

from ace_analysis.decomposition import memory
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.memory import Footprint, batches, ensure_fits, free_bytes
from ace_analysis.errors import InputError


def test_a_longer_text_takes_more_and_its_pattern_more_than_in_proportion(qwen2: Anatomy) -> None:
    small, large = Footprint.of(qwen2, 100, 4), Footprint.of(qwen2, 200, 4)
    assert large.once > 2 * small.once and large.row > 2 * small.row


def test_as_many_rows_as_fit_beside_the_run() -> None:
    footprint = Footprint(once=100, row=30)
    assert footprint.rows_in(100 + 95, 7) == 3


def test_a_text_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(InputError, match="fits into 2 MB, got 7 tokens, which take 3 MB; use a shorter text"):
        Footprint(once=2_000_000, row=1_000_000).rows_in(2_500_000, 7)


def test_a_text_that_memory_is_too_small_for_is_told_with_what_to_do(
    qwen2: Anatomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_fits(qwen2, 100, 4)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1_000_000)
    with pytest.raises(
        InputError, match=r"too long to be explained here: 100 tokens .* 1 MB may be used; shorten the"
    ):
        ensure_fits(qwen2, 100, 4)


def test_batches_cover_every_row_once() -> None:
    assert [list(batch) for batch in batches(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_share_of_what_is_free_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n", encoding="ascii")
    assert free_bytes(torch.device("cpu")) == 4000 * 1024 // 2


def test_where_the_system_does_not_say_half_of_its_memory_counts_as_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "nothing here")
    assert free_bytes(torch.device("cpu")) > 2**24


def test_the_estimate_is_above_what_a_row_really_takes(qwen2: Anatomy) -> None:
    """Counted are the largest tensors of one block: two parts of the scores and of the MLP's activations."""
    length, d_mlp = 64, qwen2.blocks[0].mlp.up.weight.shape[0]
    counted = 8 * (2 * 2 * 4 * length * length + 2 * 3 * length * d_mlp)
    assert counted < Footprint.of(qwen2, length, 4).row < 4 * counted
