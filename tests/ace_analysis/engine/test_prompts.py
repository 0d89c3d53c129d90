"""How long scopes are cut and pieces are batched."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.engine.prompts import Piece, Reading, ScopePrompt, batches_of, padded, pieces_of
from ace_analysis.features.positions import site_positions
from ace_analysis.model.tokens import TokenizedText
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import CandidateSite, SiteKind

SLOTS = (0, 1, 2, "line_end")


def by_character(text: str) -> TokenizedText:
    """One token per code point, behind a prefix token."""
    return TokenizedText(
        [0, *map(ord, text)], [TextSpan(0, 0), *(TextSpan(i, i + 1) for i in range(len(text)))]
    )


def prompt_of(text: str, sites: Sequence[int], header: int = 0) -> ScopePrompt:
    return ScopePrompt(
        text,
        header,
        tuple(CandidateSite(TextSpan(at, at + 1), SiteKind.NAME, text[at]) for at in sites),
    )


def piece(length: int, owner: int = 0) -> Piece:
    return Piece(owner, [1] * length, [TextSpan(0, 0)] * length, [], ScopePrompt("", 0, ()))


def test_a_prompt_that_fits_is_one_piece() -> None:
    prompt = prompt_of("a = b\n", [4])
    (whole,) = pieces_of(3, prompt, by_character(prompt.text), Reading(SLOTS, 7))
    assert whole.owner == 3 and whole.sites == [0] and len(whole) == 7


def test_a_prompt_without_sites_has_no_piece() -> None:
    assert not pieces_of(0, prompt_of("pass\n" * 100, []), by_character("pass\n" * 100), Reading(SLOTS, 7))


@settings(deadline=None)
@given(
    text=st.text(alphabet="abc \n", min_size=1, max_size=300),
    header=st.integers(0, 30),
    max_tokens=st.integers(6, 80),
    data=st.data(),
)
def test_windows_read_each_site_once_at_the_tokens_of_the_whole_text(
    text: str, header: int, max_tokens: int, data: st.DataObject
) -> None:
    header = min(header, len(text) - 1)
    at = data.draw(st.sets(st.integers(header, len(text) - 1), min_size=1))
    prompt, tokens = prompt_of(text, sorted(at), header), by_character(text)
    pieces = pieces_of(0, prompt, tokens, Reading(SLOTS, max_tokens))
    assert sorted(site for each in pieces for site in each.sites) == list(range(len(at)))
    for each in pieces:
        assert len(each) <= max_tokens and len(each.ids) == len(each.spans)
        assert each.ids[0] == 0 and each.spans[0] == TextSpan(0, 0)
        spans = [site.span for site in each.to_score.sites]
        seen = site_positions(text, each.spans, spans, SLOTS)
        whole = site_positions(text, tokens.spans, spans, SLOTS)
        for span, own, wanted in zip(spans, seen.tolist(), whole.tolist(), strict=True):
            assert each.spans[own[0]].end == span.end
            last = max(each.spans[p].end for p in own)
            fits = max(wanted) - min(wanted) + 1 <= (max_tokens - header - 1) // 8
            assert not fits or last == max(tokens.spans[p].end for p in wanted)


def test_every_window_starts_with_a_short_header() -> None:
    text = "import os\n" + "x = y\n" * 40
    prompt = prompt_of(text, range(14, len(text), 6), header=10)
    pieces = pieces_of(0, prompt, by_character(text), Reading(SLOTS, 60))
    assert len(pieces) > 3
    assert all(each.spans[1:11] == [TextSpan(i, i + 1) for i in range(10)] for each in pieces)


def test_a_header_that_would_fill_the_windows_is_left_out_of_them() -> None:
    text = "import os\n" * 10 + "x = y\n" * 40
    prompt = prompt_of(text, [len(text) - 2], header=100)
    (last,) = pieces_of(0, prompt, by_character(text), Reading(SLOTS, 60))
    assert last.spans[1].start > 100


def test_windows_overlap_so_that_a_site_sees_what_stands_before_it() -> None:
    text = "x = y\n" * 100
    prompt = prompt_of(text, range(4, len(text), 6))
    pieces = pieces_of(0, prompt, by_character(text), Reading(SLOTS, 101))
    before = [each.to_score.sites[0].span.start - each.spans[1].start for each in pieces[1:]]
    assert min(before) >= 25 - 6 - 4


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(1, 120))
def test_batches_hold_every_piece_once_within_the_budget(lengths: list[int], budget: int) -> None:
    pieces = [piece(length, owner) for owner, length in enumerate(lengths)]
    batches = list(batches_of(pieces, budget))
    assert sorted(each.owner for batch in batches for each in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget


@pytest.mark.parametrize("lengths", [[3], [1, 4, 2]])
def test_padding_stands_behind_the_text(lengths: list[int]) -> None:
    ids = padded([piece(length) for length in lengths])
    assert ids.shape == (len(lengths), max(lengths))
    assert [row.sum().item() for row in ids] == lengths
    assert all(row[:length].all() for row, length in zip(ids, lengths, strict=True))
