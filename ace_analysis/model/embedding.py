"""An embedding that is kept in the format that it was stored in.

The embedding of a small model is a third of what a scan holds, and a scan reads a few hundred of its 150,000
rows. Kept as bf16 and widened after the look-up it gives the very numbers that a widened table gives, in half
the memory, and straight from the file.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

ROOM = 64_000_000
"""Bytes that are widened between two looks at what can be let go of."""


class StoredEmbedding(nn.Module):
    """Looks rows up in a table of one dtype and gives them in a wider one."""

    def __init__(self, table: Float[Tensor, "token d_model"], dtype: torch.dtype) -> None:
        super().__init__()
        self.table = nn.Parameter(table, requires_grad=False)
        self.dtype = dtype

    def forward(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return functional.embedding(ids, self.table).to(self.dtype)


def widen_blocks(decoder: Any, dtype: torch.dtype) -> bool:
    """Give a decoder's weights a wider dtype, all but its embedding.

    False, and nothing done, where that would not be exact: the embedding does more than look up, or constants
    were rounded to the narrow dtype when the decoder was made.
    """
    embedding = decoder.get_input_embeddings()
    if type(embedding) is not nn.Embedding or _has_rounded_constants(decoder, dtype):
        return False
    decoder.set_input_embeddings(StoredEmbedding(embedding.weight.data, dtype))
    for module in decoder.modules():
        if not isinstance(module, StoredEmbedding):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return True


def widen(model: Any, dtype: torch.dtype, let_go: Callable[[], object]) -> bool:
    """Give a model's weights a wider dtype, the largest first; the embedding, too.

    Args:
        let_go: is called now and then, when some of the narrow weights are not needed any more.

    False, and nothing done, where that would not be exact; see `widen_blocks`.
    """
    if _has_rounded_constants(model, dtype):
        return False
    widened = 0
    for parameter in sorted(model.parameters(), key=lambda each: -each.nbytes):
        parameter.data = parameter.data.to(dtype)
        widened += parameter.nbytes
        if widened > ROOM:
            let_go()
            widened = 0
    let_go()
    model.config.dtype = dtype
    return True


def _has_rounded_constants(model: Any, dtype: torch.dtype) -> bool:
    return any(each.is_floating_point() and each.dtype != dtype for each in model.buffers())
