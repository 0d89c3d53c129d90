"""Places in a text: code points, three line endings, nothing else."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.document import CodeDocument, TextSpan, line_starts_of

texts = st.text(alphabet=st.sampled_from("ab \t\n\r\f\v\u2028\u0085é漢🐍\ufeff"))


@given(texts)
def test_lines_put_together_are_the_text(text):
    starts = [*line_starts_of(text), len(text)]
    assert "".join(text[a:b] for a, b in pairwise(starts)) == text
    assert list(starts[:-1]) == sorted(set(starts[:-1]))


@given(texts)
def test_only_three_line_endings_end_a_line(text):
    document = CodeDocument(uri="a.py", text=text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [document.line_text(i + 1) for i in range(len(document.line_starts))] == lines


@given(texts, st.data())
def test_line_and_column_lead_back_to_the_offset(text, data):
    document = CodeDocument(uri="a.py", text=text)
    offset = data.draw(st.integers(0, len(text)))
    line, column = document.line_column(offset)
    assert document.line_starts[line - 1] + column == offset
    assert line == len(document.line_starts) or offset < document.line_starts[line]


@pytest.mark.parametrize("offset", [-1, 4])
def test_an_offset_outside_the_text_is_refused(offset):
    with pytest.raises(ValueError, match=f"offset {offset} is outside the text of 3 code points"):
        CodeDocument(uri="a.py", text="abc").line_column(offset)


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1)])
def test_a_span_that_runs_backwards_is_refused(start, end):
    with pytest.raises(ValueError, match="a span needs 0 <= start <= end"):
        TextSpan(start, end)


def test_spans_that_only_touch_do_not_overlap():
    assert not TextSpan(0, 3).overlaps(TextSpan(3, 5))
    assert TextSpan(0, 4).overlaps(TextSpan(3, 5))
    assert TextSpan(1, 3).shifted(2) == TextSpan(3, 5)
    assert len(TextSpan(1, 3)) == 2
    assert len(CodeDocument(uri="a.py", text="🐍🐍")) == 2
