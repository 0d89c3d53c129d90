"""A linear map that is kept narrow and multiplied wide, a part of it exact.

It is the model's own nn.Linear with another class, as torch's parametrizations do it: whoever holds the
module (a hook, TransformerLens' wrapper, an anatomy) goes on holding the right one. `weight` widens anew at
each use, so that between uses only the narrow values are in memory; a backward pass widens again for the same
reason, instead of keeping every layer's wide matrix until it comes by.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ace_analysis.errors import InputError
from ace_analysis.quantization.formats import Packed, unpack


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """Rows (or columns) of a matrix in full precision."""

    rows: slice
    columns: slice
    weight: Float[Tensor, "rows columns"]


class FocusedLinear(nn.Linear):
    """`x @ weight.T + bias` with a weight that is kept as `values`, and `scale` where the format has one."""

    values: Tensor
    scale: Tensor | None
    _dtype: torch.dtype
    _exact: Exact | None
    _changes: int

    @property
    def weight(self) -> Float[Tensor, "out in"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The matrix in the dtype that is computed in: what was kept, with the focused part exact.

        A new tensor at each use (unless nothing was rounded): writing into it changes nothing.
        """
        weight = unpack(Packed(self.values, self.scale), self._dtype)
        exact = self._exact
        if exact is not None:
            weight = weight.clone() if weight.data_ptr() == self.values.data_ptr() else weight
            weight[exact.rows, exact.columns] = exact.weight
        return weight

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() and input.requires_grad:
            return cast(Tensor, _Multiplied.apply(input, self.bias, self))
        return functional.linear(input, self.weight, self.bias)

    def focus(self, exact: Exact | None) -> None:
        """Make a part of the matrix exact, or with None nothing of it."""
        self._exact = exact
        self._changes += 1


class _Multiplied(torch.autograd.Function):
    """The map, keeping the module instead of its wide matrix for the way back."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, bias: Tensor | None, module: FocusedLinear) -> Tensor:
        ctx.module, ctx.changes = module, module._changes
        return functional.linear(input, module.weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        module = ctx.module
        if not isinstance(module, FocusedLinear) or module._changes != ctx.changes:
            raise InputError(
                "expected the backward pass before the focus changed, got it after; run both inside one"
                " focus_on_head block, or both outside"
            )
        bias = grad.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        return grad @ module.weight, bias, None


def make_focused(linear: nn.Linear, packed: Packed, dtype: torch.dtype) -> None:
    """Turn a linear map, in place, into one that keeps `packed` and computes in `dtype`."""
    del linear._parameters["weight"]
    linear.__class__ = FocusedLinear
    focused = cast(FocusedLinear, linear)
    focused.register_buffer("values", packed.values)
    focused.register_buffer("scale", packed.scale)
    focused._dtype, focused._exact, focused._changes = dtype, None, 0


def make_plain(linear: nn.Linear, weight: nn.Parameter) -> None:
    """Turn it back, in place, into a plain linear map with this weight."""
    for name in ("values", "scale"):
        linear._buffers.pop(name, None)
    for name in ("_dtype", "_exact", "_changes"):
        linear.__dict__.pop(name, None)
    linear.__class__ = nn.Linear
    # First of the parameters, as in a new one: a state dictionary keeps its order.
    linear._parameters = {"weight": weight, **linear._parameters}
