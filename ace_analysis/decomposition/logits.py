"""From the last residual stream to logits: as the model does it, and frozen so that it is linear."""

import math

from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy, Linear, Norm
from ace_analysis.errors import ModelError


def output_of(anatomy: Anatomy) -> tuple[Norm, Linear]:
    """The last norm and the unembedding.

    Raises:
        ModelError: the model was loaded without them, or without some of its blocks.
    """
    if anatomy.final_norm is None or anatomy.unembedding is None or anatomy.n_blocks < anatomy.n_layers:
        raise ModelError(
            f"expected a model with its unembedding to explain a logit, got {anatomy.n_blocks} of "
            f"{anatomy.n_layers} blocks of {anatomy.name} without one; load it with load_hooked_model"
        )
    return anatomy.final_norm, anatomy.unembedding


def logits_of(anatomy: Anatomy, x: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch vocabulary"]:
    """The model's own logits."""
    norm, unembedding = output_of(anatomy)
    centred = x - x.mean(-1, keepdim=True) if norm.centres else x
    scale = (centred.square().mean(-1, keepdim=True) + norm.eps).rsqrt()
    normed = centred * scale * norm.gain.to(x)
    if norm.bias is not None:
        normed = normed + norm.bias.to(x)
    logits = normed.to(unembedding.weight.dtype) @ unembedding.weight.T
    logits = logits.to(x) if unembedding.bias is None else (logits + unembedding.bias).to(x)
    return logits if anatomy.logit_cap is None else anatomy.logit_cap * (logits / anatomy.logit_cap).tanh()


def frozen_logit(
    anatomy: Anatomy, x: Float[Tensor, " d_model"], token: int
) -> tuple[Float[Tensor, " d_model"], float]:
    """Weights and constant with which a logit is linear in `x`: the norm's scale and the cap's slope frozen.

    The cap is taken as its secant, `cap * tanh(y / cap) / y`, so that the value is complete.
    """
    norm, unembedding = output_of(anatomy)
    direction = unembedding.weight[token].to(x)
    centred = x - x.mean() if norm.centres else x
    weights = direction * norm.gain.to(x) * (centred.square().mean() + norm.eps).rsqrt()
    if norm.centres:
        weights = weights - weights.mean()
    constant = 0.0 if norm.bias is None else float(direction @ norm.bias.to(x))
    constant += 0.0 if unembedding.bias is None else float(unembedding.bias[token])
    if anatomy.logit_cap is None:
        return weights, constant
    y, cap = float(weights @ x) + constant, anatomy.logit_cap
    slope = cap * math.tanh(y / cap) / y if y else 1.0
    return weights * slope, constant * slope
