"""The slow truth: what a target loses when a part of the model is really taken out.

Every decomposition here approximates this. A head is taken out at the input of its output projection
(`hook_z`), an MLP where it writes to the residual stream, at all positions; the real modules run on from
there, norms, attention patterns and gates as they then come out. Three things can stand in the part's place
(Wang et al. 2022, arXiv:2211.00593, §3; Miller et al. 2024, arXiv:2407.08734, on how much the choice
matters):

    zero              nothing
    mean              its mean output over positions, of this text or of others
    counterfactual    its output in another text, token by token

An effect is clean minus ablated: positive for a part that raises the target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.ablator import Ablator, Batching, Replacement, activation_at, upstream_nodes
from ace_analysis.decomposition.nodes import Node
from ace_analysis.decomposition.replay import RealModel, record, same_length
from ace_analysis.decomposition.targets import BoundTarget, Target
from ace_analysis.errors import InputError
from ace_analysis.model.scan import never

How = Literal["zero", "mean", "counterfactual"]
HOWS: tuple[How, ...] = ("zero", "mean", "counterfactual")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AblationOptions:
    """What stands in a part's place, and how much may run at once.

    Attributes:
        how: see the module.
        counterfactual: token ids as long as the text's; for `how="counterfactual"` only.
        others: texts whose mean outputs stand in a part's place with `how="mean"`; none: the text's own.
        batching: how many ablations run at once.
    """

    how: How = "zero"
    counterfactual: Int[Tensor, "..."] | None = None
    others: tuple[Int[Tensor, "..."], ...] = ()
    batching: Batching = field(default_factory=Batching)

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise InputError(f"how: expected one of {', '.join(HOWS)}, got {self.how!r}")
        if (self.counterfactual is not None) != (self.how == "counterfactual"):
            raise InputError(
                f"counterfactual: expected token ids with how='counterfactual' and only then,"
                f" got how={self.how!r} {'with' if self.counterfactual is not None else 'without'} them"
            )
        if self.others and self.how != "mean":
            raise InputError(f"others: expected texts with how='mean' only, got how={self.how!r}")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ablations:
    """What ablating each of some nodes does to a target.

    Attributes:
        nodes: what was ablated, one by one.
        clean: the target's value.
        values: its value without each node, as the model then computes it.
        linear_values: the same by the target's linear form, frozen at the clean run. They differ where
            latents begin or cease to fire, or by the norm in front of the unembedding.
        unit: what 1 is.
        bound: the target at the clean run.
    """

    nodes: tuple[Node, ...]
    clean: float
    values: Float[Tensor, " node"]
    linear_values: Float[Tensor, " node"]
    unit: str
    bound: BoundTarget

    @property
    def effects(self) -> Float[Tensor, " node"]:
        """Clean minus ablated."""
        return self.clean - self.values

    @property
    def linear_effects(self) -> Float[Tensor, " node"]:
        return self.clean - self.linear_values


def ablate(
    model: Any,
    input_ids: Int[Tensor, "..."],
    nodes: Sequence[Node] | None,
    target: Target,
    options: AblationOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> Ablations:
    """Take out one node at a time and measure the target.

    Args:
        model: from `load_hooked_model` or `load_scanner`, or a Hugging Face causal model.
        input_ids: one text.
        nodes: heads and MLPs; None: all that are upstream of the target.
        target: what is measured.
        options: what stands in a node's place.
        cancelled: asked before each block of each batch.

    Raises:
        InputError: nodes that are not upstream, a counterfactual of another length, a target out of reach.
        ModelError: a family that is not supported, or no unembedding for a logit.
        Cancelled: the caller asked to stop.
    """
    prepared = prepare(model, input_ids, target, options, cancelled=cancelled)
    chosen = upstream_nodes(prepared.run.model.anatomy, prepared.bound.site) if nodes is None else nodes
    values = prepared.values([(node,) for node in chosen], cancelled=cancelled)
    return Ablations(
        nodes=tuple(chosen),
        clean=prepared.clean,
        values=values[0],
        linear_values=values[1],
        unit=prepared.bound.unit,
        bound=prepared.bound,
    )


@torch.no_grad()
def prepare(
    model: Any,
    input_ids: Int[Tensor, "..."],
    target: Target,
    options: AblationOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> Ablator:
    """Run the text, and what stands in its parts' place, once; what is behind the target's reach is cut off.

    Raises: as `ablate`.
    """
    options = options or AblationOptions()
    real = RealModel.of(model)
    ids = real.checked(input_ids)
    site = target.site(real.anatomy)
    end = target.last_position(ids.shape[1]) + 1
    run = record(real, ids[:, :end], site.layer + 1, cancelled=cancelled)
    bound = target.bind(activation_at(run, site), real.anatomy)
    if options.counterfactual is not None:
        other = real.checked(options.counterfactual)
        same_length(ids.shape[1], other.shape[1])
        replacement = Replacement.outputs(record(real, other[:, :end], site.layer + 1, cancelled=cancelled))
    elif options.how == "mean":
        others = [record(real, each, site.layer + 1, cancelled=cancelled) for each in options.others]
        replacement = Replacement.means(run, others)
    else:
        replacement = Replacement.zeros(run)
    return Ablator(run, bound, replacement, options.batching)
