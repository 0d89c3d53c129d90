"""What an edit does to the model that it was planned for: a few numbers before and after it.

A vocabulary of 150,000 makes the logits of a text the largest thing beside the model itself, so they are made
for a few positions at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.deltas import RowDelta, with_deltas
from ace_analysis.editing.firing import firing_on
from ace_analysis.errors import Cancelled, ModelError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.disk import Progress

MEASURED_TOKENS = 192
EXAMPLE = Path(__file__).parents[1] / "examples" / "buggy_example.py"

_POSITIONS = 32
"""Positions whose logits are there at once."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Watched:
    """What is told beside the perplexity, on `pieces` of a text.

    tokens: their probability where one of them comes.
    coder, latents: how strongly they fire.
    """

    pieces: tuple[Tensor, ...] = ()
    tokens: tuple[int, ...] = ()
    coder: SparseCoder | None = None
    latents: tuple[int, ...] = ()
    called: str = ""
    """The pieces, for a person."""


def example_ids(causal: CausalModel) -> Int[Tensor, " pos"]:
    """The tokens of the Python file that comes with ACE."""
    return torch.as_tensor(causal.tokenizer.encode(EXAMPLE.read_text(encoding="utf-8")).ids)


def effects_of(
    causal: CausalModel,
    deltas: Sequence[RowDelta],
    watched: Watched,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Numbers before and after, by name, and what they were measured `on`; the model is as before then.

    Raises Cancelled when `cancelled` says so.
    """
    ids = example_ids(causal)[:MEASURED_TOKENS]
    progress("measuring before", 0.4)
    before = _numbers(causal, ids, watched, cancelled)
    progress("measuring after", 0.7)
    with with_deltas(causal.model, deltas):
        after = _numbers(causal, ids, watched, cancelled)
    told: dict[str, Any] = {name: {"before": before[name], "after": after[name]} for name in before}
    return {**told, "on": f"{len(ids)} tokens of {EXAMPLE.name}{watched.called}"}


@torch.no_grad()
def _numbers(
    causal: CausalModel, ids: Tensor, watched: Watched, cancelled: Callable[[], bool]
) -> dict[str, float]:
    _stop_if(cancelled)
    told = {"perplexity": float((-log_probabilities(causal, ids, ids[1:, None])).mean().exp())}
    if watched.tokens and watched.pieces:
        wanted = torch.tensor(watched.tokens, dtype=torch.long)
        chances: list[Tensor] = []
        for piece in watched.pieces:
            _stop_if(cancelled)
            here = torch.isin(piece[1:], wanted)
            chances.append(log_probabilities(causal, piece, wanted.expand(len(piece) - 1, -1), here).exp())
        told["word_probability"] = float(torch.cat(chances).sum(-1).mean())
    elif watched.coder is not None and watched.pieces:
        _stop_if(cancelled)
        fired = firing_on(causal.model, watched.coder, watched.latents, watched.pieces)
        told["latent_activation"] = fired.activation
    return told


@torch.no_grad()
def log_probabilities(
    causal: CausalModel,
    ids: Int[Tensor, " pos"],
    tokens: Int[Tensor, "next token"],
    at: Tensor | None = None,
) -> Float[Tensor, "place token"]:
    """Of tokens, to come behind each token but the last.

    Args:
        tokens: for each of these places, whose log-probability is wanted.
        at: whether a place is wanted, [pos - 1]; None: all are.

    Raises ModelError where the model has no unembedding.
    """
    anatomy = Anatomy.of(causal.model)
    head = anatomy.unembedding
    if head is None:
        raise ModelError("expected a whole model with its unembedding, got one without; use load_causal")
    ran = causal.model.base_model(input_ids=ids[None].to(anatomy.device), use_cache=False)
    hidden = ran.last_hidden_state[0, :-1]
    if at is not None:
        hidden, tokens = hidden[at.to(hidden.device)], tokens[at]
    found: list[Tensor] = []
    for some, wanted in zip(hidden.split(_POSITIONS), tokens.split(_POSITIONS), strict=True):
        logits = (some @ head.weight.T).float()
        if head.bias is not None:
            logits += head.bias
        if (cap := anatomy.logit_cap) is not None:
            logits = cap * (logits / cap).tanh()
        own = logits.gather(1, wanted.to(logits.device))
        found.append((own - logits.logsumexp(1, keepdim=True)).cpu())
    return torch.cat(found)


def _stop_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("the edit was cancelled; nothing was written")
