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
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.anatomy import Block, Linear, Norm
from ace_analysis.decomposition.frozen import (
    FrozenBlock,
    FrozenGate,
    FrozenRun,
    ask,
    derivatives_of,
    slopes_of,
)
from ace_analysis.decomposition.patterns import Rope, scores_of, through_scores, turned_back
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
    run: FrozenRun,
    target: BoundTarget,
    *,
    tangent: bool = False,
    cancelled: Callable[[], bool] = never,
) -> Iterator[Pulled]:
    """The gradients of each block, from the target's down to the first.

    With `tangent`, nothing is frozen: patterns, norms and gates, and the target's own, move along to first
    order, and the result is the gradient as autograd would find it. Its `bias` then means nothing.

    Raises:
        Cancelled: when `cancelled()` turned true.
    """
    site, rope = target.site, run.anatomy.rope(run.length)
    gradient = target.tangent(run.activation(site)) if tangent else target.readout.gradient(run.length)

    def step(layer: int) -> _Step:
        return _Step(run.anatomy.blocks[layer], run.blocks[layer], rope, run.gate, tangent)

    if site.stream == "z":
        z = torch.zeros_like(run.blocks[site.layer].z)
        z[:, site.head] = gradient
        before, bias = step(site.layer).through_attention(z)
        pulled = Pulled(site.layer, None, None, z, before, bias)
    else:
        pulled = step(site.layer).through_block(site.layer, gradient)
    yield pulled
    for below in reversed(range(site.layer)):
        ask(cancelled)
        pulled = step(below).through_block(below, pulled.resid_pre)
        yield pulled


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One block, to be gone through backwards."""

    block: Block
    frozen: FrozenBlock
    rope: Rope
    gate: FrozenGate
    tangent: bool

    def through_block(self, layer: int, after: Float[Tensor, "pos d_model"]) -> Pulled:
        block, frozen = self.block, self.frozen
        rows = _used(after)
        inside, mlp_bias = self._through_mlp(after[rows], rows)
        middle = after.index_add(0, rows, inside) if len(rows) < len(after) else after + inside
        written, norm_bias = self._through_norm(
            middle, block.after_attention, frozen.after_attention_scale, frozen.attention_out
        )
        z, o_bias = _through_linear(written, block.attn.o)
        z = z.unflatten(-1, (block.attn.n_heads, -1))
        before, bias = self.through_attention(z)
        return Pulled(layer, after, middle, z, middle + before, bias + mlp_bias + norm_bias + o_bias)

    def through_attention(
        self, z: Float[Tensor, "pos head head_dim"]
    ) -> tuple[Float[Tensor, "pos d_model"], Float[Tensor, ""]]:
        """From the gradient at the heads' outputs to that in front of the block."""
        attention, frozen = self.block.attn, self.frozen
        grouped = z.transpose(0, 1).unflatten(0, (attention.n_kv_heads, -1))
        pattern = frozen.pattern.unflatten(0, (attention.n_kv_heads, -1))
        values = (pattern.transpose(-1, -2) @ grouped).sum(dim=1)
        inside, bias = _through_linear(values.transpose(0, 1).flatten(-2), attention.v)
        if self.tangent:
            inside = inside + self._through_queries_and_keys(grouped, pattern)
        before, norm_bias = self._through_norm(
            inside, self.block.before_attention, frozen.attention_scale, frozen.resid_pre
        )
        return before, bias + norm_bias

    def _through_queries_and_keys(
        self, z: Float[Tensor, "kv_head group pos head_dim"], pattern: Float[Tensor, "kv_head group pos pos"]
    ) -> Float[Tensor, "pos d_model"]:
        attention, frozen = self.block.attn, self.frozen
        scores = scores_of(frozen.q, frozen.k, attention).unflatten(0, pattern.shape[:2])
        at_pattern = z @ frozen.v.unsqueeze(1).transpose(-1, -2)
        at_scores = through_scores(pattern, at_pattern, scores, attention)
        q = (at_scores @ frozen.k.unsqueeze(1)).flatten(0, 1)
        k = (at_scores.transpose(-1, -2) @ frozen.q.unflatten(0, pattern.shape[:2])).sum(dim=1)
        parts = ((q, attention.q), (k, attention.k))
        return torch.stack(
            [
                _through_linear(turned_back(each, self.rope).transpose(0, 1).flatten(-2), part)[0]
                for each, part in parts
            ]
        ).sum(dim=0)

    def _through_mlp(
        self, after: Float[Tensor, "row d_model"], rows: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row d_model"], Float[Tensor, ""]]:
        """From the gradient at some rows of what an MLP writes to that at what it reads."""
        mlp, frozen, every = self.block.mlp, self.frozen, len(rows) == len(self.frozen.z)

        def at(values: Tensor) -> Tensor:
            return values if every else values[rows]

        scale = frozen.after_mlp_scale
        scale = None if scale is None else at(scale)
        written, bias = self._through_norm(after, self.block.after_mlp, scale, at(frozen.mlp_out))
        hidden, down_bias = _through_linear(written, mlp.down)
        gate, up = None if frozen.gate is None else at(frozen.gate), at(frozen.up)
        by_up, by_gate = (
            derivatives_of(mlp, gate, up) if self.tangent else slopes_of(mlp, gate, up, self.gate)
        )
        inside, up_bias = _through_linear(hidden * by_up, mlp.up)
        bias = bias + down_bias + up_bias
        if mlp.gate is not None and by_gate is not None:
            more, gate_bias = _through_linear(hidden * by_gate, mlp.gate)
            inside, bias = inside + more, bias + gate_bias
        before, norm_bias = self._through_norm(
            inside, self.block.before_mlp, at(frozen.mlp_scale), at(frozen.resid_mid)
        )
        return before, bias + norm_bias

    def _through_norm(
        self,
        gradient: Float[Tensor, "pos d_model"],
        norm: Norm | None,
        scale: Float[Tensor, "pos 1"] | None,
        x: Float[Tensor, "pos d_model"],
    ) -> tuple[Float[Tensor, "pos d_model"], Float[Tensor, ""]]:
        """The gradient at a norm's input `x`, and what its bias adds to the target."""
        nothing = gradient.new_zeros(())
        if norm is None or scale is None:
            return gradient, nothing
        added = nothing if norm.bias is None else (gradient @ norm.bias.to(gradient)).sum()
        before = gradient * norm.gain.to(gradient)
        if self.tangent:
            unit = (x - x.mean(-1, keepdim=True) if norm.centres else x) * scale
            before = before - unit * (before * unit).mean(-1, keepdim=True)
        before = before * scale
        return before - before.mean(-1, keepdim=True) if norm.centres else before, added


def _used(gradient: Float[Tensor, "pos d_model"]) -> Int[Tensor, " row"]:
    """The positions that matter: in the last block, the few that the target reads."""
    return gradient.abs().amax(dim=-1).nonzero().flatten()


def _through_linear(
    gradient: Float[Tensor, "pos n_out"], part: Linear
) -> tuple[Float[Tensor, "pos n_in"], Float[Tensor, ""]]:
    """The gradient at a linear map's input, and what its bias adds to the target."""
    added = gradient.new_zeros(()) if part.bias is None else (gradient @ part.bias.to(gradient)).sum()
    return gradient @ part.weight.to(gradient), added
