"""What is not quantized computes in the target precision.

A model that was loaded as bf16 and whose target is fp32 is widened where it is not quantized: embedding,
norms and biases. A wider format holds every value of a narrower one, so narrowing again gives the same bits.
"""

from collections.abc import Callable

import torch
from torch import nn

from ace_analysis.errors import ModelError
from ace_analysis.model.embedding import StoredEmbedding


def widen(root: nn.Module, dtype: torch.dtype) -> Callable[[], None]:
    """Give all of a model's parameters a wider dtype; the answer gives them their own one back.

    An embedding that is kept narrower than what it gives stays so: it gives the wider dtype.
    """
    undo: list[Callable[[], None]] = []
    kept: set[int] = set()
    for module in root.modules():
        if isinstance(module, StoredEmbedding):
            undo.append(lambda module=module, own=module.dtype: setattr(module, "dtype", own))
            module.dtype = dtype
            kept.add(id(module.table))
    for parameter in root.parameters():
        own = parameter.dtype
        if own != dtype and own.is_floating_point and id(parameter) not in kept:
            parameter.data = parameter.data.to(dtype)
            undo.append(lambda parameter=parameter, own=own: _set_dtype(parameter, own))

    def narrow() -> None:
        for step in reversed(undo):
            step()

    return narrow


def check_wide_enough(weight: torch.Tensor, target: torch.dtype) -> None:
    """Refuse a target that a model would have to be rounded to."""
    own = weight.dtype
    if torch.promote_types(own, target) != target:
        raise ModelError(
            f"expected a target precision that holds the model's {own}, got {target}: the whole model, and"
            f" not only its background, would be rounded; load the model as {target}, or take {own} as the"
            " target"
        )


def _set_dtype(parameter: nn.Parameter, dtype: torch.dtype) -> None:
    parameter.data = parameter.data.to(dtype)
