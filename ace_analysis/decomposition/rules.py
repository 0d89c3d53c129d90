"""Contextual decomposition, rule by rule: how each kind of layer passes the relevant part on.

Written x = b + g: b relevant, g irrelevant. The paper (CD-T: Hsu et al. 2025, arXiv:2407.00886) gives rules
for GPT-2; models since also have RMSNorm, rotary and grouped attention, gates and caps, for which the rule is
the paper's where it carries over and otherwise the one stated. Every rule is complete: the two parts of the
output add up to the layer's output.

    linear     b' = W b + share,  g' = W g + rest of the bias     eqs. 4-5 (shares), or all of the bias to g'
    norm       b' = gain * b * scale(b + g), g' likewise          LayerNorm as in the authors' code; RMSNorm,
                                                                  without mean and bias, is linear
    rotation   b' = R b, g' = R g                                 linear; groups share theirs behind the split
    attention  b' = softmax(b_q b_k) b_v,  g' = total - b'        eqs. 6-15: all interactions to g'
               b' = P b_v, g' = P g_v, P the total's pattern      "frozen": the authors' older BERT path
    cap        of scores: inside the rule above, of b's scores    Gemma 2
               of logits: secant slope, frozen                    logits.py
    activation g' = f(g), b' = f(b + g) - f(g)                    ACD (Singh et al. 2019, arXiv:1806.05337)
    gate       see `gated`
    signs      see `cancel_signs`: the paper's heuristic, off by default

The embedding's scale is linear and applied where the model applies it, in front of everything.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition import frozen, patterns
from ace_analysis.decomposition.anatomy import Attention, Linear, Norm
from ace_analysis.decomposition.decomposition import Decomposition
from ace_analysis.decomposition.frozen import secant

BiasRule = Literal["proportional", "irrelevant"]
AttentionRule = Literal["decomposed", "frozen"]
MlpRule = Literal["gamma_first", "shapley", "gate_frozen", "half"]
BIAS_RULES: tuple[BiasRule, ...] = get_args(BiasRule)
ATTENTION_RULES: tuple[AttentionRule, ...] = get_args(AttentionRule)
MLP_RULES: tuple[MlpRule, ...] = get_args(MlpRule)

Activation = Callable[[Tensor], Tensor]


def linear(x: Decomposition, part: Linear, rule: BiasRule) -> Decomposition:
    """`W b` and `W g`, and the bias by a rule.

    proportional: `b' = W b + bias * |W b| / (|W b| + |W g|)`, elementwise (eqs. 4-5). The irrelevant part
    gets what is left of the bias, so that nothing is lost where both terms vanish; the authors' code adds
    1e-8 to the denominator and loses the bias there.
    irrelevant: all of the bias to g', so that the relevant part is linear in the sources.
    """
    weight = part.weight.to(x.relevant.dtype)
    through = x.through(lambda each: each @ weight.T)
    return through if part.bias is None else _with_bias(through, through, part.bias, rule)


def norm(x: Decomposition, part: Norm, rule: BiasRule) -> Decomposition:
    """RMSNorm or LayerNorm with the scale of the total, which is the model's own, held.

    LayerNorm subtracts from each part its own mean; its bias is shared by the sizes of the inputs, as in the
    authors' code.
    """
    scale = frozen.scale_of(x.total, part)
    gain = part.gain.to(scale.dtype)
    centred = x.through(lambda each: each - each.mean(-1, keepdim=True)) if part.centres else x
    through = centred.through(lambda each: each * scale * gain)
    return through if part.bias is None else _with_bias(through, x, part.bias, rule)


def rotate(
    x: Decomposition, rope: tuple[Float[Tensor, "pos head_dim"], Float[Tensor, "pos head_dim"]]
) -> Decomposition:
    """Queries or keys turned by their positions: linear, so both parts alike."""
    return x.through(lambda each: patterns.rotated(each, rope))


def attention_decomposed(
    q: Decomposition, k: Decomposition, v: Decomposition, attention: Attention
) -> Decomposition:
    """`softmax(mask(b_q b_k)) b_v`; all the rest, interactions included, is irrelevant (eqs. 6-15)."""
    total = patterns.pattern_of(patterns.scores_of(q.total, k.total, attention), attention)
    own = patterns.pattern_of(patterns.scores_of(q.relevant, k.relevant, attention), attention)
    relevant = patterns.mixed(own, v.relevant)
    return Decomposition(relevant, patterns.mixed(total, v.total) - relevant)


def attention_frozen(pattern: Float[Tensor, "head pos pos"], v: Decomposition) -> Decomposition:
    """Each part's values by the model's own pattern: linear, interactions with the scores are left out."""
    return v.through(lambda each: patterns.mixed(pattern, each))


def activation(x: Decomposition, f: Activation, rule: MlpRule) -> Decomposition:
    """An activation without a gate.

    gamma_first: `g' = f(g)`, `b' = f(b + g) - f(g)`, the rule of ACD and of the paper.
    shapley: the mean of that and `b' = f(b)`: each part's value averaged over both orders of coming.
    gate_frozen, half: the secant `f(x) / x` of the total times each part.
    """
    total = f(x.total)
    if rule in ("gate_frozen", "half"):
        slope = secant(x.total, f)
        return x.through(lambda each: slope * each)
    last = total - f(x.irrelevant)
    relevant = last if rule == "gamma_first" else 0.5 * (f(x.relevant) + last)
    return Decomposition(relevant, total - relevant)


def gated(gate: Decomposition, up: Decomposition, f: Activation, rule: MlpRule) -> Decomposition:
    """`f(gate) * up`, which no paper of CD-T treats.

    The first two are quadratic in a part, which has no bound where the parts cancel: see CDTOptions.

    gamma_first: `g' = f(g_gate) g_up`, the value were the sources not there; the rest is relevant.
    shapley: the mean of that rest and of `f(b_gate) b_up`, the value were nothing but the sources there.
    gate_frozen: `f(gate)` of the total times each part of up.
    half: half of that, and half of the total's `secant(gate) * up` times each part of the gate; the half-rule
    and the identity rule of RelP (arXiv:2508.21258).
    """
    if rule == "gate_frozen":
        open_gate = f(gate.total)
        return up.through(lambda each: open_gate * each)
    if rule == "half":
        of_gate = secant(gate.total, f)
        up_slope, gate_slope = 0.5 * of_gate * gate.total, 0.5 * of_gate * up.total
        return up.through(lambda each: up_slope * each) + gate.through(lambda each: gate_slope * each)
    total = f(gate.total) * up.total
    last = total - f(gate.irrelevant) * up.irrelevant
    relevant = last if rule == "gamma_first" else 0.5 * (f(gate.relevant) * up.relevant + last)
    return Decomposition(relevant, total - relevant)


def cancel_signs(x: Decomposition) -> Decomposition:
    """The paper's heuristic "for numerical stability" (App. B.1).

    Where the parts have opposite signs, the larger takes the sum and the other becomes 0. It makes scores
    wrong by about their own size already in a linear network (tested), and is off by default.
    """
    total = x.total
    opposed = x.relevant * x.irrelevant < 0
    relevant_wins = opposed & (x.relevant.abs() >= x.irrelevant.abs())
    irrelevant_wins = opposed & ~relevant_wins
    relevant = torch.where(relevant_wins, total, torch.where(irrelevant_wins, 0.0, x.relevant))
    irrelevant = torch.where(irrelevant_wins, total, torch.where(relevant_wins, 0.0, x.irrelevant))
    return Decomposition(relevant, irrelevant)


def _with_bias(x: Decomposition, sizes: Decomposition, bias: Tensor, rule: BiasRule) -> Decomposition:
    """A bias added to the parts; `sizes` are the terms whose sizes share it out."""
    bias = bias.to(x.relevant.dtype)
    if rule == "irrelevant":
        return Decomposition(x.relevant, x.irrelevant + bias)
    size = sizes.relevant.abs()
    both = size + sizes.irrelevant.abs()
    share = bias * torch.where(both > 0, size / both, 0.0)
    return Decomposition(x.relevant + share, x.irrelevant + (bias - share))
