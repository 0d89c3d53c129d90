"""Where a candidate site is read: at its own token, at the tokens behind it, and at the end of its line.

The model knows that something is off once it has read the wrong token and what stands behind it. Used alike
in training and in a scan, because a readout is only as good as the match between the two.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ace_analysis.source.document import TextSpan

LINE_END = "line_end"
DEFAULT_SLOTS: tuple[int | str, ...] = (0, 1, 2, LINE_END)
"""Offsets in tokens behind the token with the site's last code point, and the last token of its line."""

SINK_FACTOR = 10.0
"""A token whose norm exceeds this many medians of its prompt is an attention sink, not a feature of code."""


def site_positions(
    text: str,
    spans: Sequence[TextSpan],
    sites: Sequence[TextSpan],
    slots: Sequence[int | str] = DEFAULT_SLOTS,
) -> Int[Tensor, "site slot"]:
    """Token positions at which each site is read; all -1 for a site behind the last token.

    Args:
        text: the prompt.
        spans: one span of `text` per token that was run, in order; an empty one for the prefix token.
        sites: the places in `text`.
        slots: which tokens to read, see DEFAULT_SLOTS; an offset behind the last token means the last token.
    """
    token_at = _token_at(spans, len(text))
    last = len(spans) - 1
    rows = torch.full((len(sites), len(slots)), -1, dtype=torch.long)
    for index, site in enumerate(sites):
        token = token_at[max(site.start, site.end - 1)]
        if token < 0:
            continue
        line_end = text.find("\n", site.end)
        end = token_at[line_end] if line_end >= 0 else last
        end = last if end < 0 else max(end, token)
        rows[index] = torch.tensor(
            [end if slot == LINE_END else min(token + int(slot), last) for slot in slots]
        )
    return rows


def _token_at(spans: Sequence[TextSpan], length: int) -> list[int]:
    """For each code point, the last token that covers it (-1 where none does)."""
    table = [-1] * (length + 1)
    for index, span in enumerate(spans):
        for offset in range(span.start, min(span.end, length)):
            table[offset] = index
    return table


def sink_mask(resid: Float[Tensor, "pos d_model"]) -> Bool[Tensor, " pos"]:
    """True at tokens that carry a feature of the code: not position 0, not an attention sink.

    Activations of this model family have a constant outlier at position 0 and occasional sinks on ordinary
    tokens, 10 to 1000 times the median norm.
    """
    norms = resid.float().norm(dim=-1)
    if len(norms) < 2:
        return torch.zeros_like(norms, dtype=torch.bool)
    keep = norms < SINK_FACTOR * norms[1:].median()
    keep[0] = False
    return keep
