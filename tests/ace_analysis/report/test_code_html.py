"""Code in a page is the code, with its places marked."""

import re
from html import unescape

from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.report.attribution import TokenScore
from ace_analysis.report.code_html import LINE_END, Mark, code_html, site_marks, token_marks
from ace_analysis.report.escaping import visible
from ace_analysis.report.finding import Finding, SiteScore
from ace_analysis.source.document import CodeDocument, TextSpan

TEXT = "a = 1\nif a < </script>:\n    pass\n"


def document(text: str = TEXT) -> CodeDocument:
    return CodeDocument(uri="a.py", text=text)


def lines_of(markup: str) -> list[str]:
    """The text of each line, without its number."""
    rows = re.findall(r'<span class="line"><span class="number">\d+</span>(.*?)\n</span>', markup, re.DOTALL)
    return [unescape(re.sub(r"<[^>]*>", "", row)) for row in rows]


spans = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: TextSpan(*sorted(pair)))


@settings(deadline=None)
@given(st.text(alphabet="ab<>&'\" \n\r\t\U0001f600\u202e", max_size=50), st.lists(spans, max_size=6))
def test_whatever_is_marked_the_lines_are_those_of_the_text(text: str, marked: list[TextSpan]) -> None:
    marks = [Mark(span, "heat h1", "t<'\">ip") for span in marked]
    whole = document(text)
    shown = lines_of(code_html(whole, TextSpan(0, len(text)), marks))
    expected = [visible(whole.line_text(line + 1)) for line in range(len(shown))]
    assert [each.replace(LINE_END, "") for each in shown] == expected


def test_only_the_lines_of_the_span_are_shown_with_their_numbers() -> None:
    markup = code_html(document(), TextSpan(6, 7), [])
    assert lines_of(markup) == ["if a < </script>:"] and '<span class="number">2</span>' in markup


def test_a_mark_over_a_line_end_shows_it_and_goes_on_below() -> None:
    markup = code_html(document(), TextSpan(0, len(TEXT)), [Mark(TextSpan(4, 8), "raises h3", "x")])
    assert f'<span class="raises h3" title="x">1{LINE_END}</span>' in markup
    assert '<span class="raises h3" title="x">if</span>' in markup


def test_of_marks_that_overlap_the_first_is_shown() -> None:
    marks = [Mark(TextSpan(0, 3), "one", ""), Mark(TextSpan(2, 5), "two", "")]
    markup = code_html(document(), TextSpan(0, 5), marks)
    assert 'class="one"' in markup and 'class="two"' not in markup


def test_sites_are_as_strong_as_their_scores_and_findings_are_links() -> None:
    less = TextSpan(TEXT.index("<"), TEXT.index("<") + 1)
    sites = [
        SiteScore(span=TextSpan(0, 1), text="a", kind="name", score=0.0),
        SiteScore(span=less, text="<", kind="comparison", score=0.9),
    ]
    finding = Finding(span=less, kind="comparison", score=0.9, threshold=0.5)
    low, high = site_marks(sites, [finding], 0.5)
    assert (low.classes, low.link) == ("heat h0", "")
    assert (high.classes, high.link) == ("heat h9 found", "finding-1")
    markup = code_html(document(), TextSpan(0, len(TEXT)), [low, high])
    assert 'href="#finding-1">&lt;</a>' in markup


def test_tokens_are_coloured_by_sign_and_size_and_the_target_is_outlined() -> None:
    here, there = TextSpan(0, 1), TextSpan(4, 5)
    tokens = [TokenScore(here, "a", 1.0), TokenScore(there, "1", -0.5), TokenScore(None, "gone", 9.0)]
    marks = token_marks(tokens, here, "logits")
    assert [mark.classes for mark in marks] == ["raises h9 target", "lowers h4"]
    assert marks[1].tip == "-0.500 logits"


def test_tokens_of_one_character_are_one_place_with_their_sum() -> None:
    span = TextSpan(0, 1)
    (mark,) = token_marks([TokenScore(span, "é", 1.0), TokenScore(span, "é", 0.5)], TextSpan(4, 5), "logits")
    assert mark.tip == "+1.500 logits"
