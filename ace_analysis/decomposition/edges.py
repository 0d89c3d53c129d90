"""Which node acts through which: EAP on the edges of the graph, for a circuit's picture.

The score of an edge is what the source's output would lose, times the gradient of the target with respect to
what the receiver reads of the residual stream (Syed et al. 2023, arXiv:2310.10348, eq. 1). A receiver's
gradient is had exactly: the target's gradient at the receiver's own output, sent back through that receiver
alone. So the edges out of a node add up to its score, and that is tested.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.ablator import Ablator, Part, upstream_nodes
from ace_analysis.decomposition.gradients import (
    GradientOptions,
    TracedPass,
    prepare_gradients,
    traced_passes,
)
from ace_analysis.decomposition.nodes import Head, Mlp
from ace_analysis.decomposition.targets import Target
from ace_analysis.errors import Cancelled
from ace_analysis.model.scan import never


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EdgeScores:
    """Signed scores of edges, in the target's unit. On the CPU.

    Attributes:
        nodes: heads and MLPs, by layer: the order of both axes.
        between: from a node (row) to a later one (column); a head reads through query, key and value at once.
        to_target: from each node straight to the target.
        from_tokens: from the embedding at each position to each node.
        tokens_to_target: from the embedding at each position straight to the target.
        unit: what 1 is.
    """

    nodes: tuple[Part, ...]
    between: Float[Tensor, "source receiver"]
    to_target: Float[Tensor, " source"]
    from_tokens: Float[Tensor, "pos receiver"]
    tokens_to_target: Float[Tensor, " pos"]
    unit: str

    @property
    def outgoing(self) -> Float[Tensor, " source"]:
        """A node's score: all its edges together."""
        return self.between.sum(1) + self.to_target


def eap_edges(
    model: Any,
    input_ids: Int[Tensor, "..."],
    target: Target,
    options: GradientOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> EdgeScores:
    """EAP's scores of all edges, or EAP-IG's with more than one step.

    Raises: as `eap`.
    """
    options = options or GradientOptions()
    prepared = prepare_gradients(model, input_ids, target, options, cancelled=cancelled)
    nodes = upstream_nodes(prepared.run.model.anatomy, prepared.bound.site)
    embedding = prepared.run.resid[0][0] - prepared.replacement.embedding
    count, length = len(nodes), prepared.run.length
    head_dim = prepared.run.z[0].shape[-1]
    between, to_target = torch.zeros(count, count).double(), torch.zeros(count).double()
    from_tokens, straight = torch.zeros(length, count).double(), torch.zeros(length).double()
    for traced in traced_passes(prepared, options, cancelled):
        lost = _lost(prepared, traced)
        for column, received in enumerate(_received(traced, nodes, head_dim, cancelled)):
            above = [row for row, source in enumerate(nodes) if _reads(nodes[column], source)]
            between[above, column] += _dot(lost[above], received).sum(-1)
            from_tokens[:, column] += _dot(embedding, received)
        received = _straight(prepared, traced)
        to_target += _dot(lost, received).sum(-1)
        straight += _dot(embedding, received)
    return EdgeScores(
        nodes=nodes,
        between=between / options.steps,
        to_target=to_target / options.steps,
        from_tokens=from_tokens / options.steps,
        tokens_to_target=straight / options.steps,
        unit=prepared.bound.unit,
    )


@torch.no_grad()
def _lost(prepared: Ablator, traced: TracedPass) -> Float[Tensor, "node pos d_model"]:
    """What each node's place in the residual stream would lose; through Gemma 2's norms to first order."""
    run, put, site = prepared.run, prepared.replacement, prepared.bound.site
    parts = [run.resid[0][:0]]
    for layer in range(site.layer if site.stream == "z" else site.layer + 1):
        block, weight = run.model.blocks[layer], run.model.anatomy.blocks[layer].attn.o.weight
        by_head = weight.to(run.resid[0]).unflatten(1, run.z[layer].shape[1:])
        heads = torch.einsum("phk,dhk->hpd", run.z[layer] - put.z[layer], by_head)
        if block.attention is not block.z:
            written = traced.z[layer][0] @ weight.to(run.resid[0]).T
            heads = torch.stack([_through(block.attention, written, each) for each in heads])
        parts += [heads, (run.mlp[layer] - put.mlp[layer])[None]]
    return torch.cat(parts)


def _through(norm: Any, at: Tensor, change: Tensor) -> Tensor:
    """A norm's derivative along a change."""
    return torch.func.jvp(norm, (at[None],), (change[None],))[1][0]


def _received(
    traced: TracedPass, nodes: tuple[Part, ...], head_dim: int, cancelled: Callable[[], bool]
) -> Iterator[Float[Tensor, "pos d_model"]]:
    """For each node, the target's gradient with respect to what it reads of the residual stream."""
    count = len(traced.z)
    found = traced.gradients([*traced.z, *traced.mlp])
    for node in nodes:
        if cancelled():
            raise Cancelled("the scores of edges were cancelled by the caller; nothing was kept")
        layer = node.layer
        if isinstance(node, Mlp):
            yield _sent_back(traced.mlp[layer], found[count + layer], traced.middle[layer])
            continue
        through = torch.zeros_like(found[layer])
        at = slice(node.head * head_dim, (node.head + 1) * head_dim)
        through[..., at] = found[layer][..., at]
        yield _sent_back(traced.z[layer], through, traced.resid[layer])


def _sent_back(output: Tensor, gradient: Tensor, read: Tensor) -> Float[Tensor, "pos d_model"]:
    return torch.autograd.grad(output, read, gradient, retain_graph=True)[0][0]


def _straight(prepared: Ablator, traced: TracedPass) -> Float[Tensor, "pos d_model"]:
    """The target's gradient with respect to the residual stream that it, or the head that it is, reads."""
    site = prepared.bound.site
    read = traced.end if site.head is None else traced.resid[site.layer]
    return traced.gradients([read])[0][0]


def _reads(receiver: Part, source: Part) -> bool:
    """Whether a node comes behind another: an MLP also reads the heads of its own block."""
    return source.layer < receiver.layer or (
        source.layer == receiver.layer and isinstance(receiver, Mlp) and isinstance(source, Head)
    )


def _dot(lost: Tensor, received: Float[Tensor, "pos d_model"]) -> Tensor:
    return (lost * received).sum(-1).double().cpu()
