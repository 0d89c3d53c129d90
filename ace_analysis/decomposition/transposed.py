"""The frozen network run backwards: what one unit written anywhere would add to the target.

A linear map from everything upstream to one number is one vector, and its transpose is one pass: the gradient
of the target with patterns, norms and gates held (the linear rules of contextual decomposition, Hsu et al.
2025, arXiv:2407.00886, eqs. 4-15 with a frozen pattern; as backward rules they are those of RelP, Jafari et
al. 2025, arXiv:2508.21258: LN-rule, identity rule, half-rule). Written out rather than left to autograd:
fewer matrix products than a forward pass, no graph to hold, a place to ask for a cancel between blocks, and
the constants' share comes with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Block, Linear, Norm
from ace_analysis.decomposition.frozen import FrozenBlock, FrozenRun, ask
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.model.scan import never


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """Gradients of the target at one block; None behind a target that is read inside the block.

    Attributes:
        layer: the block.
        resid_post: at the residual stream behind it, and so at what its MLP and its attention wrote.
        resid_mid: between attention and MLP.
        z: at each head's output before the projection.
        resid_pre: in front of it.
        bias: what the block's constants add to the target.
    """

    layer: int
    resid_post: Float[Tensor, "pos d_model"] | None
    resid_mid: Float[Tensor, "pos d_model"] | None
    z: Float[Tensor, "pos head head_dim"]
    resid_pre: Float[Tensor, "pos d_model"]
    bias: Float[Tensor, ""]


@torch.no_grad()
def pull_back(
    run: FrozenRun, target: BoundTarget, *, cancelled: Callable[[], bool] = never
) -> Iterator[Pulled]:
    """The gradients of each block, from the target's down to the first.

    Raises:
        Cancelled: when `cancelled()` turned true.
    """
    gradient = target.readout.gradient(run.length)
    layer, site = target.site.layer, target.site
    if site.stream == "z":
        z = torch.zeros_like(run.blocks[layer].z)
        z[:, site.head] = gradient
        pulled = _through_pattern(run, layer, z, None, None)
    else:
        pulled = _through_block(run, layer, gradient)
    yield pulled
    for below in reversed(range(layer)):
        ask(cancelled)
        pulled = _through_block(run, below, pulled.resid_pre)
        yield pulled


def _through_block(run: FrozenRun, layer: int, after: Tensor) -> Pulled:
    block, frozen = run.anatomy.blocks[layer], run.blocks[layer]
    rows = _used(after)
    middle, mlp_bias = _through_mlp(block, frozen, after[rows], rows)
    middle = after.index_add(0, rows, middle) if len(rows) < len(after) else after + middle
    written, norm_bias = _through_norm(middle, block.after_attention, frozen.after_attention_scale)
    z, o_bias = _through_linear(written, block.attn.o)
    pulled = _through_pattern(run, layer, z.unflatten(-1, (block.attn.n_heads, -1)), middle, after)
    return Pulled(
        layer, after, middle, pulled.z, pulled.resid_pre, pulled.bias + mlp_bias + norm_bias + o_bias
    )


def _used(gradient: Float[Tensor, "pos d_model"]) -> Tensor:
    """The positions that matter: in the last block, the few that the target reads."""
    return gradient.abs().amax(dim=-1).nonzero().flatten()


def _through_mlp(
    block: Block, frozen: FrozenBlock, after: Float[Tensor, "row d_model"], rows: Tensor
) -> tuple[Float[Tensor, "row d_model"], Float[Tensor, ""]]:
    """From the gradient at some rows of what an MLP writes to that at its input in the residual stream."""
    mlp, slopes, every = block.mlp, frozen.slopes, len(rows) == len(frozen.z)

    def at(values: Tensor) -> Tensor:
        return values if every else values[rows]

    scale = frozen.after_mlp_scale
    written, bias = _through_norm(after, block.after_mlp, None if scale is None else at(scale))
    hidden, down_bias = _through_linear(written, mlp.down)
    inside, up_bias = _through_linear(hidden * at(slopes.up), mlp.up)
    bias = bias + down_bias + up_bias
    if mlp.gate is not None and slopes.gate is not None:
        more, gate_bias = _through_linear(hidden * at(slopes.gate), mlp.gate)
        inside, bias = inside + more, bias + gate_bias
    before, norm_bias = _through_norm(inside, block.before_mlp, at(frozen.mlp_scale))
    return before, bias + norm_bias


def _through_pattern(
    run: FrozenRun,
    layer: int,
    z: Float[Tensor, "pos head head_dim"],
    middle: Float[Tensor, "pos d_model"] | None,
    after: Float[Tensor, "pos d_model"] | None,
) -> Pulled:
    """From the gradient at the heads' outputs to that in front of the block, along the values."""
    block, frozen = run.anatomy.blocks[layer], run.blocks[layer]
    kv_heads = block.attn.n_kv_heads
    grouped = z.transpose(0, 1).unflatten(0, (kv_heads, -1))
    pattern = frozen.pattern.unflatten(0, (kv_heads, -1))
    values = (pattern.transpose(-1, -2) @ grouped).sum(dim=1)
    inside, v_bias = _through_linear(values.transpose(0, 1).flatten(-2), block.attn.v)
    before, norm_bias = _through_norm(inside, block.before_attention, frozen.attention_scale)
    before = before if middle is None else before + middle
    return Pulled(layer, after, middle, z, before, v_bias + norm_bias)


def _through_linear(
    gradient: Float[Tensor, "pos n_out"], part: Linear
) -> tuple[Float[Tensor, "pos n_in"], Float[Tensor, ""]]:
    """The gradient at a linear map's input, and what its bias adds to the target."""
    added = gradient.new_zeros(()) if part.bias is None else (gradient @ part.bias.to(gradient)).sum()
    return gradient @ part.weight.to(gradient), added


def _through_norm(
    gradient: Float[Tensor, "pos d_model"], norm: Norm | None, scale: Float[Tensor, "pos 1"] | None
) -> tuple[Float[Tensor, "pos d_model"], Float[Tensor, ""]]:
    """The gradient at a norm's input with its scale held, and what its bias adds to the target."""
    nothing = gradient.new_zeros(())
    if norm is None or scale is None:
        return gradient, nothing
    added = nothing if norm.bias is None else (gradient @ norm.bias.to(gradient)).sum()
    before = gradient * norm.gain.to(gradient) * scale
    return before - before.mean(-1, keepdim=True) if norm.centres else before, added
