"""Training of a sparse coder on a harvest: sae_lens' BatchTopK autoencoder, fed from disk.

Attention sinks and position 0 are left out: their norms are 10 to 1000 times those of ordinary tokens, and
a coder that sees them spends itself on them. Batches mix the tokens of many
functions, since neighbours in one function are alike.

Source: BatchTopK, Bussmann et al. 2024 (arXiv:2412.06410); explained variance and L0 as in SAEBench.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.checkpoint import restore_checkpoint, save_checkpoint
from ace_analysis.features.foreign import coder_of_sae
from ace_analysis.features.harvest import Progress, read_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.scan import never
from ace_analysis.model.sites import Site

CHECKPOINT = "checkpoint.safetensors"
NORM_BATCHES = 20
"""Batches from which the inputs' scale is estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """`tokens` counts those seen, so more than the harvest holds means several passes over it."""

    d_sae: int = 4096
    k: float = 48.0
    tokens: int = 3_000_000
    batch: int = 1024
    learning_rate: float = 5e-4
    mixed_shards: int = 12
    """Shards whose tokens are shuffled together."""
    checkpoint_steps: int = 250
    seed: int = 0


class TokenStream:
    """Endless shuffled batches [batch, d_model] of a harvest's ordinary tokens."""

    def __init__(self, shards: Sequence[Path], options: TrainingOptions) -> None:
        if not shards:
            raise InputError("expected a harvest with at least one shard; run `ace train harvest` first")
        self._shards = list(shards)
        self._options = options
        self._batches = self._endless()

    def __iter__(self) -> Iterator[Float[Tensor, "batch d_model"]]:
        return self

    def __next__(self) -> Float[Tensor, "batch d_model"]:
        return next(self._batches)

    def skip(self, batches: int) -> None:
        """Go on behind this many batches, as if they had been given."""
        for _ in range(batches):
            next(self._batches)

    def _endless(self) -> Iterator[Tensor]:
        epoch = 0
        left_over: Tensor | None = None
        while True:
            order = random.Random(f"{self._options.seed}:{epoch}").sample(self._shards, len(self._shards))
            for at in range(0, len(order), self._options.mixed_shards):
                pool = [_ordinary_tokens(path) for path in order[at : at + self._options.mixed_shards]]
                tokens = torch.cat(pool if left_over is None else [left_over, *pool])
                generator = torch.Generator().manual_seed(epoch * 100_003 + at)
                tokens = tokens[torch.randperm(len(tokens), generator=generator)]
                whole = len(tokens) - len(tokens) % self._options.batch
                yield from (part.float() for part in tokens[:whole].split(self._options.batch))
                left_over = tokens[whole:]
            epoch += 1


def _ordinary_tokens(path: Path) -> Tensor:
    shard = read_shard(path)
    return shard.resid[shard.keep]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedCoder:
    """A coder, and how many tokens it saw."""

    coder: SparseCoder
    tokens: int
    steps: int


def train_sparse_coder(  # noqa: PLR0913 - the device is no part of the options, which are a stored claim
    shards: Sequence[Path],
    layer: int,
    options: TrainingOptions,
    *,
    folder: Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> TrainedCoder:
    """Train on a harvest's shards.

    Args:
        shards: the files to learn from, those of training projects only.
        layer: the block whose `resid_post` the shards hold.
        folder: where checkpoints go; training that was stopped goes on from the last one.
        device: where the steps run; the coder comes back on the CPU. Only the CPU has been tried: on a GPU
            training has not been run, and its numbers will not be the CPU's to the last digit.
        progress: told the step's explained variance and L0.

    Raises:
        Cancelled: the caller asked to stop; the last checkpoint is kept.
    """
    stream = TokenStream(shards, options)
    d_model = read_shard(shards[0]).resid.shape[1]
    trainer = _trainer(stream, d_model, layer, options, device)
    checkpoint = folder / CHECKPOINT if folder else None
    if checkpoint is not None and checkpoint.exists():
        restore_checkpoint(trainer, checkpoint)
        stream.skip(trainer.n_training_steps + NORM_BATCHES)
    if trainer.activation_scaler.scaling_factor is None:
        trainer.activation_scaler.estimate_scaling_factor(
            d_in=d_model, data_provider=stream, n_batches_for_norm_estimate=NORM_BATCHES
        )
    _fit(trainer, options, checkpoint, progress, cancelled)
    trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
    trainer.activation_scaler.scaling_factor = None
    coder = coder_of_sae(trainer.sae, Site(layer=layer))
    return TrainedCoder(coder, trainer.n_training_samples, trainer.n_training_steps)


def _trainer(stream: TokenStream, d_model: int, layer: int, options: TrainingOptions, device: str) -> Any:
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(options.seed)
    steps = options.tokens // options.batch
    sae = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=d_model,
            d_sae=options.d_sae,
            k=options.k,
            topk_threshold_lr=min(0.5, 10.0 / max(1, steps)) if steps < 1000 else 0.01,
            device=device,
            normalize_activations="expected_average_only_in",
            metadata=SAEMetadata(hook_name=Site(layer=layer).hook_name),
        )
    )
    config = SAETrainerConfig(
        total_training_samples=options.tokens,
        train_batch_size_samples=options.batch,
        lr=options.learning_rate,
        lr_end=options.learning_rate / 10,
        lr_warm_up_steps=min(100, steps // 10),
        lr_decay_steps=steps // 5,
        dead_feature_window=max(50, min(400, steps // 8)),
        device=device,
        logger=LoggingConfig(log_to_wandb=False),
    )
    return SAETrainer(config, sae, stream)


def _fit(
    trainer: Any,
    options: TrainingOptions,
    checkpoint: Path | None,
    progress: Progress | None,
    cancelled: Callable[[], bool],
) -> None:
    """sae_lens' own steps, with our progress, cancelling and checkpoints between them."""
    while trainer.n_training_samples + options.batch <= options.tokens:
        if cancelled():
            if checkpoint is not None:
                save_checkpoint(trainer, checkpoint)
            raise Cancelled(f"the training was stopped after {trainer.n_training_samples:,} tokens")
        output = trainer.step(next(trainer.data_provider))
        trainer.n_training_steps += 1
        if progress is not None and trainer.n_training_steps % 10 == 0:
            ev, l0 = _quality_of(output)
            done = trainer.n_training_samples / options.tokens
            progress(f"{trainer.n_training_samples:,} tokens, EV {ev:.3f}, L0 {l0:.0f}", done)
        if checkpoint is not None and trainer.n_training_steps % options.checkpoint_steps == 0:
            save_checkpoint(trainer, checkpoint)


@torch.no_grad()
def _quality_of(output: Any) -> tuple[float, float]:
    """Explained variance and L0 of one training step."""
    target, guess = output.sae_in, output.sae_out
    left = (target - guess).pow(2).sum()
    ev = 1 - left / (target - target.mean(0)).pow(2).sum()
    return float(ev), float((output.feature_acts > 0).sum(-1).float().mean())
