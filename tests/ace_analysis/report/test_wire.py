"""Reports go through JSON and come back as they were."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.errors import InputError
from ace_analysis.report import wire
from ace_analysis.report.finding import Evidence, FileReport, Finding, ScopeReport, Severity, SiteScore
from ace_analysis.source.document import TextSpan

numbers = st.floats(allow_nan=False, allow_infinity=False)
spans = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda pair: TextSpan(*sorted(pair)))
texts = st.text(max_size=20)
evidence = st.builds(
    Evidence, feature=texts, span=spans, activation=numbers, threshold=numbers, weight=numbers
)
findings = st.builds(
    Finding,
    span=spans,
    kind=texts,
    score=numbers,
    threshold=numbers,
    severity=st.sampled_from(Severity),
    evidence=st.lists(evidence, max_size=3).map(tuple),
)
sites = st.builds(SiteScore, span=spans, text=texts, kind=texts, score=numbers)
results = {
    "findings": st.lists(findings, max_size=3).map(tuple),
    "sites": st.lists(sites, max_size=3).map(tuple),
}
scope_reports = st.builds(ScopeReport, scope=spans, name=texts, from_cache=st.booleans(), **results)
file_reports = st.builds(
    FileReport,
    path=texts,
    error=st.none() | texts,
    notes=st.lists(texts, max_size=2).map(tuple),
    **results,
)


@given(scope_reports)
def test_a_scope_report_comes_back_as_it_was(report: ScopeReport) -> None:
    assert wire.scope_report_from_wire(json.loads(json.dumps(wire.to_wire(report)))) == report


@given(file_reports)
def test_a_file_report_is_json_with_all_its_fields(report: FileReport) -> None:
    told = json.loads(json.dumps(wire.to_wire(report)))
    assert (told["path"], told["error"], tuple(told["notes"])) == (report.path, report.error, report.notes)
    assert told["findings"] == [wire.to_wire(each) for each in report.findings]
    assert told["sites"] == [wire.to_wire(each) for each in report.sites]


def test_a_span_is_a_pair() -> None:
    assert wire.to_wire(TextSpan(3, 5)) == [3, 5]


def test_both_reports_carry_the_version() -> None:
    assert wire.to_wire(ScopeReport(scope=TextSpan(0, 0), name="f"))["version"] == wire.VERSION
    assert wire.to_wire(FileReport(path="a.py"))["version"] == wire.VERSION


def test_another_version_is_refused() -> None:
    data = {**wire.to_wire(ScopeReport(scope=TextSpan(0, 0), name="f")), "version": 99}
    with pytest.raises(InputError, match="expected version 1 of ScopeReport, got 99: both sides"):
        wire.scope_report_from_wire(data)


def test_unknown_fields_are_passed_over() -> None:
    report = ScopeReport(scope=TextSpan(0, 0), name="f")
    assert wire.scope_report_from_wire({**wire.to_wire(report), "new": 1}) == report


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"scope": [0, 1]},
        {"scope": [1, 0], "name": "f"},
        {"scope": [0], "name": "f"},
        {"scope": [0.5, 1], "name": "f"},
        {"scope": [0, 1], "name": "f", "findings": [{}]},
        {"scope": [0, 1], "name": "f", "findings": 3},
        {"scope": [0, 1], "name": "f", "sites": [None]},
    ],
)
def test_what_is_no_report_is_refused_and_shown(data: object) -> None:
    with pytest.raises(InputError, match="expected ScopeReport as JSON"):
        wire.scope_report_from_wire(data)


def test_an_unknown_severity_is_refused() -> None:
    finding = wire.to_wire(Finding(span=TextSpan(0, 1), kind="x", score=0.5, threshold=0.1))
    data = {"scope": [0, 1], "name": "f", "findings": [{**finding, "severity": "fatal"}]}
    with pytest.raises(InputError, match="'fatal' is not a valid Severity"):
        wire.scope_report_from_wire(data)


def test_something_that_is_no_report_can_not_be_written() -> None:
    with pytest.raises(InputError, match=r"expected one of TextSpan, Evidence, .*, got int"):
        wire.to_wire(3)  # type: ignore[arg-type]
