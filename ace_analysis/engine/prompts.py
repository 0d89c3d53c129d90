"""From scopes to what the model is run on: pieces of at most so many tokens, in batches of similar length.

A scope that is too long is read in overlapping windows, each with the scope's header in front of it. A site
is read in the first window that holds all tokens that it is read at: that one shows most of what stands
before it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from ace_analysis.features.positions import site_positions
from ace_analysis.features.scoring import SitePrompt
from ace_analysis.model.tokens import TokenizedText
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import CandidateSite

Item = TypeVar("Item")

OVERLAP = 0.25
"""Share of a window that the one before it has shown already."""

LARGEST_HEADER = 0.5
"""A header that takes more of a window than this is left out of all windows but the first."""


@dataclass(frozen=True, slots=True)
class ScopePrompt:
    """A scope as the model reads it. Sites are those that the readout knows, in the prompt's code points."""

    text: str
    header: int
    sites: tuple[CandidateSite, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One row of a batch: a whole prompt or a window of it. `sites` are indices into the prompt's."""

    owner: int
    ids: list[int]
    spans: list[TextSpan]
    sites: list[int]
    prompt: ScopePrompt

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def to_score(self) -> SitePrompt:
        return SitePrompt(self.prompt.text, self.spans, [self.prompt.sites[index] for index in self.sites])


@dataclass(frozen=True, slots=True)
class Reading:
    """How a bundle wants to be read: its slots, and the most tokens that one piece may have."""

    slots: tuple[int | str, ...]
    max_tokens: int


def pieces_of(owner: int, prompt: ScopePrompt, tokens: TokenizedText, reading: Reading) -> list[Piece]:
    """The pieces that together read every site once; none where there is no site."""
    if not prompt.sites:
        return []
    if len(tokens) <= reading.max_tokens:
        return [Piece(owner, tokens.ids, tokens.spans, list(range(len(prompt.sites))), prompt)]
    spans = [site.span for site in prompt.sites]
    rows = site_positions(prompt.text, tokens.spans, spans, reading.slots)
    head = _head_of(prompt, tokens, reading.max_tokens)
    windows = _windows(head, len(tokens), reading.max_tokens)
    chosen: list[list[int]] = [[] for _ in windows]
    for index, row in enumerate(rows.clamp(min=head).tolist()):
        chosen[_window_for(min(row), max(row), windows)].append(index)
    return [
        Piece(owner, _cut(tokens.ids, head, window), _cut(tokens.spans, head, window), sites, prompt)
        for window, sites in zip(windows, chosen, strict=True)
        if sites
    ]


def _head_of(prompt: ScopePrompt, tokens: TokenizedText, max_tokens: int) -> int:
    """How many tokens stand in front of every window: the prefix, and the header where it is short."""
    head = 1
    while head < len(tokens) and tokens.spans[head].end <= prompt.header:
        head += 1
    return head if head <= max_tokens * LARGEST_HEADER else 1


def _windows(head: int, length: int, max_tokens: int) -> list[range]:
    size = max(1, max_tokens - head)
    stride = max(1, size - int(size * OVERLAP))
    starts = [head]
    while starts[-1] + size < length:
        starts.append(starts[-1] + stride)
    return [range(start, min(start + size, length)) for start in starts]


def _window_for(first: int, last: int, windows: Sequence[range]) -> int:
    """The first window with all tokens from `first` to `last`, else the last one that holds `first`."""
    whole = (index for index, window in enumerate(windows) if first in window and last in window)
    part = (index for index in reversed(range(len(windows))) if first in windows[index])
    return next(whole, next(part, 0))


def _cut(items: list[Item], head: int, window: range) -> list[Item]:
    return items[:head] + items[window.start : window.stop]


def batches_of(pieces: Iterable[Piece], token_budget: int) -> Iterator[list[Piece]]:
    """Pieces of similar length together, so that little is padded: `token_budget` tokens a batch at most."""
    batch: list[Piece] = []
    for piece in sorted(pieces, key=len):
        if batch and (len(batch) + 1) * len(piece) > token_budget:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def padded(batch: Sequence[Piece]) -> Int[Tensor, "batch pos"]:
    """Ids, padded on the right. Attention is causal, so what stands behind a text does not change it."""
    width = max(len(piece) for piece in batch)
    return torch.tensor([piece.ids + [0] * (width - len(piece)) for piece in batch], dtype=torch.long)


def tail_before(prompt: ScopePrompt, tokens: TokenizedText, at: int, max_tokens: int) -> TokenizedText:
    """The tokens in front of token `at` that fit into a window: a short header, then the last of them."""
    if at <= max_tokens:
        return TokenizedText(tokens.ids[:at], tokens.spans[:at])
    head = _head_of(prompt, tokens, max_tokens)
    window = range(at - (max_tokens - head), at)
    return TokenizedText(_cut(tokens.ids, head, window), _cut(tokens.spans, head, window))
