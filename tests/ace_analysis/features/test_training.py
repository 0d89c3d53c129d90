"""The coder learns, sees nothing that it should not, and comes out the same after a stop."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features import training
from ace_analysis.features.harvest import Shard, write_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.training import CHECKPOINT, TokenStream, TrainingOptions, train_sparse_coder

D_MODEL, DIRECTIONS, PER_SHARD, SINK = 16, 24, 512, 1000.0
SMALL = TrainingOptions(
    d_sae=32, k=3.0, tokens=64 * 120, batch=64, learning_rate=5e-3, mixed_shards=2, checkpoint_steps=25
)


def structured(tokens: int, seed: int) -> torch.Tensor:
    """Sums of a few directions of many, beside an offset."""
    directions = torch.randn(DIRECTIONS, D_MODEL, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    used = (torch.rand(tokens, DIRECTIONS, generator=generator) < 2 / DIRECTIONS).float()
    return (used * (1 + torch.rand(tokens, DIRECTIONS, generator=generator))) @ directions + 0.5


@pytest.fixture
def shards(tmp_path: Path, shard_of: Callable[[torch.Tensor, torch.Tensor], Shard]) -> list[Path]:
    """Three shards; every eighth token is a sink that is not to be seen."""
    paths = []
    for number in range(3):
        resid = structured(PER_SHARD, number)
        keep = torch.arange(PER_SHARD) % 8 != 0
        resid[~keep] = SINK
        path = tmp_path / f"shard-{number:05}.safetensors"
        write_shard(path, shard_of(resid, keep))
        paths.append(path)
    return paths


def after(steps: int) -> Callable[[], bool]:
    """A cancel check that asks to stop after so many steps."""
    left = iter(range(steps))
    return lambda: next(left, None) is None


def explained(coder: SparseCoder, x: torch.Tensor) -> float:
    left = (x - coder.decode(coder.encode(x))).pow(2).sum()
    return float(1 - left / (x - x.mean(dim=0)).pow(2).sum())


def test_sinks_and_position_0_never_reach_the_stream(shards: list[Path]) -> None:
    seen = torch.cat(list(islice(TokenStream(shards, SMALL), 100)))
    assert float(seen.max()) < SINK / 2


def test_one_pass_gives_every_ordinary_token_once_in_mixed_order(shards: list[Path]) -> None:
    count = 3 * PER_SHARD * 7 // 8
    seen = torch.cat(list(islice(TokenStream(shards, SMALL), count // SMALL.batch)))
    there = torch.cat([structured(PER_SHARD, n)[torch.arange(PER_SHARD) % 8 != 0] for n in range(3)])
    there = there.bfloat16().float()
    assert len(seen) == len(there)
    torch.testing.assert_close(seen.sum(dim=1).sort().values, there.sum(dim=1).sort().values)
    assert not torch.equal(seen, there)


def test_skipping_is_as_if_the_batches_had_been_given(shards: list[Path]) -> None:
    stream, skipped = TokenStream(shards, SMALL), TokenStream(shards, SMALL)
    given = list(islice(stream, 30))
    skipped.skip(29)
    assert torch.equal(next(skipped), given[-1])


def test_explained_variance_rises_and_holds_on_tokens_as_the_model_makes_them(shards: list[Path]) -> None:
    told: list[float] = []

    def hear(message: str, fraction: float | None) -> None:
        told.append(float(message.split("EV ")[1].split(",")[0]))

    done = train_sparse_coder(shards, 1, SMALL, progress=hear)
    assert told[-1] > told[0]
    assert done.tokens == SMALL.tokens and done.coder.site.layer == 1
    assert explained(done.coder, structured(500, 7)) > 0.3


def test_training_that_was_stopped_goes_on_to_the_same_coder(shards: list[Path], tmp_path: Path) -> None:
    whole = train_sparse_coder(shards, 1, SMALL).coder
    folder = tmp_path / "work"
    for steps in (40, 30):
        with pytest.raises(Cancelled, match="stopped after"):
            train_sparse_coder(shards, 1, SMALL, folder=folder, cancelled=after(steps))
        assert (folder / CHECKPOINT).is_file()
    again = train_sparse_coder(shards, 1, SMALL, folder=folder).coder
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
        torch.testing.assert_close(getattr(again, name), getattr(whole, name), rtol=1e-4, atol=1e-5)


def test_the_trainer_stands_on_the_device_that_is_asked_for(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    original = training._trainer

    def seen(*arguments: Any) -> Any:
        made.append(original(*arguments))
        raise Cancelled("seen enough")

    monkeypatch.setattr(training, "_trainer", seen)
    for device in ("cpu", "meta"):
        with pytest.raises(Cancelled):
            train_sparse_coder(shards, 1, SMALL, device=device)
        tensors = [*made[-1].sae.parameters(), made[-1].act_freq_scores]
        assert made[-1].cfg.device == device and {tensor.device.type for tensor in tensors} == {device}


def test_without_a_harvest_it_says_what_to_run() -> None:
    with pytest.raises(InputError, match="ace train harvest"):
        TokenStream([], SMALL)
