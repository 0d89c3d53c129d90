"""Foreign text in a page is seen and does nothing."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.report.escaping import escaped, one_line, visible


class Reader(HTMLParser):
    """The text of a page as a browser reads it; markup in it is a failure."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "p":
            raise AssertionError(f"a tag <{tag}> got through")

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment got through")


def read(markup: str) -> str:
    reader = Reader()
    reader.feed(f"<p>{markup}</p>")
    reader.close()
    return reader.text


@settings(deadline=None)
@given(
    st.text() | st.sampled_from(["</script><script>alert(1)</script>", "<!--", "&amp;", "<p onclick='x'>"])
)
def test_a_browser_reads_what_is_visible_and_no_markup(text: str) -> None:
    assert read(escaped(text)).replace("\r\n", "\n") == visible(text).replace("\r\n", "\n")


@settings(deadline=None)
@given(st.text())
def test_no_quote_ends_an_attribute(text: str) -> None:
    assert not set("\"'<>") & set(escaped(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u202e}{", "<U+202E>}{"),
        ("a\u2066b", "a<U+2066>b"),
        ("\x00\x1b", "\u2400\u241b"),
        ("\ud800", "<U+D800>"),
        ("\x85\ufeff", "<U+0085><U+FEFF>"),
        ("שלום \U0001f600 é", "שלום \U0001f600 é"),
        ("a\tb\r\n", "a\tb\r\n"),
    ],
)
def test_code_points_that_act_are_shown_by_name(text: str, shown: str) -> None:
    assert visible(text) == shown


@settings(deadline=None)
@given(st.text())
def test_what_is_visible_can_be_written_as_utf_8(text: str) -> None:
    visible(text).encode("utf-8")


def test_one_line_has_single_blanks() -> None:
    assert (one_line(" a\n\tb "), one_line("\n")) == ("a b", "")
