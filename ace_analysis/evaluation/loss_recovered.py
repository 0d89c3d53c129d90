"""Does the model still work when it sees only what the sparse coder kept?

The residual stream behind the coder's block is replaced by its reconstruction, and the loss on the next
tokens is compared with the untouched model's and with that of a stream which says the same at every token
(its mean).

Source: loss recovered, Bricken et al. 2023 (Towards Monosemanticity) and SAEBench (arXiv:2503.09532), which
ablate to zero; the mean is the harder comparison.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.coder_quality import clean_positions
from ace_analysis.features.harvest import Progress, read_shard
from ace_analysis.features.positions import sink_mask
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.devices import chosen_device, chosen_dtype
from ace_analysis.model.hooks import hooks
from ace_analysis.model.quiet import quiet_transformers
from ace_analysis.model.scan import blocks_of, never
from ace_analysis.model.store import resolve_model

Change = Callable[[Float[Tensor, "pos d_model"]], Float[Tensor, "pos d_model"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRecovered:
    """Cross-entropies in nats per token."""

    clean: float
    coded: float
    ablated: float
    functions: int
    tokens: int

    @property
    def recovered(self) -> float:
        """1: nothing is lost; 0: the coder keeps no more than the mean does."""
        lost = self.ablated - self.clean
        return (self.ablated - self.coded) / lost if lost else float("nan")


def load_language_model(name: str, device: str = "auto", dtype: str = "auto") -> Any:
    """All of a model, with its unembedding, by the names that `load_scanner` takes."""
    from transformers import AutoModelForCausalLM

    stored = resolve_model(name)
    on = chosen_device(device)
    with quiet_transformers():
        model: Any = AutoModelForCausalLM.from_pretrained(
            stored.folder, dtype=chosen_dtype(dtype, on), local_files_only=True
        )
    return model.eval().to(on)


def clean_functions(paths: Sequence[Path], count: int) -> list[Tensor]:
    """Token ids of up to `count` clean functions of a harvest's shards, from all shards alike."""
    per_shard = -(-count // max(len(paths), 1))
    found: list[Tensor] = []
    for path in paths:
        shard = read_shard(path)
        positions = clean_positions(shard)
        starts = (positions == 0).nonzero().flatten().tolist()
        for start, end in zip(starts[:per_shard], [*starts[1:], len(positions)][:per_shard], strict=True):
            found.append(shard.ids[start:end][shard.clean[start:end]].long())
    return found[:count]


def loss_recovered(
    model: Any,
    coder: SparseCoder,
    functions: Sequence[Tensor],
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> LossRecovered:
    """Run each function (token ids with the prefix token in front) three times.

    Raises:
        InputError: there is no function to measure on.
        Cancelled: the caller asked to stop.
    """
    if not functions:
        raise InputError("loss recovered needs at least one function, got none; harvest more functions")
    coder = coder.to(next(model.parameters()).device)
    block = _place(model, coder)
    seen: list[Tensor] = []

    def watch(resid: Tensor) -> Tensor:
        seen.append(resid[sink_mask(resid)].double())
        return resid

    run = _Runner(model, block, functions, progress, cancelled)
    clean = run.loss(watch, 0)
    mean = torch.cat(seen).mean(dim=0)
    coded = run.loss(
        lambda resid: _put(resid, sink_mask(resid), coder.decode(coder.encode(resid.float()))), 1
    )
    ablated = run.loss(lambda resid: _put(resid, sink_mask(resid), mean.expand_as(resid)), 2)
    tokens = sum(len(ids) - 1 for ids in functions)
    return LossRecovered(clean=clean, coded=coded, ablated=ablated, functions=len(functions), tokens=tokens)


def _place(model: Any, coder: SparseCoder) -> nn.Module:
    """The module whose output the coder reads: a block, or its MLP."""
    if coder.site.stream == "mlp_out":
        return Anatomy.of(model).blocks[coder.site.layer].mlp.module
    return blocks_of(model)[coder.site.layer]


def _put(resid: Tensor, at: Bool[Tensor, " pos"], other: Tensor) -> Tensor:
    return torch.where(at[:, None], other.to(resid.dtype), resid)


@dataclass(frozen=True, slots=True)
class _Runner:
    """One function after the other, with the stream behind a block changed."""

    model: Any
    block: nn.Module
    functions: Sequence[Tensor]
    progress: Progress | None
    cancelled: Callable[[], bool]

    @torch.no_grad()
    def loss(self, change: Change, which: int) -> float:
        def replace(module: nn.Module, arguments: Any, output: Any) -> Any:
            resid = output[0] if isinstance(output, tuple) else output
            changed = change(resid[0])[None]
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        total, tokens = 0.0, 0
        with hooks(after=[(self.block, replace)]):
            for number, ids in enumerate(self.functions):
                if self.cancelled():
                    raise Cancelled("measuring the loss was stopped by the caller; nothing was kept")
                if self.progress is not None:
                    done = (which + number / len(self.functions)) / 3
                    self.progress("measuring the loss with the sparse coder in place", done)
                ids = ids.to(next(self.model.parameters()).device)
                logits = self.model(input_ids=ids[None], use_cache=False).logits[0]
                total += float(functional.cross_entropy(logits[:-1].float(), ids[1:], reduction="sum"))
                tokens += len(ids) - 1
        return total / max(tokens, 1)
