"""Token after token behind a batch of prompts: the small loop that a steering vector is applied around.

The model library's own `generate` can't be asked to stop between two tokens and decides by itself which
passes it makes, while steering has to know each of them. Here a new token is one pass: one token with the
cache, the whole text without it, and both give the same text, which is tested.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.scan import never
from ace_analysis.steering.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How text is written: greedy at temperature 0; each row draws from a generator of its own.

    A row that met one of `stop_ids` is filled up with it, while the others go on.
    """

    max_new_tokens: int = 32
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop_ids: frozenset[int] = frozenset()
    use_cache: bool = True
    cancelled: Callable[[], bool] = never


@torch.no_grad()
def generate(
    subject: Subject, input_ids: Int[Tensor, "batch pos"], options: GenerationOptions
) -> Int[Tensor, "batch longer"]:
    """The prompts, and what the model writes behind them.

    Raises:
        InputError: no prompt, or one without a token.
        Cancelled: when `options.cancelled()` turns true; it is asked before each token.
    """
    if input_ids.ndim != 2 or 0 in input_ids.shape:
        raise InputError(f"expected prompts [batch, pos] of at least one token, got {list(input_ids.shape)}")
    from transformers import DynamicCache

    ids = input_ids.to(subject.device)
    randoms = [torch.Generator().manual_seed(options.seed + row) for row in range(len(ids))]
    cache: Any = DynamicCache() if options.use_cache else None
    ended: list[int | None] = [None] * len(ids)
    for _ in range(options.max_new_tokens):
        if options.cancelled():
            raise Cancelled("generation was cancelled by the caller; nothing was kept")
        seen = cache.get_seq_length() if cache is not None else 0
        output = subject.plain(
            input_ids=ids[:, seen:], past_key_values=cache, use_cache=options.use_cache, logits_to_keep=1
        )
        logprobs = torch.log_softmax(output.logits[:, -1].float(), dim=-1).cpu()
        tokens = [
            end if end is not None else chosen(row, options.temperature, options.top_p, random)
            for row, end, random in zip(logprobs, ended, randoms, strict=True)
        ]
        ended = [token if token in options.stop_ids else None for token in tokens]
        ids = torch.cat([ids, torch.tensor(tokens, device=ids.device)[:, None]], dim=1)
        if all(end is not None for end in ended):
            break
    return ids.to(input_ids.device)


def chosen(
    logprobs: Float[Tensor, " vocabulary"], temperature: float, top_p: float, random: torch.Generator
) -> int:
    """The likeliest token at temperature 0, else one drawn from the likeliest that hold `top_p` together."""
    if temperature <= 0:
        return int(logprobs.argmax())
    probs = torch.softmax(logprobs / temperature, dim=-1)
    ordered, order = probs.sort(descending=True)
    kept = ordered.cumsum(0) - ordered < top_p
    return int(order[torch.multinomial(ordered * kept, 1, generator=random)])
