"""Attention, step by step: positions turned, scores capped, a window kept, values mixed."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Attention

Rope = tuple[Tensor, Tensor]
"""Cosines and sines, `[pos, head_dim]` each."""


def rotated(
    x: Float[Tensor, "*head pos head_dim"],
    rope: Rope,
) -> Float[Tensor, "*head pos head_dim"]:
    """Queries or keys turned by their positions (RoPE, arXiv:2104.09864, eq. 34; halves as in GPT-NeoX)."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def split_heads(
    x: Float[Tensor, "*batch pos width"], head_dim: int
) -> Float[Tensor, "*batch head pos head_dim"]:
    """Heads in front of positions."""
    return x.unflatten(-1, (-1, head_dim)).transpose(-2, -3)


def visible(length: int, window: int | None, device: torch.device) -> Bool[Tensor, "pos pos"]:
    """True where a token (row) attends to another (column)."""
    all_before = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return all_before if window is None else all_before.triu(1 - window)


def scores_of(
    q: Float[Tensor, "*batch head pos head_dim"],
    k: Float[Tensor, "*batch kv_head pos head_dim"],
    attention: Attention,
) -> Float[Tensor, "*batch head pos pos"]:
    """Scaled and capped scores of each query with each key, before the mask."""
    group = attention.n_heads // attention.n_kv_heads
    grouped = q.unflatten(-3, (attention.n_kv_heads, group))
    scores = (grouped @ k.unsqueeze(-3).transpose(-1, -2)).flatten(-4, -3) * attention.scaling
    cap = attention.soft_cap
    return scores if cap is None else cap * (scores / cap).tanh()


def pattern_of(
    scores: Float[Tensor, "*batch head pos pos"], attention: Attention
) -> Float[Tensor, "*batch head pos pos"]:
    """Each token's weights over those that it attends to."""
    mask = visible(scores.shape[-1], attention.window, scores.device)
    return scores.masked_fill(~mask, float("-inf")).softmax(-1)


def mixed(
    pattern: Float[Tensor, "*batch head pos pos"], v: Float[Tensor, "*vbatch kv_head pos head_dim"]
) -> Float[Tensor, "*out pos head head_dim"]:
    """Values by their weights; heads of a group share theirs."""
    kv_heads = v.shape[-3]
    grouped = pattern.unflatten(-3, (kv_heads, -1))
    return (grouped @ v.unsqueeze(-3)).flatten(-4, -3).transpose(-2, -3)


def turned_back(x: Float[Tensor, "*head pos head_dim"], rope: Rope) -> Float[Tensor, "*head pos head_dim"]:
    """The transpose of `rotated`."""
    cos, sin = rope
    first, second = (x * sin).chunk(2, dim=-1)
    return x * cos + torch.cat((second, -first), dim=-1)


def through_scores(
    pattern: Float[Tensor, "*batch head pos pos"],
    gradient: Float[Tensor, "*batch head pos pos"],
    scores: Float[Tensor, "*batch head pos pos"],
    attention: Attention,
) -> Float[Tensor, "*batch head pos pos"]:
    """From the gradient at a pattern to that at queries times keys: back through softmax, cap and scaling."""
    inner = pattern * (gradient - (pattern * gradient).sum(-1, keepdim=True))
    if attention.soft_cap is not None:
        inner = inner * (1 - (scores / attention.soft_cap).square())
    return inner * attention.scaling
