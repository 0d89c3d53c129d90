from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.report.finding import Evidence, Finding
from ace_analysis.source.document import TextSpan
from ace_lsp.carrying import carried_span, carry, edited

TEXT = st.text(alphabet="ab\n😋", max_size=30)


def finding(start: int, end: int, *evidence: tuple[int, int]) -> Finding:
    seen = tuple(Evidence("f/1", TextSpan(*span), 2.0, 1.0) for span in evidence)
    return Finding(span=TextSpan(start, end), kind="comparison", score=0.9, threshold=0.5, evidence=seen)


@given(TEXT, TEXT)
def test_replacing_the_edited_stretch_gives_the_new_text(old, new):
    start, old_end, shift = edited(old, new)
    assert old[:start] + new[start : old_end + shift] + old[old_end:] == new


@given(TEXT, TEXT, TEXT, TEXT)
def test_what_is_carried_over_still_says_the_same(before, inside, replacement, after):
    old, new = before + inside + after, before + replacement + after
    findings = [finding(start, start + 1) for start in range(len(old))]
    for kept in carry(findings, old, new):
        assert kept.span.end <= len(new)
    texts = [old[each.span.start : each.span.end] for each in findings]
    kept_texts = [new[each.span.start : each.span.end] for each in carry(findings, old, new)]
    rest = iter(texts)
    assert all(any(text == other for other in rest) for text in kept_texts)


def test_findings_before_stay_those_behind_move_and_what_was_edited_is_dropped():
    old, new = "aa bb cc", "aa bXXb cc"
    kept = carry([finding(0, 2), finding(3, 5), finding(6, 8)], old, new)
    assert [each.span for each in kept] == [TextSpan(0, 2), TextSpan(8, 10)]


def test_evidence_is_carried_with_its_finding_and_left_out_where_it_was_edited():
    old, new = "aa bb cc", "aa XbbX cc"
    (kept,) = carry([finding(6, 8, (0, 2), (3, 5), (6, 8))], old, new)
    assert [each.span for each in kept.evidence] == [TextSpan(0, 2), TextSpan(8, 10)]


def test_the_same_text_keeps_everything():
    assert carry([finding(0, 2)], "aa", "aa") == (finding(0, 2),)


@given(TEXT, TEXT, TEXT, st.integers(0, 20), st.integers(0, 5))
def test_a_stretch_that_the_edit_left_alone_is_found_again(before, inserted, after, start, length):
    old, new = before + after, before + inserted + after
    span = TextSpan(min(start, len(old)), min(start + length, len(old)))
    moved = carried_span(span, old, new)
    if span.end <= len(before):
        assert moved == span
    if moved is not None:
        assert new[moved.start : moved.end] == old[span.start : span.end]


def test_a_stretch_inside_an_edit_is_where_its_text_is_nearest_or_gone():
    assert carried_span(TextSpan(4, 7), "def BUG()", "x BUG yy BUG z") == TextSpan(2, 5)
    assert carried_span(TextSpan(4, 7), "def BUG()", "def FIX()") is None
    assert carried_span(TextSpan(5, 5), "def BUG()", "def FIX()") is None
