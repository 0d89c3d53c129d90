"""Small changes of weights: what an edit is, apart from why it was made.

An edit of a block changes few rows, or changes many along few directions. Either is a product of two thin
matrices, so it is kept as that: a few hundred kilobytes beside a model of gigabytes, which can be read,
checked, put on and taken off.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.errors import InputError
from ace_analysis.model.edits import add_rows, rows_of

EditedModule = Literal["mlp.down", "mlp.down.bias", "attn.o", "attn.o.bias", "embedding"]
MODULES: tuple[EditedModule, ...] = get_args(EditedModule)
EMBEDDING_LAYER = -1
"""The layer that a change of the embedding names."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowDelta:
    """`W[rows] += left @ right`, with `W` [in, out] as in papers: row i is what neuron i writes.

    Hugging Face's linear maps hold `weight` as [out, in], so row i of `W` is column i of `down_proj.weight`.
    A bias is one row. `rows` None: all rows, in order.
    """

    layer: int
    module: EditedModule
    rows: tuple[int, ...] | None
    left: Float[Tensor, "row rank"]
    right: Float[Tensor, "rank out"]

    def __post_init__(self) -> None:
        if self.module not in MODULES:
            raise InputError(f"expected a module among {', '.join(MODULES)}, got {self.module!r}")
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != self.right.shape[0]:
            raise InputError(
                "expected left [rows, rank] and right [rank, out], "
                f"got {list(self.left.shape)} and {list(self.right.shape)}"
            )
        if self.rows is not None and len(self.rows) != len(self.left):
            raise InputError(f"expected a row of left for each of {len(self.rows)}, got {len(self.left)}")

    @property
    def rank(self) -> int:
        """At most so many directions are written."""
        return self.left.shape[1]

    def dense(self) -> Float[Tensor, "row out"]:
        """The change itself, row by row."""
        return self.left @ self.right


def matrix_of(anatomy: Anatomy, layer: int, module: EditedModule) -> Float[Tensor, "row out"] | None:
    """What a delta changes, as a view [row, out] of the model's own weights; None where there is none.

    Blocks that are not loaded have none, and so has a map without a bias.

    Raises InputError for a layer that the model does not have.
    """
    if module == "embedding":
        return cast(Any, anatomy.embedding).weight
    if not 0 <= layer < anatomy.n_layers:
        raise InputError(f"expected a layer from 0 to {anatomy.n_layers - 1}, got {layer}")
    if layer >= anatomy.n_blocks:
        return None
    block = anatomy.blocks[layer]
    linear = block.mlp.down if module.startswith("mlp.down") else block.attn.o
    if module.endswith(".bias"):
        return None if linear.bias is None else linear.bias[None]
    return linear.weight.T


@torch.no_grad()
def apply_deltas(model: Any, deltas: Sequence[RowDelta]) -> None:
    """Change a model's weights in place; whatever `Anatomy.of` understands is one.

    The sum is made in fp64 and rounded once. Deltas of blocks that are not loaded are left out.

    Raises:
        InputError: a layer, row or width that the model does not have; nothing is changed then.
    """
    anatomy = Anatomy.of(model)
    for matrix, delta in _checked(anatomy, deltas):
        add_rows(matrix, delta.rows, delta.left, delta.right)


@contextmanager
def with_deltas(model: Any, deltas: Sequence[RowDelta]) -> Iterator[None]:
    """The model is changed as long as the block lasts; behind it, its weights are the same to the bit."""
    anatomy = Anatomy.of(model)
    kept = [
        (matrix, rows, matrix[rows].detach().clone())
        for matrix, delta in _checked(anatomy, deltas)
        for rows in [rows_of(matrix, delta.rows)]
    ]
    try:
        apply_deltas(model, deltas)
        yield
    finally:
        for matrix, rows, values in reversed(kept):
            with torch.no_grad():
                matrix[rows] = values


def _checked(anatomy: Anatomy, deltas: Sequence[RowDelta]) -> list[tuple[Tensor, RowDelta]]:
    found = []
    for delta in deltas:
        matrix = matrix_of(anatomy, delta.layer, delta.module)
        if matrix is None and delta.layer >= anatomy.n_blocks:
            continue
        if matrix is None:
            raise InputError(f"{delta.module} of layer {delta.layer}: {anatomy.name} has no such bias")
        rows = delta.rows if delta.rows is not None else (len(delta.left) - 1,)
        fits = max(rows, default=0) < len(matrix) and min(rows, default=0) >= 0
        if not fits or delta.right.shape[1] != matrix.shape[1]:
            raise InputError(
                f"{delta.module} of layer {delta.layer}: expected rows below {len(matrix)} of "
                f"{matrix.shape[1]} numbers, got row {max(rows)} of {delta.right.shape[1]}"
            )
        found.append((matrix, delta))
    return found


def is_tied(model: Any) -> bool:
    """Whether the embedding is the unembedding, too."""
    anatomy = Anatomy.of(model)
    head = anatomy.unembedding
    embedding = cast(Any, anatomy.embedding)
    return head is not None and isinstance(head, nn.Module) and head.weight is embedding.weight
