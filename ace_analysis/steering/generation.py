"""A small decoder: many short continuations of one prompt, and the likelihood of given ones.

`generate()` of the model library reads the prompt again for every call, can't be cancelled between two tokens
and hides where a hook fires. Repair asks for something else: read a prompt once, then branch from its KV cache
into greedy and sampled lines and into hundreds of given candidates.

A prompt is read up to its last token, exclusive. Whatever then runs is the decoding proper: one forward pass
for each new token, the first of which sees the last prompt token. So a steering vector that is applied around
`decode` acts on the positions that choose the new tokens and on nothing else.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError


def never() -> bool:
    """The cancel check of a caller that never cancels."""
    return False


def check_cancelled(cancelled: Callable[[], bool]) -> None:
    """Raises `Cancelled` if the caller has asked to stop."""
    if cancelled():
        raise Cancelled("generation was cancelled by the caller; nothing was kept")


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A prompt, and the KV cache of all of its tokens but the last."""

    ids: tuple[int, ...]
    cache: Any

    def branched(self, rows: int) -> Any:
        """A cache of `rows` copies that can be written to."""
        if self.cache is None:
            return None
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return cache


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How to continue a prompt: one row for each temperature, where 0 is greedy.

    `stop` gets the text so far and says whether the row is done; `stop_ids` end a row and are dropped. Each row
    draws from its own generator (`seed` + its index), so a row does not depend on what else is in the batch.
    `forced` gives, row by row, tokens that the row has to begin with; rows without an entry are free.
    """

    temperatures: tuple[float, ...] = (0.0,)
    top_p: float = 0.95
    max_new_tokens: int = 48
    seed: int = 0
    stop_ids: frozenset[int] = frozenset()
    stop: Callable[[str], bool] | None = None
    forced: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Continuation:
    """New tokens, their text, their log-probability at temperature 1 (nats), and whether a stop was met."""

    ids: tuple[int, ...]
    text: str
    logprob: float
    finished: bool


def device_of(hf: Any) -> torch.device:
    """Where the model's parameters are."""
    return next(hf.parameters()).device


@torch.inference_mode()
def read_prefix(hf: Any, ids: Sequence[int]) -> Prefix:
    """Runs the prompt's tokens but the last, and keeps their KV cache.

    Raises `InputError` for an empty prompt: there would be nothing to continue.
    """
    if not ids:
        raise InputError(
            "a prompt of at least one token was expected, got none; put the prefix token in front"
        )
    if len(ids) == 1:
        return Prefix(tuple(ids), None)
    batch = torch.tensor([ids[:-1]], device=device_of(hf))
    out = hf(input_ids=batch, use_cache=True, logits_to_keep=1)
    return Prefix(tuple(ids), out.past_key_values)


@torch.inference_mode()
def decode(
    hf: Any,
    tokenizer: Any,
    prefix: Prefix,
    options: DecodeOptions,
    cancelled: Callable[[], bool] = never,
) -> tuple[Continuation, ...]:
    """One continuation for each temperature; asks `cancelled` before every token."""
    rows = [_Row(tokenizer, options, index) for index in range(len(options.temperatures))]
    alive, cache = rows, prefix.branched(len(rows))
    step = torch.full((len(rows), 1), prefix.ids[-1], device=device_of(hf))
    for _ in range(options.max_new_tokens):
        check_cancelled(cancelled)
        out = hf(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        logprobs = torch.log_softmax(out.logits[:, -1].float(), dim=-1).cpu()
        tokens = [row.extend(logprobs[index]) for index, row in enumerate(alive)]
        kept = [index for index, row in enumerate(alive) if not row.done]
        if not kept:
            break
        if len(kept) < len(alive):
            cache.batch_select_indices(torch.tensor(kept, device=step.device))
        alive = [alive[index] for index in kept]
        step = torch.tensor([[tokens[index]] for index in kept], device=step.device)
    return tuple(row.result() for row in rows)


class _Row:
    """One row of a batch while it grows."""

    def __init__(self, tokenizer: Any, options: DecodeOptions, index: int) -> None:
        self.tokenizer, self.options = tokenizer, options
        self.temperature = options.temperatures[index]
        self.forced = options.forced[index] if index < len(options.forced) else ()
        self.random = torch.Generator().manual_seed(options.seed + index)
        self.ids: list[int] = []
        self.text, self.logprob, self.done = "", 0.0, False

    def extend(self, logprobs: Float[Tensor, "vocab"]) -> int:
        """Chooses the next token, takes it in and returns it."""
        token = self._choose(logprobs)
        self.logprob += float(logprobs[token])
        if token in self.options.stop_ids:
            self.done = True
            return token
        self.ids.append(token)
        self.text = self.tokenizer.decode(self.ids)
        if len(self.ids) >= len(self.forced) and self.options.stop is not None:
            self.done = self.options.stop(self.text)
        return token

    def _choose(self, logprobs: Float[Tensor, "vocab"]) -> int:
        if len(self.ids) < len(self.forced):
            return self.forced[len(self.ids)]
        if self.temperature <= 0:
            return int(logprobs.argmax())
        probs = torch.softmax(logprobs / self.temperature, dim=-1)
        ordered, order = probs.sort(descending=True)
        kept = ordered.cumsum(0) - ordered < self.options.top_p
        drawn = torch.multinomial(ordered * kept, 1, generator=self.random)
        return int(order[drawn])

    def result(self) -> Continuation:
        return Continuation(tuple(self.ids), self.text, self.logprob, self.done)


def stop_after_line(text: str) -> bool:
    """True once a line with something on it has ended."""
    return "\n" in text.lstrip("\r\n")


def stop_after_block(indent: int) -> Callable[[str], bool]:
    """A stop rule that is met when a line begins at fewer than `indent` columns: the block has ended."""

    def stop(text: str) -> bool:
        lines = text.split("\n")[1:]
        return any(line.strip() and len(line) - len(line.lstrip()) < indent for line in lines)

    return stop
