"""Every head, MLP, latent and token at once: the fast way, for an editor's hover.

With patterns, norms and gates frozen the network is linear, so one forward pass and one transposed pass give
what every node contributes to the target. It is the frozen contextual decomposition of `cdt.py`, run for all
sources together: equal to it to floating-point precision, which is its test. The published relative is RelP
(Jafari et al. 2025, arXiv:2508.21258).

What a frozen network says of a node is right where the node is much of the residual stream, so that scales
and gates are what they are because of it. A node that is little of it moves patterns, norms and gates to
first order only, and for it the plain gradient is right. So both are taken by default ("mixed"). Measured
against exact zero ablation of all 150 heads and MLPs upstream of 40 findings in held-out functions of 16
projects, in the model that ships (mean Pearson with latents held as in the clean run | with latents as they
then fire; `ace bench attribution --how zero`; 95 % intervals are about 0.08 to either side, MLPs' 0.12):

                               all            heads alone    MLPs alone
    mixed                      0.77 | 0.65    0.73 | 0.51    0.77 | 0.73
    frozen, half rule          0.67 | 0.57    0.43 | 0.31    0.72 | 0.70
    frozen, gates frozen       0.75 | 0.67    0.47 | 0.34    0.83 | 0.83
    the plain gradient (EAP)   0.54 | 0.47    0.73 | 0.51    0.42 | 0.40
    EAP-IG                     0.57 | 0.52    0.60 | 0.46    0.53 | 0.54
    each true change, latents held    0.85         | 0.70         | 0.94

Ranks (Spearman, all, as latents fire): mixed 0.55, frozen 0.31 and 0.32, gradient 0.54, EAP-IG 0.48. So half
of what is left is latents that begin or cease to fire, which nothing linear in the target foresees. Other
mixtures of the same passes were tried on half of the findings; none was better in both measures on the rest.

Beside other ablations of the same findings (Pearson, all, as latents fire): by the mean mixed 0.65, gates
frozen 0.71, EAP 0.57, EAP-IG 0.64; by the right code's outputs mixed 0.65, EAP 0.62, EAP-IG 0.79, which goes
from the one text to the other. Of tokens of right code, on the whole model's 360 nodes (five texts of up to
32 tokens, zero; the intervals, 0.2 to either side, overlap): mixed 0.57, EAP 0.50, EAP-IG 0.52; Spearman
0.76, 0.76 and 0.74.

Since a text is causal, nothing behind the last position that the target reads is run.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import FrozenGate, FrozenRun, freeze, one_text
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import Target
from ace_analysis.decomposition.transposed import Pulled, pull_back
from ace_analysis.errors import InputError
from ace_analysis.features.positions import sink_mask
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.scan import never

NodeRule = Literal["mixed", "frozen"]
NODE_RULES: tuple[NodeRule, ...] = get_args(NodeRule)

MUCH = 0.5
"""An MLP is much of the stream if half of the norm behind it is its own, at half of the positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePassOptions:
    """How the network is made linear, and what else is scored.

    Attributes:
        nodes: "frozen": everything by the frozen network; "mixed": heads, latents and MLPs that are little of
            the residual stream by the gradient, for a second transposed pass. Tokens and constants are
            frozen either way, so that they add up to the value.
        gate: how a gated MLP is frozen, see `rules.gated`.
        coder: a sparse coder upstream of the target whose latents are scored too.
    """

    nodes: NodeRule = "mixed"
    gate: FrozenGate = "half"
    coder: SparseCoder | None = None

    def __post_init__(self) -> None:
        if self.nodes not in NODE_RULES:
            raise InputError(f"nodes: expected one of {', '.join(NODE_RULES)}, got {self.nodes!r}")


def one_pass(
    anatomy: Anatomy,
    input_ids: Int[Tensor, "*one pos"],
    target: Target,
    *,
    options: OnePassOptions | None = None,
    cancelled: Callable[[], bool] = never,
) -> NodeScores:
    """What every node contributes to a target.

    Args:
        anatomy: the model.
        input_ids: one text's token ids.
        target: what is explained.
        options: see OnePassOptions.
        cancelled: asked before each block, forwards and backwards.

    Raises:
        Cancelled: when `cancelled()` turned true.
        InputError: a text, position, token or latent that is not there.
        ModelError: the model was loaded without the place where the target is read.
    """
    options = options or OnePassOptions()
    ids = one_text(input_ids)
    site = target.site(anatomy)
    last = target.last_position(len(ids))
    run = freeze(anatomy, ids[: last + 1], site.layer + 1, gate=options.gate, cancelled=cancelled)
    return scores_in(run, target, options=options, length=len(ids), cancelled=cancelled)


@torch.no_grad()
def scores_in(
    run: FrozenRun,
    target: Target,
    *,
    options: OnePassOptions | None = None,
    length: int | None = None,
    cancelled: Callable[[], bool] = never,
) -> NodeScores:
    """The scores in a run that is there already, for a second target in the same text.

    `length` is how many tokens the text has; those that were not run get 0. The run keeps its own gate.
    """
    options, bound = options or OnePassOptions(), bind(run, target)
    found = _scored(run, pull_back(run, bound, cancelled=cancelled), options.coder)
    nodes = found
    if options.nodes == "mixed":
        nodes = _scored(run, pull_back(run, bound, tangent=True, cancelled=cancelled), options.coder)
        for layer, frozen in enumerate(run.blocks):
            if _is_much(frozen.mlp_write, run.resid_post(layer)):
                nodes.mlps[layer] = found.mlps[layer]
    if options.coder is not None and nodes.latents is None:
        raise InputError(f"expected a sparse coder upstream of {bound.name}, got one of {options.coder.site}")
    total, constants = value_of(run, bound), float(found.bias) + bound.readout.constant
    return NodeScores(
        heads=nodes.heads.cpu(),
        mlps=nodes.mlps.cpu(),
        tokens=padded(found.tokens, length).cpu(),
        bias=constants,
        total=total,
        unexplained=total - float(found.tokens.double().sum()) - constants,
        unit=bound.unit,
        latents=None if nodes.latents is None else padded(nodes.latents, length).cpu(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    heads: Float[Tensor, "layer head"]
    mlps: Float[Tensor, " layer"]
    tokens: Float[Tensor, " pos"]
    bias: Float[Tensor, ""]
    latents: Float[Tensor, "pos d_sae"] | None


def _scored(run: FrozenRun, gradients: Iterable[Pulled], coder: SparseCoder | None) -> _Scored:
    """Each node's output times the gradient there."""
    heads = run.resid.new_zeros(run.anatomy.n_blocks, run.anatomy.n_heads)
    mlps = run.resid.new_zeros(run.anatomy.n_blocks)
    bias = run.resid.new_zeros((), dtype=torch.float64)
    gradient, latents = run.resid, None
    for pulled in gradients:
        block, gradient = run.blocks[pulled.layer], pulled.resid_pre
        if pulled.resid_post is not None:
            heads[pulled.layer] = (pulled.z * block.z).sum(dim=(0, 2))
            mlps[pulled.layer] = (pulled.resid_post * block.mlp_write).sum()
            if coder is not None and coder.site.layer == pulled.layer:
                latents = _latents(coder, run.resid_post(pulled.layer), pulled.resid_post)
        bias += pulled.bias
    return _Scored(heads, mlps, (gradient * run.blocks[0].resid_pre).sum(dim=1), bias, latents)


def _is_much(written: Float[Tensor, "pos d_model"], stream: Float[Tensor, "pos d_model"]) -> bool:
    """Whether what a part wrote is much of the stream behind it; the median leaves the few sinks out."""
    return bool((written.norm(dim=-1) / stream.norm(dim=-1)).median() > MUCH)


def bind(run: FrozenRun, target: Target) -> BoundTarget:
    """A target frozen at what a run computed at its site."""
    return target.bind(run.activation(target.site(run.anatomy)), run.anatomy)


@torch.no_grad()
def value_of(run: FrozenRun, bound: BoundTarget) -> float:
    """A target's value in the run that it was bound to."""
    return float(bound.readout(run.activation(bound.site)))


def _latents(
    coder: SparseCoder, resid: Float[Tensor, "pos d_model"], gradient: Float[Tensor, "pos d_model"]
) -> Float[Tensor, "pos d_sae"]:
    """Each latent's activation times what a unit of its direction adds to the target; 0 at sinks."""
    active = coder.encode(resid.to(coder.device)) * sink_mask(resid).to(coder.device)[:, None]
    return (active * (gradient.to(coder.device, coder.dtype) @ coder.W_dec.T)).to(resid)


def padded(values: Float[Tensor, "run *rest"], length: int | None) -> Float[Tensor, "pos *rest"]:
    """Scores by position, with zeros for the positions that were not run."""
    if length is None or length == len(values):
        return values
    return torch.cat((values, values.new_zeros(length - len(values), *values.shape[1:])))
