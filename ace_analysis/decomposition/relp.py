"""Every head, MLP, latent and token at once: the fast way, for an editor's hover.

With patterns, norms and gates frozen the network is linear, so one forward pass and one transposed pass give
what every node contributes to the target. It is the frozen contextual decomposition of `cdt.py`, run for all
sources together: equal to it to floating-point precision, which is its test. The published relative is RelP
(Jafari et al. 2025, arXiv:2508.21258).

Since a text is causal, nothing behind the last position that the target reads is run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import FrozenGate, FrozenRun, freeze, one_text
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import Target
from ace_analysis.decomposition.transposed import pull_back
from ace_analysis.errors import InputError
from ace_analysis.features.positions import sink_mask
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.scan import never
from ace_analysis.model.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePassOptions:
    """How the network is made linear, and what else is scored.

    Attributes:
        gate: how a gated MLP is frozen, see `rules.gated`.
        coder: a sparse coder upstream of the target whose latents are scored too.
    """

    gate: FrozenGate = "gate_frozen"
    coder: SparseCoder | None = None


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
    return scores_in(run, target, coder=options.coder, length=len(ids), cancelled=cancelled)


@torch.no_grad()
def scores_in(
    run: FrozenRun,
    target: Target,
    *,
    coder: SparseCoder | None = None,
    length: int | None = None,
    cancelled: Callable[[], bool] = never,
) -> NodeScores:
    """The scores in a run that is there already, for a second target in the same text.

    `length` is how many tokens the text has; those that were not run get 0.
    """
    bound = bind(run, target)
    heads = run.resid.new_zeros(run.anatomy.n_blocks, run.anatomy.n_heads)
    mlps = run.resid.new_zeros(run.anatomy.n_blocks)
    bias = run.resid.new_zeros((), dtype=torch.float64)
    gradient, latents = run.resid, None
    for pulled in pull_back(run, bound, cancelled=cancelled):
        block, gradient = run.blocks[pulled.layer], pulled.resid_pre
        if pulled.resid_post is not None:
            heads[pulled.layer] = (pulled.z * block.z).sum(dim=(0, 2))
            mlps[pulled.layer] = (pulled.resid_post * block.mlp_write).sum()
            if coder is not None and coder.site.layer == pulled.layer:
                latents = _latents(coder, run.resid_post(pulled.layer), pulled.resid_post)
        bias += pulled.bias
    if coder is not None and latents is None:
        raise InputError(f"expected a sparse coder upstream of {bound.name}, got one of {coder.site}")
    tokens = (gradient * run.blocks[0].resid_pre).sum(dim=1)
    total = value_of(run, bound)
    constants = float(bias) + bound.readout.constant
    return NodeScores(
        heads=heads.cpu(),
        mlps=mlps.cpu(),
        tokens=padded(tokens, length).cpu(),
        bias=constants,
        total=total,
        unexplained=total - float(tokens.double().sum()) - constants,
        unit=bound.unit,
        latents=None if latents is None else padded(latents, length).cpu(),
    )


def bind(run: FrozenRun, target: Target) -> BoundTarget:
    """A target frozen at what a run computed at its site."""
    return target.bind(activation_in(run, target.site(run.anatomy)), run.anatomy)


@torch.no_grad()
def value_of(run: FrozenRun, bound: BoundTarget) -> float:
    """A target's value in the run that it was bound to."""
    return float(bound.readout(activation_in(run, bound.site)))


def activation_in(run: FrozenRun, site: Site) -> Float[Tensor, "pos width"]:
    """What a run computed at a target's site."""
    return run.blocks[site.layer].z[:, site.head] if site.stream == "z" else run.resid_post(site.layer)


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
