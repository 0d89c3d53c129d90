"""A direction added to the residual stream while a model runs, and only where it is meant.

What is added is asked for anew at every pass: rows of one batch, or branches of one tree, can be steered with
different strengths, and a gate can leave tokens alone (Lee et al., CAST, arXiv:2409.05907, §3: steer on a
condition). Where nothing is to be added the stream is handed on as it is, so a strength of 0 is bit-identical
to no steering.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ace_analysis.model.hooks import hooks

Change = Callable[[Tensor, int], Tensor | None]
"""A block's output [batch, pos, d_model] and how many tokens come before, to a new output; None: as it is."""

GateCheck = Callable[[Tensor], Tensor]
"""The stream [batch, pos, d_model] at the gate's layer to where to steer: bool [batch, pos]."""


def pushed(
    resid: Float[Tensor, "batch pos d_model"],
    direction: Float[Tensor, " d_model"],
    strengths: Float[Tensor, "#batch #pos"],
    *,
    normalize: bool,
) -> Float[Tensor, "batch pos d_model"] | None:
    """The stream with `strength * direction` added to each token; None where all strengths are 0.

    With `normalize` each token keeps the length that it had: the stream is turned and never outgrown.
    """
    if not bool(strengths.any()):
        return None
    factor = strengths.to(resid.device, resid.dtype)[..., None]
    moved = resid + factor * direction.to(resid.device, resid.dtype)
    if normalize:
        lengths = resid.norm(dim=-1, keepdim=True)
        moved = moved * (lengths / moved.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(resid.dtype).tiny))
    return torch.where(factor != 0, moved, resid)


@contextmanager
def stream_changed(blocks: nn.ModuleList, layer: int, change: Change) -> Iterator[None]:
    """Change what block `layer` hands on, at every pass, as long as this context lasts."""
    block = blocks[layer]
    before = 0

    def count(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        nonlocal before
        cache = keywords.get("past_key_values")
        before = 0 if cache is None else cache.get_seq_length(layer)

    def replace(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        resid = output[0] if isinstance(output, tuple) else output
        changed = change(resid, before)
        if changed is None:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with hooks(before_call=[(block, count)], after=[(block, replace)]):
        yield


@contextmanager
def gate_watched(
    block: nn.Module, check: GateCheck
) -> Iterator[Callable[[], Bool[Tensor, "batch pos"] | None]]:
    """Gives where the gate was open in the latest pass; the gate's block runs before what asks for it."""
    latest: Tensor | None = None

    def look(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        nonlocal latest
        latest = check(output[0] if isinstance(output, tuple) else output)

    with hooks(after=[(block, look)]):
        yield lambda: latest
