"""Activations at candidate sites, harvested once for the sparse coder, the contrast and the readout.

A site is read at the token that holds its last code point, at the tokens after it, and at the last token of its
line: the model knows that something is off once it has read the wrong token and what stands behind it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.features.examples import Example
from ace_analysis.source.document import TextSpan

OFFSETS = (0, 1, 2)
"""Tokens behind a site's own token that are read too."""

SINK_FACTOR = 10.0
"""A token whose norm exceeds this many medians of its prompt is an attention sink, not a feature of the code."""


@dataclass(frozen=True, slots=True, eq=False)
class SitePositions:
    """Token positions `[site, slot]` for each candidate site; slots are OFFSETS, then the end of the line."""

    positions: Int[Tensor, "site slot"]
    kept: Int[Tensor, " site"]


def slots() -> tuple[str, ...]:
    """Names of the places that are read for each site."""
    return (*(f"+{offset}" for offset in OFFSETS), "end of line")


def site_positions(
    text: str, spans: Sequence[TextSpan], sites: Sequence[tuple[int, int]], limit: int
) -> SitePositions:
    """Where to read each site.

    Args:
        text: the prompt.
        spans: one span of `text` per token, in order; an empty one for the prefix token.
        sites: (start, end) of each site in `text`.
        limit: tokens that were run; sites behind them are left out of `kept`.
    """
    token_at = _token_at(spans, len(text))
    rows: list[list[int]] = []
    kept: list[int] = []
    last = min(limit, len(spans)) - 1
    for index, (start, end) in enumerate(sites):
        token = token_at[max(start, end - 1)]
        if token < 0 or token > last:
            continue
        line_end = text.find("\n", end)
        end_token = token_at[line_end] if 0 <= line_end < len(text) else len(spans) - 1
        row = [min(token + offset, last) for offset in OFFSETS]
        rows.append([*row, min(max(end_token, token), last)])
        kept.append(index)
    shape = (len(rows), len(OFFSETS) + 1)
    return SitePositions(
        torch.tensor(rows, dtype=torch.long).reshape(shape), torch.tensor(kept, dtype=torch.long)
    )


def _token_at(spans: Sequence[TextSpan], length: int) -> list[int]:
    """For each code point, the last token that covers it (-1 where none does)."""
    table = [-1] * (length + 1)
    for index, span in enumerate(spans):
        for offset in range(span.start, min(span.end, length)):
            table[offset] = index
    return table


def sink_mask(resid: Float[Tensor, "pos d_model"]) -> Tensor:
    """True at tokens that carry a feature of the code: not position 0, not an attention sink.

    Source: activations of this model family have a constant outlier at position 0 and occasional sinks on
    ordinary tokens, 10 to 1000 times the median norm.
    """
    norms = resid.float().norm(dim=-1)
    keep = norms < SINK_FACTOR * norms[1:].median() if len(norms) > 1 else torch.zeros_like(norms).bool()
    keep[0] = False
    return keep


@dataclass(frozen=True, slots=True)
class TokenisedExample:
    """An example's ids and where its sites are read; plain lists, so that it can cross processes."""

    example: Example
    ids: list[int]
    positions: SitePositions


def tokenised(
    example: Example, encode: Callable[[str], tuple[list[int], list[TextSpan]]], limit: int
) -> TokenisedExample:
    """`encode` gives ids and spans, prefix token included."""
    ids, spans = encode(example.prompt)
    sites = [(start, end) for start, end, _ in example.sites]
    return TokenisedExample(example, ids[:limit], site_positions(example.prompt, spans, sites, limit))


def batches_by_length(
    rows: Iterable[TokenisedExample], token_budget: int
) -> Iterator[list[TokenisedExample]]:
    """Group rows of similar length so that padding is small; at most `token_budget` padded tokens a batch."""
    ordered = sorted(rows, key=lambda row: len(row.ids))
    batch: list[TokenisedExample] = []
    for row in ordered:
        if batch and (len(batch) + 1) * len(row.ids) > token_budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(batch: Sequence[TokenisedExample], device: torch.device | str) -> Int[Tensor, "batch pos"]:
    """Right-padded ids. Attention is causal, so what stands behind a prompt does not change it."""
    width = max(len(row.ids) for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    for index, row in enumerate(batch):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
    return ids.to(device)
