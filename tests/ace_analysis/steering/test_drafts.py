"""Guesses of how a slip of a text goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.steering.drafts import common_start, continuation

IDS = st.lists(st.integers(0, 5), max_size=8)


@given(IDS, IDS, st.integers(-1, 9))
def test_a_guess_is_a_piece_of_the_draft_and_no_longer_than_asked(written, draft, most):
    guess = continuation(written, draft, most)
    assert len(guess) <= max(0, most)
    assert any(draft[at : at + len(guess)] == guess for at in range(len(draft) + 1))


@given(IDS, st.integers(0, 8))
def test_a_text_that_begins_like_the_draft_goes_on_like_it(draft, count):
    assert continuation(draft[:count], draft, 9) == draft[count:]


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ([1, 9], [3, 4, 5]),
        ([1, 9, 3], [4, 5]),
        ([1, 2, 9, 3], [4, 5]),
        ([1, 3], [4, 5]),
        ([9, 9, 9, 9, 9, 9], []),
    ],
    ids=["another token", "behind it", "one more", "one fewer", "all others"],
)
def test_behind_a_slip_the_draft_goes_on(written, rest):
    assert continuation(written, [1, 2, 3, 4, 5], 9) == rest


def test_of_equal_tokens_the_one_with_the_same_before_it_counts():
    assert continuation([7, 2, 1], [1, 5, 2, 1, 6], 1) == [6]
    assert continuation([9, 9, 1], [1, 5, 8, 1, 6], 1) == [6]


@given(IDS, IDS)
def test_what_two_texts_begin_with_is_common_and_no_longer(one, other):
    count = common_start(one, other)
    assert one[:count] == other[:count]
    assert count == min(len(one), len(other)) or one[count] != other[count]
