"""Scores of nodes compared with what an ablation would put in their place.

`one_pass` and CD-T say what a node contributes beside nothing. To estimate an ablation with means or with
another text's outputs, the node counts with the difference of its outputs alone: the one-pass is linear, so
that its gradients are multiplied with that difference, and CD-T keeps what would stand there irrelevant (the
paper's mean over a task's texts, arXiv:2407.00886, §3.2).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ace_analysis.decomposition.ablator import Ablator, Part, upstream_nodes
from ace_analysis.decomposition.cdt import ContextualDecomposition
from ace_analysis.decomposition.frozen import FrozenRun, freeze
from ace_analysis.decomposition.nodes import Head, Node
from ace_analysis.decomposition.relp import MUCH, OnePassOptions, bind
from ace_analysis.decomposition.targets import Target
from ace_analysis.decomposition.transposed import Pulled, pull_back
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.model.scan import never


@torch.no_grad()
def compared_one_pass(
    prepared: Ablator,
    targets: Sequence[Target],
    options: OnePassOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> Float[Tensor, "node target"]:
    """The one-pass's estimate of what each target loses by the ablation of each upstream node.

    Nodes are those upstream of the target that `prepared` is of, in their order; 0 where one is not upstream
    of another target.

    Raises:
        Cancelled: the caller asked to stop.
    """
    options, run = options or OnePassOptions(), prepared.run
    anatomy = run.model.anatomy
    nodes = upstream_nodes(anatomy, prepared.bound.site)
    frozen = freeze(anatomy, run.ids, run.n_blocks, gate=options.gate, cancelled=cancelled)
    columns = []
    for target in targets:
        bound = bind(frozen, target)
        heads, mlps = _scored(prepared, pull_back(frozen, bound, cancelled=cancelled))
        if options.nodes == "mixed":
            held = mlps
            heads, mlps = _scored(prepared, pull_back(frozen, bound, tangent=True, cancelled=cancelled))
            mlps = torch.where(_much(frozen), held, mlps)
        columns.append(in_order(nodes, heads, mlps))
    return torch.stack(columns, dim=1)


def _scored(
    prepared: Ablator, gradients: Iterable[Pulled]
) -> tuple[Float[Tensor, "layer head"], Float[Tensor, " layer"]]:
    """What each node's output loses, times the gradient there."""
    run, put = prepared.run, prepared.replacement
    heads = torch.zeros(run.n_blocks, run.model.anatomy.n_heads, dtype=torch.float64)
    mlps = torch.zeros(run.n_blocks, dtype=torch.float64)
    for pulled in gradients:
        if pulled.resid_post is not None:
            at = pulled.layer
            heads[at] = (pulled.z * (run.z[at] - put.z[at])).sum(dim=(0, 2)).double().cpu()
            mlps[at] = (pulled.resid_post * (run.mlp[at] - put.mlp[at])).sum().double().cpu()
    return heads, mlps


def _much(run: FrozenRun) -> Bool[Tensor, " layer"]:
    """Which MLPs are much of the residual stream, as for `relp.one_pass`."""
    shares = [
        (block.mlp_write.norm(dim=-1) / run.resid_post(layer).norm(dim=-1)).median()
        for layer, block in enumerate(run.blocks)
    ]
    return torch.stack(shares).cpu() > MUCH


def compared_cdt(
    prepared: Ablator,
    targets: Sequence[Target],
    rules: CDTOptions,
    *,
    cancelled: Callable[[], bool] = never,
) -> Float[Tensor, "node target"]:
    """CD-T's estimate of the same, one walk for each node and all targets.

    Raises:
        InputError: a text too long for the memory.
        Cancelled: the caller asked to stop.
    """
    run, put = prepared.run, prepared.replacement
    nodes = upstream_nodes(run.model.anatomy, prepared.bound.site)
    baselines: dict[Node, Tensor] = {}
    for node in nodes:
        stands = put.z[node.layer][:, node.head] if isinstance(node, Head) else put.mlp[node.layer]
        baselines[node] = stands
    found = ContextualDecomposition(run.model.anatomy, replace(rules, baselines=baselines)).decompose(
        run.ids, sources=list(nodes), targets=list(targets), cancelled=cancelled
    )
    return found.relevance.double()


def in_order(
    nodes: Sequence[Part], heads: Float[Tensor, "layer head"], mlps: Float[Tensor, " layer"]
) -> Float[Tensor, " node"]:
    """Scores by layer and head as one list in the nodes' order."""
    found = [heads[node.layer, node.head] if isinstance(node, Head) else mlps[node.layer] for node in nodes]
    return torch.stack(found).double().cpu() if found else torch.zeros(0, dtype=torch.float64)
