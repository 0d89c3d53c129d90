"""What is restored is what was saved, and a full disk costs only the new checkpoint."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ace_analysis.errors import StorageError
from ace_analysis.features.checkpoint import restore_checkpoint, save_checkpoint


def trainer(seed: int) -> Any:
    """As much of sae_lens' trainer as a checkpoint is made of."""
    torch.manual_seed(seed)
    sae = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(sae.parameters(), lr=0.1)
    return SimpleNamespace(
        sae=sae,
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=10),
        activation_scaler=SimpleNamespace(scaling_factor=None),
        act_freq_scores=torch.zeros(2),
        n_forward_passes_since_fired=torch.zeros(2),
        n_training_samples=0,
        n_training_steps=0,
        n_frac_active_samples=0,
    )


def train(one: Any, steps: int) -> None:
    for _ in range(steps):
        one.optimizer.zero_grad()
        x = torch.arange(3.0) + one.n_training_steps
        one.sae(x).pow(2).sum().backward()
        one.optimizer.step()
        one.lr_scheduler.step()
        one.n_training_steps += 1
        one.n_training_samples += 4
        one.act_freq_scores += 1


def test_a_restored_trainer_goes_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "new" / "checkpoint.safetensors"
    first, second = trainer(0), trainer(1)
    train(first, 4)
    first.activation_scaler.scaling_factor = 2.5
    save_checkpoint(first, path)
    restore_checkpoint(second, path)
    assert second.activation_scaler.scaling_factor == 2.5
    assert (second.n_training_steps, second.n_training_samples) == (4, 16)
    train(first, 3)
    train(second, 3)
    for one, other in zip(first.sae.parameters(), second.sae.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(first.act_freq_scores, second.act_freq_scores)
    assert second.lr_scheduler.get_last_lr() == pytest.approx(first.lr_scheduler.get_last_lr())


def test_a_full_disk_is_told_and_keeps_the_checkpoint_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    one = trainer(0)
    train(one, 1)
    save_checkpoint(one, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr("ace_analysis.features.checkpoint.save_file", full)
    with pytest.raises(StorageError, match=r"checkpoint can't be written.*No space left"):
        save_checkpoint(one, path)
    assert path.read_bytes() == before
