"""A number that is linear in what a model computed at one place, once its nonlinear parts are frozen."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.model.sites import Site

Measure = Callable[[Float[Tensor, "batch pos width"]], Float[Tensor, " batch"]]


@dataclass(frozen=True, slots=True, eq=False)
class LinearReadout:
    """`(weights * activation[positions]).sum() + constant`; the same position may be read more than once."""

    positions: tuple[int, ...]
    weights: Float[Tensor, "read width"]
    constant: float = 0.0

    def __call__(self, activation: Float[Tensor, "*batch pos width"]) -> Float[Tensor, "*batch"]:
        """The value, for one run or for many."""
        return self.part(activation) + self.constant

    def part(self, activation: Float[Tensor, "*batch pos width"]) -> Float[Tensor, "*batch"]:
        """What a part of the activation contributes: the value without the constant."""
        return (self.weights * activation[..., list(self.positions), :]).sum(dim=(-2, -1))

    def gradient(self, length: int) -> Float[Tensor, "pos width"]:
        """The weights at each position of a text of `length` tokens; 0 where nothing is read."""
        full = self.weights.new_zeros(length, self.weights.shape[1])
        at = torch.tensor(self.positions, device=full.device, dtype=torch.long)
        return full.index_add(0, at, self.weights)


@dataclass(frozen=True, slots=True, eq=False)
class BoundTarget:
    """A target with its nonlinear parts frozen at one run.

    Attributes:
        name: what is explained, for people.
        unit: what a contribution of 1 is.
        site: where the activation is read that `readout` and `measure` take.
        readout: the frozen, linear form; exact at the run that it was bound to.
        measure: the real number, of as many runs as there are rows.
        tokens: the token ids that a logit difference compares; empty for other targets.
    """

    name: str
    unit: str
    site: Site
    readout: LinearReadout
    measure: Measure
    tokens: tuple[int, ...] = ()

    def tangent(self, activation: Float[Tensor, "pos width"]) -> Float[Tensor, "pos width"]:
        """The gradient of the real number, its norm and its cap moving along."""
        with torch.enable_grad():
            x = activation.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.measure(x[None])[0], x)
        return gradient
