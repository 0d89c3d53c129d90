"""An activation in two parts: what comes from the sources, and the rest.

`relevant` is the paper's beta, `irrelevant` its gamma (Hsu et al. 2025, arXiv:2407.00886, §3.1). One value
instead of two arguments, so that no rule can change the one and forget the other: their sum is the model's
own activation at every place, which is tested at every place.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """`relevant + irrelevant` is the activation; the first dimension is one row for each set of sources."""

    relevant: Float[Tensor, "source *shape"]
    irrelevant: Float[Tensor, "source *shape"]

    @property
    def total(self) -> Float[Tensor, "source *shape"]:
        """The activation."""
        return self.relevant + self.irrelevant

    def through(self, linear_map: Map) -> "Decomposition":
        """Both parts through a map that is linear, without a constant."""
        return Decomposition(linear_map(self.relevant), linear_map(self.irrelevant))

    def __add__(self, other: "Decomposition") -> "Decomposition":
        return Decomposition(self.relevant + other.relevant, self.irrelevant + other.irrelevant)
