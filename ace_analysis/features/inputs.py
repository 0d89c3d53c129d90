"""Texts or token ids as a user gives them, and which tokens of a right and a wrong input to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ace_analysis.errors import InputError
from ace_analysis.model.tokens import CodeTokenizer, TokenizedText

Inputs = str | Tensor | Sequence[str] | Sequence[Tensor] | Sequence[Sequence[int]]

SHARED = 0.5
"""Two inputs are a pair if they share at least this much of the longer one."""


def tokenized_inputs(inputs: Inputs, tokenizer: CodeTokenizer | None) -> list[TokenizedText]:
    """One row of tokens per input; rows of ids have no spans.

    Args:
        inputs: a text or texts; or ids, `[batch, pos]` or `[pos]` or a list of rows, without padding and with
            the prefix token that the model expects first.
        tokenizer: needed for texts.
    """
    rows: Any = [inputs] if isinstance(inputs, str) else inputs
    if isinstance(rows, Tensor):
        rows = rows.unsqueeze(0) if rows.ndim == 1 else rows
    if len(rows) and all(isinstance(row, str) for row in rows):
        if tokenizer is None:
            raise InputError("texts need a model from load_hooked_model; pass token ids for another model")
        return tokenizer.encode_many(rows)
    return [TokenizedText(_ids(row, index), []) for index, row in enumerate(rows)]


def _ids(row: Any, index: int) -> list[int]:
    try:
        ids = torch.as_tensor(row)
    except (TypeError, ValueError, RuntimeError):
        ids = torch.zeros(0)
    if ids.ndim != 1 or not len(ids) or ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(
            f"expected texts or rows of token ids, got {type(row).__name__} {row!r:.40} as input {index}"
        )
    return ids.tolist()


@dataclass(frozen=True, slots=True)
class ChangedTokens:
    """The positions at which a right and a wrong input differ."""

    right: list[int]
    wrong: list[int]


def changed_tokens(right: Sequence[int], wrong: Sequence[int]) -> ChangedTokens:
    """Where two rows differ; of unequal lengths, what lies between their common beginning and end.

    Where tokens are only missing, the token that follows stands for them.
    """
    if len(right) == len(wrong):
        both = [at for at, (a, b) in enumerate(zip(right, wrong, strict=True)) if a != b]
        return ChangedTokens(both, both)
    start = _common(right, wrong)
    end = min(_common(right[::-1], wrong[::-1]), min(len(right), len(wrong)) - start)
    spans = [list(range(start, len(row) - end)) or [min(start, len(row) - 1)] for row in (right, wrong)]
    return ChangedTokens(*spans)


def pairs_of(
    right: Sequence[TokenizedText], wrong: Sequence[TokenizedText], paired: bool | None
) -> list[ChangedTokens] | None:
    """The changed tokens of each pair, or None where the inputs are not pairs.

    Args:
        right: right inputs.
        wrong: wrong inputs; the i-th is compared with the i-th right one.
        paired: whether they are pairs; None: if there are as many of both, and all share enough.
    """
    if len(right) != len(wrong):
        if paired:
            raise InputError(f"pairs need as many right as wrong inputs, got {len(right)} and {len(wrong)}")
        return None
    if paired is False:
        return None
    changes = [changed_tokens(a.ids, b.ids) for a, b in zip(right, wrong, strict=True)]
    alike = (
        len(change.right) <= (1 - SHARED) * len(a) and len(change.wrong) <= (1 - SHARED) * len(b)
        for change, a, b in zip(changes, right, wrong, strict=True)
    )
    if not paired and not all(alike):
        return None
    same = [index for index, change in enumerate(changes) if not change.wrong]
    if same:
        raise InputError(
            f"a right and a wrong input of a pair have to differ, those at {same[0]} don't: leave them out"
        )
    return changes


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two rows begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
