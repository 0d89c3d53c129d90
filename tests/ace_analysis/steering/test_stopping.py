"""Where a written text is done."""

import pytest

from ace_analysis.steering.stopping import block_end, line_end, statement_end


@pytest.mark.parametrize(("text", "end"), [("x = 1", None), ("x = 1\ny", 5), ("\nx", 0), ("a\r\nb", 1)])
def test_a_line_is_done_at_its_end(text: str, end: int | None) -> None:
    assert line_end(text) == end


@pytest.mark.parametrize(
    "text",
    [
        "call(\n    a,\n    b)",
        "x = [1,\n     2]",
        's = """a\nb"""',
        "s = 'a\\\n b'",
        "x = 1 + \\\n    2",
        "f('(', \")\", {\n})",
        "x = '#('",
    ],
)
def test_a_statement_is_done_where_nothing_is_open(text: str) -> None:
    assert statement_end(f"{text}\nnext(") == len(text)
    assert statement_end(text) is None


def test_a_quote_that_is_never_closed_ends_with_its_line() -> None:
    assert statement_end("s = 'abc\nx") == 8


def test_too_many_brackets_closed_do_not_keep_it_open() -> None:
    assert statement_end("f(a))\nx") == 5


BLOCK = "if a:\n        b\n\n        c\n    d = 1"


def test_a_block_is_done_before_the_first_line_that_stands_further_left() -> None:
    stop = block_end(4)
    assert stop(BLOCK + "\n") is None
    text = BLOCK + "\n\nreturn\n"
    end = stop(text)
    assert end is not None and text[:end] == BLOCK
    assert stop(BLOCK + "\nret") is None


def test_blank_lines_and_the_first_line_tell_nothing() -> None:
    assert block_end(8)("x = 1\n\n\n") is None
    assert block_end(0)("x\ny\nz\n") is None
