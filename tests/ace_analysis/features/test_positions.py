"""Where sites are read, against what can be seen by eye, and which tokens are left out."""

import torch

from ace_analysis.features.positions import DEFAULT_SLOTS, LINE_END, SINK_FACTOR, sink_mask, site_positions
from ace_analysis.source.document import TextSpan

TEXT = "a = b\nc = d\n"
SPANS = [TextSpan(0, 0), *(TextSpan(at, at + 1) for at in range(len(TEXT)))]
"""A prefix token, then one token per character: character i is token i + 1."""


def read(start: int, end: int, slots: tuple[int | str, ...] = DEFAULT_SLOTS) -> list[int]:
    return site_positions(TEXT, SPANS, [TextSpan(start, end)], slots)[0].tolist()


def test_a_site_is_read_at_its_token_the_two_behind_it_and_the_end_of_its_line() -> None:
    assert read(0, 1) == [1, 2, 3, 6]
    assert TEXT[6 - 1] == "\n"


def test_a_site_of_several_tokens_is_read_from_its_last_one_on() -> None:
    assert read(0, 3)[0] == 3


def test_a_token_that_holds_more_than_the_site_is_its_token() -> None:
    spans = [TextSpan(0, 0), TextSpan(0, 3), TextSpan(3, 6), TextSpan(6, 12)]
    assert site_positions(TEXT, spans, [TextSpan(2, 3)]).tolist() == [[1, 2, 3, 2]]


def test_behind_the_last_token_the_last_token_is_read() -> None:
    assert read(10, 11) == [11, 12, 12, 12]


def test_the_line_end_is_never_before_the_site() -> None:
    for start in range(len(TEXT)):
        positions = read(start, start + 1, (0, LINE_END))
        assert positions[1] >= positions[0]


def test_a_line_without_an_end_is_read_at_the_last_token() -> None:
    text = "a = b"
    assert site_positions(text, SPANS[:6], [TextSpan(0, 1)], (LINE_END,)).tolist() == [[5]]


def test_a_site_behind_the_last_token_has_no_position() -> None:
    assert site_positions(TEXT, SPANS[:4], [TextSpan(8, 9)]).tolist() == [[-1] * 4]


def test_position_0_and_sinks_are_left_out_and_nothing_else() -> None:
    resid = torch.ones(8, 4)
    resid[0] *= 500
    resid[5] *= SINK_FACTOR * 1.01
    resid[6] *= SINK_FACTOR * 0.99
    assert sink_mask(resid).tolist() == [False, True, True, True, True, False, True, True]


def test_a_text_of_the_prefix_token_alone_has_no_ordinary_token() -> None:
    assert sink_mask(torch.ones(1, 4)).tolist() == [False]
