import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from ace_analysis.source.document import TextSpan
from ace_lsp.positions import Encoding, LineIndex, code_points_of, units_of

ENCODINGS = [Encoding.Utf8, Encoding.Utf16, Encoding.Utf32]
NASTY = st.text(alphabet="ab \t\n\r\x0b\x0c\x1c\x85\u2028\u2029é漢😋\ufeff\u200d", max_size=40)


@given(NASTY, st.sampled_from(ENCODINGS), st.data())
def test_every_offset_outside_a_line_ending_survives_the_way_there_and_back(text, encoding, data):
    index = LineIndex(text, encoding)
    offset = data.draw(st.integers(0, len(text)))
    inside_crlf = text[offset - 1 : offset + 1] == "\r\n" if offset else False
    expected = offset - 1 if inside_crlf else offset
    assert index.offset_at(index.position_at(offset)) == expected


@given(NASTY, st.sampled_from(ENCODINGS), st.integers(0, 99), st.integers(0, 99))
def test_any_position_lands_inside_the_text_and_outside_line_endings(text, encoding, line, character):
    offset = LineIndex(text, encoding).offset_at(types.Position(line=line, character=character))
    assert 0 <= offset <= len(text)
    assert text[offset - 1 : offset + 1] != "\r\n" or offset == 0


@given(NASTY)
def test_lines_end_at_the_three_line_endings_and_nowhere_else(text):
    reference = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    index = LineIndex(text)
    assert [index.line_text(line) for line in range(len(index))] == reference


@pytest.mark.parametrize(
    ("encoding", "character"), [(Encoding.Utf8, 7), (Encoding.Utf16, 5), (Encoding.Utf32, 4)]
)
def test_the_quote_after_an_emoji_is_where_each_encoding_says(encoding, character):
    index = LineIndex('x="😋"', encoding)
    assert index.position_at(4) == types.Position(line=0, character=character)
    assert index.offset_at(types.Position(line=0, character=character)) == 4


def test_a_position_behind_the_line_means_its_end_even_without_a_line_ending():
    index = LineIndex("ab\r\nabc")
    assert index.offset_at(types.Position(line=0, character=99)) == 2
    assert index.offset_at(types.Position(line=1, character=99)) == 7
    assert index.offset_at(types.Position(line=9, character=0)) == 7


def test_a_position_inside_a_surrogate_pair_means_the_start_of_the_character():
    assert LineIndex("a😋b").offset_at(types.Position(line=0, character=2)) == 1


def test_a_range_the_wrong_way_round_is_turned():
    where = types.Range(start=types.Position(0, 3), end=types.Position(0, 1))
    assert LineIndex("abcd").span_of(where) == TextSpan(1, 3)


def test_a_lone_surrogate_is_counted_and_not_refused():
    assert units_of("\ud83d", Encoding.Utf8) == 3
    assert units_of("\ud83d", Encoding.Utf16) == 1
    assert code_points_of("\ud83dx", 3, Encoding.Utf8) == 1
