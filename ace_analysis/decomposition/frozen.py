"""One forward pass, and everything in it that is frozen: patterns, the norms' scales, the gates' slopes.

With these held where they were, the rest of the network is linear from the embedding on. The forward pass is
written out instead of hooked, so that what is frozen is visible, and so that nothing is computed that no
transposed pass needs; that it is the model's own computation is tested against the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ace_analysis.decomposition.anatomy import Anatomy, Block, FeedForward, Linear, Norm
from ace_analysis.decomposition.patterns import Rope, mixed, pattern_of, rotated, scores_of, split_heads
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.scan import never
from ace_analysis.model.sites import Site

FrozenGate = Literal["gate_frozen", "half"]
FROZEN_GATES: tuple[FrozenGate, ...] = get_args(FrozenGate)


Slopes = tuple[Float[Tensor, "pos d_mlp"], Float[Tensor, "pos d_mlp"] | None]
"""An MLP made linear between its maps, `first * x_up + second * x_gate`; None: 0 throughout."""


@dataclass(frozen=True, slots=True, eq=False)
class FrozenBlock:
    """What one block did. Scales are those of its norms, None for a norm that the family lacks.

    `q` and `k` are rotated. `attention_write` and `mlp_write` are what was added to the residual stream,
    `attention_out` and `mlp_out` the same before a norm behind them. `gate` (None where there is none) and
    `up` are what the MLP's activation and product take.
    """

    resid_pre: Float[Tensor, "pos d_model"]
    attention_scale: Float[Tensor, "pos 1"]
    q: Float[Tensor, "head pos head_dim"]
    k: Float[Tensor, "kv_head pos head_dim"]
    v: Float[Tensor, "kv_head pos head_dim"]
    pattern: Float[Tensor, "head pos pos"]
    z: Float[Tensor, "pos head head_dim"]
    attention_out: Float[Tensor, "pos d_model"]
    after_attention_scale: Float[Tensor, "pos 1"] | None
    attention_write: Float[Tensor, "pos d_model"]
    mlp_scale: Float[Tensor, "pos 1"]
    gate: Float[Tensor, "pos d_mlp"] | None
    up: Float[Tensor, "pos d_mlp"]
    mlp_out: Float[Tensor, "pos d_model"]
    after_mlp_scale: Float[Tensor, "pos 1"] | None
    mlp_write: Float[Tensor, "pos d_model"]

    @property
    def resid_mid(self) -> Float[Tensor, "pos d_model"]:
        """The residual stream between attention and MLP."""
        return self.resid_pre + self.attention_write


@dataclass(frozen=True, slots=True, eq=False)
class FrozenRun:
    """A text's run through the first blocks; `resid` is the residual stream behind the last of them."""

    anatomy: Anatomy
    gate: FrozenGate
    blocks: tuple[FrozenBlock, ...]
    resid: Float[Tensor, "pos d_model"]

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.resid)

    def resid_post(self, layer: int) -> Float[Tensor, "pos d_model"]:
        """The residual stream behind a block."""
        return self.resid if layer == len(self.blocks) - 1 else self.blocks[layer + 1].resid_pre

    def activation(self, site: Site) -> Float[Tensor, "pos width"]:
        """What was computed where a target is read."""
        return self.blocks[site.layer].z[:, site.head] if site.stream == "z" else self.resid_post(site.layer)


@torch.no_grad()
def freeze(
    anatomy: Anatomy,
    ids: Int[Tensor, "*one pos"],
    n_blocks: int,
    *,
    gate: FrozenGate = "gate_frozen",
    cancelled: Callable[[], bool] = never,
) -> FrozenRun:
    """Run a text through the first blocks.

    Args:
        anatomy: the model.
        ids: one text's token ids, `[pos]` or `[1, pos]`.
        n_blocks: how many blocks.
        gate: how a gated MLP is made linear, see `rules.gated`.
        cancelled: asked before each block.

    Raises:
        Cancelled: when `cancelled()` turned true.
        InputError: no text, or more than one, or a rule of that name is not known.
    """
    if gate not in FROZEN_GATES:
        raise InputError(f"expected a frozen gate among {', '.join(FROZEN_GATES)}, got {gate!r}")
    resid = anatomy.embed(one_text(ids)[None])[0]
    rope = anatomy.rope(len(resid))
    blocks: list[FrozenBlock] = []
    for block in anatomy.blocks[:n_blocks]:
        ask(cancelled)
        frozen = _run(block, resid, rope)
        blocks.append(frozen)
        resid = resid + frozen.attention_write + frozen.mlp_write
    return FrozenRun(anatomy, gate, tuple(blocks), resid)


def one_text(ids: Int[Tensor, "*one pos"]) -> Int[Tensor, " pos"]:
    """The ids of the only text.

    Raises:
        InputError: none, more than one, or an empty one.
    """
    if ids.ndim not in (1, 2) or ids.numel() == 0 or (ids.ndim == 2 and len(ids) != 1):
        raise InputError(f"expected the token ids of one text, [pos] or [1, pos], got {list(ids.shape)}")
    return ids.reshape(-1)


def ask(cancelled: Callable[[], bool]) -> None:
    """Raise Cancelled when the caller has cancelled."""
    if cancelled():
        raise Cancelled("the attribution was cancelled by the caller; nothing was kept")


def linear(x: Float[Tensor, "*pos n_in"], part: Linear) -> Float[Tensor, "*pos n_out"]:
    """A part's linear map with its bias, in the dtype of `x`."""
    bias = part.bias
    return functional.linear(x, part.weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def scale_of(x: Float[Tensor, "*pos d_model"], norm: Norm) -> Float[Tensor, "*pos 1"]:
    """What a norm multiplies by: one over the root of the mean square, or over the standard deviation."""
    if norm.centres:
        x = x - x.mean(-1, keepdim=True)
    return (x.square().mean(-1, keepdim=True) + norm.eps).rsqrt()


def normed(
    x: Float[Tensor, "*pos d_model"], norm: Norm, scale: Float[Tensor, "*pos 1"]
) -> Float[Tensor, "*pos d_model"]:
    """A norm with a given scale."""
    if norm.centres:
        x = x - x.mean(-1, keepdim=True)
    y = x * scale * norm.gain.to(x.dtype)
    return y if norm.bias is None else y + norm.bias.to(x.dtype)


def secant(
    x: Float[Tensor, "*pos d_mlp"], activation: Callable[[Tensor], Tensor]
) -> Float[Tensor, "*pos d_mlp"]:
    """`activation(x) / x`, the slope that makes a frozen activation complete; its limit at 0 is 1/2."""
    return torch.where(x == 0, 0.5, activation(x) / x)


def slopes_of(
    mlp: FeedForward,
    gate: Float[Tensor, "pos d_mlp"] | None,
    up: Float[Tensor, "pos d_mlp"],
    rule: FrozenGate,
) -> Slopes:
    """The slopes of a frozen rule (`rules.gated`, `rules.activation`) at one run."""
    if gate is None:
        return secant(up, mlp.activation), None
    if rule == "gate_frozen":
        return mlp.activation(gate), None
    share = 0.5 * secant(gate, mlp.activation)
    return share * gate, share * up


def derivatives_of(
    mlp: FeedForward, gate: Float[Tensor, "pos d_mlp"] | None, up: Float[Tensor, "pos d_mlp"]
) -> Slopes:
    """The derivatives of the same at one run."""
    with torch.enable_grad():
        x = (up if gate is None else gate).detach().requires_grad_()
        y = mlp.activation(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
    return (slope, None) if gate is None else (y.detach(), up * slope)


def _run(block: Block, resid: Tensor, rope: Rope) -> FrozenBlock:
    attention, mlp = block.attn, block.mlp
    attention_scale = scale_of(resid, block.before_attention)
    x = normed(resid, block.before_attention, attention_scale)
    q, k, v = (
        split_heads(linear(x, each), attention.head_dim) for each in (attention.q, attention.k, attention.v)
    )
    q, k = rotated(q, rope), rotated(k, rope)
    pattern = pattern_of(scores_of(q, k, attention), attention)
    z = mixed(pattern, v)
    attention_out = linear(z.flatten(-2), attention.o)
    attention_write, after_attention_scale = _written(attention_out, block.after_attention)
    middle = resid + attention_write
    mlp_scale = scale_of(middle, block.before_mlp)
    x = normed(middle, block.before_mlp, mlp_scale)
    gate, up = None if mlp.gate is None else linear(x, mlp.gate), linear(x, mlp.up)
    hidden = mlp.activation(up) if gate is None else mlp.activation(gate) * up
    mlp_out = linear(hidden, mlp.down)
    mlp_write, after_mlp_scale = _written(mlp_out, block.after_mlp)
    return FrozenBlock(
        resid_pre=resid,
        attention_scale=attention_scale,
        q=q,
        k=k,
        v=v,
        pattern=pattern,
        z=z,
        attention_out=attention_out,
        after_attention_scale=after_attention_scale,
        attention_write=attention_write,
        mlp_scale=mlp_scale,
        gate=gate,
        up=up,
        mlp_out=mlp_out,
        after_mlp_scale=after_mlp_scale,
        mlp_write=mlp_write,
    )


def _written(x: Tensor, norm: Norm | None) -> tuple[Tensor, Tensor | None]:
    """What a part adds to the residual stream, and the scale of the norm behind it."""
    if norm is None:
        return x, None
    scale = scale_of(x, norm)
    return normed(x, norm, scale), scale
