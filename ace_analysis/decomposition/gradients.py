"""What others use: attribution by gradients, to be measured against.

Attribution patching estimates to first order what putting other activations in a node's place does: the
difference of its outputs times the gradient at the clean text. On the edges of a model's graph that is EAP
(Syed et al. 2023, arXiv:2310.10348, eq. 1), and a node's score is the sum of its outgoing edges (edges.py).
Gradients vanish where attention or a gate is saturated, so EAP-IG takes their mean over inputs on the way
from another text to the clean one (Hanna et al. 2024, arXiv:2403.17806, eq. 3; "inputs", m = 5). Signs are
those of an ablation: what the target would lose.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ace_analysis.decomposition.ablator import Ablator
from ace_analysis.decomposition.patching import AblationOptions, prepare
from ace_analysis.decomposition.replay import record, same_length
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import Target
from ace_analysis.errors import InputError
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import never

EAP_IG_STEPS = 5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GradientOptions:
    """Which ablation is estimated, and along which inputs.

    Attributes:
        against: what would stand in a node's place.
        steps: 1 for EAP: the gradient at the clean text. More for EAP-IG: the mean gradient over so many
            inputs on the way from `path`, the last of them the clean one.
        path: the text that the way begins at; None: the counterfactual of `against`.
    """

    against: AblationOptions = field(default_factory=AblationOptions)
    steps: int = 1
    path: Int[Tensor, "..."] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps: expected at least 1, got {self.steps}")
        if self.steps > 1 and self.start is None:
            raise InputError(
                "path: expected the text that the way of EAP-IG begins at, got none;"
                " give one of the same length, or take steps=1"
            )

    @property
    def start(self) -> Int[Tensor, "..."] | None:
        """The text at which the way of EAP-IG begins."""
        return self.path if self.path is not None else self.against.counterfactual


@dataclass(slots=True, eq=False)
class TracedPass:
    """The tensors of one pass that gradients are taken of, and the target's value in it."""

    resid: list[Tensor] = field(default_factory=list)
    middle: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)
    end: Tensor = field(default_factory=lambda: torch.zeros(()))
    value: Tensor = field(default_factory=lambda: torch.zeros(()))

    def gradients(self, of: list[Tensor]) -> list[Tensor]:
        """Of the target's value; 0 where a tensor has no part in it."""
        found = torch.autograd.grad(self.value, of, allow_unused=True, retain_graph=True)
        return [torch.zeros_like(at) if each is None else each for each, at in zip(found, of, strict=True)]


def eap(
    model: Any,
    input_ids: Int[Tensor, "..."],
    target: Target,
    options: GradientOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> NodeScores:
    """EAP's scores of all nodes, or EAP-IG's with more than one step.

    A first-order estimate knows no constants: `bias` is 0, and `unexplained` all that the tokens leave.

    Raises:
        InputError: a counterfactual of another length, a target out of reach.
        ModelError: a family that is not supported, or no unembedding for a logit.
        Cancelled: the caller asked to stop.
    """
    options = options or GradientOptions()
    prepared = prepare_gradients(model, input_ids, target, options, cancelled=cancelled)
    run, put = prepared.run, prepared.replacement
    heads = torch.zeros(run.n_blocks, run.model.anatomy.n_heads, dtype=torch.float64)
    mlps, tokens = (torch.zeros(size, dtype=torch.float64) for size in (run.n_blocks, run.length))
    for traced in traced_passes(prepared, options, cancelled):
        found = traced.gradients([traced.resid[0], *traced.z, *traced.mlp])
        tokens += ((run.resid[0][0] - put.embedding) * found[0][0]).sum(-1).double().cpu()
        at_zs, at_mlps = found[1 : 1 + run.n_blocks], found[1 + run.n_blocks :]
        for layer, (at_z, at_mlp) in enumerate(zip(at_zs, at_mlps, strict=True)):
            lost = run.z[layer] - put.z[layer]
            heads[layer] += (lost * at_z[0].view_as(lost)).sum((0, 2)).double().cpu()
            mlps[layer] += ((run.mlp[layer] - put.mlp[layer]) * at_mlp[0]).sum().double().cpu()
    tokens, total = tokens / options.steps, prepared.clean
    return NodeScores(
        heads=heads / options.steps,
        mlps=mlps / options.steps,
        tokens=tokens,
        bias=0.0,
        total=total,
        unexplained=total - float(tokens.sum()),
        unit=prepared.bound.unit,
    )


def prepare_gradients(
    model: Any,
    input_ids: Int[Tensor, "..."],
    target: Target,
    options: GradientOptions,
    *,
    cancelled: Callable[[], bool] = never,
) -> Ablator:
    """The clean run, the bound target and what would stand in the nodes' place. Raises: as `eap`."""
    if options.start is not None:
        same_length(input_ids.shape[-1], options.start.shape[-1])
    return prepare(model, input_ids, target, options.against, cancelled=cancelled)


def traced_passes(
    prepared: Ablator, options: GradientOptions, cancelled: Callable[[], bool]
) -> Iterator[TracedPass]:
    """Passes whose mean gradient is wanted, the clean one last."""
    run, site = prepared.run, prepared.bound.site
    clean = start = run.resid[0]
    if options.steps > 1 and options.start is not None:
        ids = run.model.checked(options.start)
        start = record(run.model, ids[:, : run.length], 1, cancelled=cancelled).resid[0]
    for step in range(1, options.steps + 1):
        traced = TracedPass()
        hidden = (start + (step / options.steps) * (clean - start)).detach().requires_grad_(True)
        with torch.enable_grad():
            traced.end = run.rerun(hidden, 0, changes=_tracing(prepared, traced), cancelled=cancelled)
            read = traced.end
            if site.head is not None:
                heads = run.model.anatomy.n_heads
                read = traced.z[site.layer].unflatten(-1, (heads, -1))[:, :, site.head]
            traced.value = prepared.bound.measure(read)[0]
        yield traced


def _tracing(prepared: Ablator, traced: TracedPass) -> Any:
    """Hooks that keep what gradients are taken of."""

    def keep(place: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, arguments: place.append(arguments[0])

    def written(module: nn.Module, arguments: tuple[Any, ...], output: Float[Tensor, "..."]) -> None:
        traced.mlp.append(output)

    blocks = prepared.run.model.blocks[: prepared.run.n_blocks]
    places = [
        (module, keep(place))
        for block in blocks
        for module, place in (
            (block.module, traced.resid),
            (block.middle, traced.middle),
            (block.z, traced.z),
        )
    ]
    return hooks(before=places, after=[(block.mlp, written) for block in blocks])
