"""Results as JSON and back: what crosses between processes and lies in caches.

Spans are pairs [start, end] of code points. Each report carries a format version; another version is refused,
and unknown fields are passed over, so that fields can be added without a new version.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from ace_analysis.errors import InputError
from ace_analysis.report.finding import Evidence, FileReport, Finding, ScopeReport, Severity, SiteScore
from ace_analysis.source.document import TextSpan

VERSION = 1
"""Raised when a field changes its meaning or goes; not when one is added."""

Wire = dict[str, Any]
Report = TypeVar("Report")


@overload
def to_wire(value: TextSpan) -> list[int]: ...
@overload
def to_wire(value: ScopeReport | FileReport | Finding | SiteScore | Evidence) -> Wire: ...
def to_wire(value: Any) -> Any:
    """JSON of a report or a part of one."""
    for kind, write in _WRITERS.items():
        if isinstance(value, kind):
            return write(value)
    known = ", ".join(kind.__name__ for kind in _WRITERS)
    raise InputError(f"expected one of {known}, got {type(value).__name__}")


def scope_report_from_wire(data: Any) -> ScopeReport:
    return read_as("ScopeReport", data, _scope_report)


def _write_span(span: TextSpan) -> list[int]:
    return [span.start, span.end]


def _write_evidence(evidence: Evidence) -> Wire:
    return {
        "feature": evidence.feature,
        "span": _write_span(evidence.span),
        "activation": evidence.activation,
        "threshold": evidence.threshold,
        "weight": evidence.weight,
    }


def _write_finding(finding: Finding) -> Wire:
    return {
        "span": _write_span(finding.span),
        "kind": finding.kind,
        "score": finding.score,
        "threshold": finding.threshold,
        "severity": finding.severity.value,
        "evidence": [_write_evidence(each) for each in finding.evidence],
    }


def _write_site_score(site: SiteScore) -> Wire:
    return {"span": _write_span(site.span), "text": site.text, "kind": site.kind, "score": site.score}


def _write_results(report: ScopeReport | FileReport) -> Wire:
    return {
        "findings": [_write_finding(each) for each in report.findings],
        "sites": [_write_site_score(each) for each in report.sites],
    }


def _write_scope_report(report: ScopeReport) -> Wire:
    return {
        "version": VERSION,
        "scope": _write_span(report.scope),
        "name": report.name,
        **_write_results(report),
        "from_cache": report.from_cache,
    }


def _write_file_report(report: FileReport) -> Wire:
    return {
        "version": VERSION,
        "path": report.path,
        **_write_results(report),
        "error": report.error,
        "notes": list(report.notes),
    }


_WRITERS: dict[type, Callable[[Any], Any]] = {
    TextSpan: _write_span,
    Evidence: _write_evidence,
    Finding: _write_finding,
    SiteScore: _write_site_score,
    ScopeReport: _write_scope_report,
    FileReport: _write_file_report,
}


def read_as(name: str, data: Any, build: Callable[[Mapping[str, Any]], Report]) -> Report:
    """What `build` makes of `data`; anything that doesn't fit is an InputError that shows the data."""
    try:
        if data.get("version", VERSION) != VERSION:
            told = f"expected version {VERSION} of {name}, got {data['version']!r}"
            raise InputError(f"{told}: both sides have to run the same release of ace-lsp")
        return build(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected {name} as JSON ({error!r}), got {data!r:.200}") from error


def span_from_wire(pair: Any) -> TextSpan:
    """A span of a pair; what is none raises TypeError or ValueError, which `read_as` reports."""
    start, end = pair
    if not isinstance(start, int) or not isinstance(end, int):
        raise TypeError(f"a span [start, end], not {pair!r}")
    return TextSpan(start, end)


def _evidence(data: Mapping[str, Any]) -> Evidence:
    return Evidence(
        feature=str(data["feature"]),
        span=span_from_wire(data["span"]),
        activation=float(data["activation"]),
        threshold=float(data["threshold"]),
        weight=float(data.get("weight", 0.0)),
    )


def _finding(data: Mapping[str, Any]) -> Finding:
    return Finding(
        span=span_from_wire(data["span"]),
        kind=str(data["kind"]),
        score=float(data["score"]),
        threshold=float(data["threshold"]),
        severity=Severity(data.get("severity", Severity.WARNING)),
        evidence=tuple(_evidence(each) for each in data.get("evidence", ())),
    )


def _site_score(data: Mapping[str, Any]) -> SiteScore:
    return SiteScore(
        span=span_from_wire(data["span"]),
        text=str(data["text"]),
        kind=str(data["kind"]),
        score=float(data["score"]),
    )


def _scope_report(data: Mapping[str, Any]) -> ScopeReport:
    return ScopeReport(
        scope=span_from_wire(data["scope"]),
        name=str(data["name"]),
        findings=tuple(_finding(each) for each in data.get("findings", ())),
        sites=tuple(_site_score(each) for each in data.get("sites", ())),
        from_cache=bool(data.get("from_cache", False)),
    )
