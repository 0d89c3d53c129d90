"""Names of the parts that are credited or ablated: heads, MLPs, and the tokens of the prompt.

Values, so that they can be compared, stored, sorted and be keys; layers and positions count from 0.
"""

from dataclasses import dataclass

from ace_analysis.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """One attention head: what it adds to the residual stream, at all positions."""

    layer: int
    head: int

    def __post_init__(self) -> None:
        _check("a layer and a head", self.layer, self.head)

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}"


@dataclass(frozen=True, slots=True, order=True)
class Mlp:
    """One block's MLP: what it adds to the residual stream, at all positions."""

    layer: int

    def __post_init__(self) -> None:
        _check("a layer", self.layer)

    def __str__(self) -> str:
        return f"MLP{self.layer}"


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """What the embedding writes at one position."""

    position: int

    def __post_init__(self) -> None:
        _check("a position", self.position)

    def __str__(self) -> str:
        return f"T{self.position}"


Node = Head | Mlp | Token


def _check(expected: str, *numbers: int) -> None:
    if any(number < 0 for number in numbers):
        raise InputError(f"expected {expected} from 0 up, got {', '.join(map(str, numbers))}")
