"""`ace check --json`: findings by line and column, for programs; SCHEMA describes it.

Lines count from 1 and columns from 0, in code points. Lines end at \\n, \\r\\n or \\r, and a byte order mark
is no column. `wire.py` is another format, by offsets, between ACE's own processes.
"""

import ace_analysis
from ace_analysis.report.finding import Evidence, Finding, SiteScore
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.report.schema import COLUMN, DIALECT, END_COLUMN, LINE, Json, array_of, object_of
from ace_analysis.source.document import CodeDocument, TextSpan

VERSION = 1
"""Raised when a field changes its meaning or goes; not when one is added."""


def listing_of(run: CheckRun, *, sites: bool = False) -> Json:
    """The run as JSON; `sites` adds every candidate to each file that was read."""
    return {
        "version": VERSION,
        "ace": ace_analysis.__version__,
        "model": run.engine.get("model"),
        "bundle": run.engine.get("bundle"),
        "engine": dict(run.engine),
        "max_false_alarms": run.max_false_alarms,
        "files": [_file(each, sites) for each in run.files],
        "error": run.error,
        "interrupted": run.interrupted,
        "known": run.known,
    }


def _file(checked: CheckedFile, sites: bool) -> Json:
    report, document = checked.report, checked.document
    listed: Json = {
        "path": report.path,
        "findings": [_finding(document, each) for each in report.findings],
        "notes": list(report.notes),
    }
    if sites:
        listed["sites"] = [_site(document, each) for each in report.sites]
    if report.error is not None:
        listed["error"] = report.error
    return listed


def _finding(document: CodeDocument, finding: Finding) -> Json:
    end_line, end_column = document.line_column(finding.span.end)
    return {
        **_place(document, finding.span),
        "end_line": end_line,
        "end_column": end_column,
        "score": finding.score,
        "kind": finding.kind,
        "severity": finding.severity.value,
        "evidence": [_evidence(document, each) for each in finding.evidence],
    }


def _evidence(document: CodeDocument, evidence: Evidence) -> Json:
    return {
        "feature": evidence.feature,
        "activation": evidence.activation,
        "threshold": evidence.threshold,
        "weight": evidence.weight,
        **_place(document, evidence.span),
    }


def _site(document: CodeDocument, site: SiteScore) -> Json:
    return {**_place(document, site.span), "text": site.text, "kind": site.kind, "score": site.score}


def _place(document: CodeDocument, span: TextSpan) -> Json:
    line, column = document.line_column(span.start)
    return {"line": line, "column": column}


_SCORE = {
    "type": "number",
    "minimum": 0,
    "maximum": 1,
    "description": "probability that this place is wrong, calibrated at the prior that the bundle states",
}

_EVIDENCE = object_of(
    feature={"type": "string", "description": "hook name and index of a latent of the sparse coder"},
    activation={"type": "number"},
    threshold={"type": "number", "description": "the latent is silent up to here"},
    weight={"type": "number", "description": "log-odds that one unit of activation adds"},
    line=LINE,
    column=COLUMN,
)
_FINDING = object_of(
    line=LINE,
    column=COLUMN,
    end_line=LINE,
    end_column=END_COLUMN,
    score=_SCORE,
    kind={"type": "string"},
    severity={"enum": ["hint", "information", "warning"]},
    evidence=array_of(_EVIDENCE, "the latents that made it fire"),
)
_SITE = object_of(line=LINE, column=COLUMN, text={"type": "string"}, kind={"type": "string"}, score=_SCORE)
_FILE = object_of(
    ("sites", "error"),
    path={"type": "string", "description": "as named on the command line, or below a folder named there"},
    findings=array_of(_FINDING, "at most one per line, in the order of the text"),
    notes=array_of({"type": "string"}, "for example an unknown kind in an ignore comment"),
    sites=array_of(_SITE, "every candidate; with --sites only"),
    error={"type": "string", "description": "why the file could not be checked"},
)
SCHEMA: Json = {
    "$schema": DIALECT,
    "title": "ace check --json",
    **object_of(
        version={"const": VERSION},
        ace={"type": "string", "description": "the release that wrote this"},
        model={"type": ["string", "null"], "description": "null where no model was needed or loaded"},
        bundle={"description": "what the scores come from, as the engine names it"},
        engine={"type": "object", "description": "model, fingerprint, device, dtype, bundle, layer"},
        max_false_alarms={"type": "number", "description": "per 100 lines of clean code"},
        files=array_of(_FILE, "each file that was checked, or could not be"),
        error={"type": ["string", "null"], "description": "what kept the run from being done"},
        interrupted={"type": "boolean", "description": "files that are missing were not reached"},
        known={
            "type": ["integer", "null"],
            "description": "findings that the baseline knows, which are not listed; null without a baseline",
        },
    ),
}
