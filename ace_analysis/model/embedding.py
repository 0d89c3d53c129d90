"""An embedding that is kept in the format that it was stored in.

The embedding of a small model is a third of what a scan holds, and a scan reads a few hundred of its 150,000
rows. Kept as bf16 and widened after the look-up it gives the very numbers that a widened table gives, in half
the memory, and straight from the file.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


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
    rounded = any(each.is_floating_point() and each.dtype != dtype for each in decoder.buffers())
    if type(embedding) is not nn.Embedding or rounded:
        return False
    decoder.set_input_embeddings(StoredEmbedding(embedding.weight.data, dtype))
    for module in decoder.modules():
        if not isinstance(module, StoredEmbedding):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return True
