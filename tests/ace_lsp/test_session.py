"""What a scope report does to what was known; the rest of a session is in tests/protocol/test_session.py."""

from ace_analysis.report.finding import Finding, ScopeReport
from ace_analysis.source.document import TextSpan
from ace_lsp.session import merged


def finding(start: int, kind: str = "comparison") -> Finding:
    return Finding(span=TextSpan(start, start + 1), kind=kind, score=0.9, threshold=0.5)


def report(start: int, end: int, *findings: Finding) -> ScopeReport:
    return ScopeReport(scope=TextSpan(start, end), name="f", findings=findings)


def test_a_scopes_findings_are_replaced_and_all_others_stay():
    known = (finding(1), finding(10), finding(19), finding(20))
    assert merged(known, report(10, 20, finding(15))) == (finding(1), finding(15), finding(20))


def test_a_scope_that_is_clean_now_takes_its_findings_away():
    assert merged((finding(1), finding(10)), report(10, 20)) == (finding(1),)


def test_hidden_kinds_are_left_out():
    known = merged((), report(0, 20, finding(1), finding(2, "boolean")), frozenset({"boolean"}))
    assert known == (finding(1),)
