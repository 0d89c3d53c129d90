"""`ace check --format sarif`: SARIF 2.1.0, which code hosts and editors show as annotations.

Columns count code points from 1 (`columnKind` says so). A fingerprint is made of the file, the kind and the
text of the line, so that a result stays the same one when lines are added above it.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ace_analysis
from ace_analysis.report.finding import Evidence, Finding, Severity
from ace_analysis.report.kinds import kind_text
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.kinds import KINDS

SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"

_LEVELS = {Severity.WARNING: "warning", Severity.INFORMATION: "note", Severity.HINT: "note"}

Json = dict[str, Any]


def sarif_of(run: CheckRun, root: Path) -> Json:
    """The run as a SARIF log; paths below `root` become relative to it."""
    kinds = [finding.kind for each in run.files for finding in each.report.findings]
    rules = tuple(dict.fromkeys((*KINDS, *kinds)))
    driver = {
        "name": "ace",
        "fullName": "ACE: likely bugs read from a code model's activations",
        "version": ace_analysis.__version__,
        "rules": [_rule(kind) for kind in rules],
    }
    log_run: Json = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"uri": f"{root.absolute().as_uri().rstrip('/')}/"}},
        "invocations": [_invocation(run, root)],
        "results": [result for each in run.files for result in _results(each, root, rules)],
        "properties": {"engine": dict(run.engine), "maxFalseAlarms": run.max_false_alarms},
    }
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [log_run]}


def _rule(kind: str) -> Json:
    text = kind_text(kind)
    return {
        "id": kind,
        "name": "".join(word.capitalize() for word in kind.split("-")),
        "shortDescription": {"text": text.title},
        "fullDescription": {"text": f"The model's error features say that {text.claim}."},
        "help": {"text": f"{text.help} To hide it here: # ace: ignore[{kind}]"},
        "defaultConfiguration": {"level": "warning"},
    }


def _results(checked: CheckedFile, root: Path, rules: tuple[str, ...]) -> list[Json]:
    counted: Counter[str] = Counter()
    results: list[Json] = []
    for finding in checked.report.findings:
        line, _ = checked.document.line_column(finding.span.start)
        identity = "\0".join(
            (_uri(checked.report.path, root)[0], finding.kind, checked.document.line_text(line).strip())
        )
        counted[identity] += 1
        digest = hashlib.sha256(f"{identity}\0{counted[identity]}".encode("utf-8", "surrogatepass"))
        results.append(
            {
                "ruleId": finding.kind,
                "ruleIndex": rules.index(finding.kind),
                "level": _LEVELS[finding.severity],
                "rank": round(100 * finding.score, 2),
                "message": {"text": _message(checked.document, finding)},
                "locations": [_location(checked, finding.span, root)],
                "relatedLocations": [
                    {"id": number, **_location(checked, each.span, root), "message": {"text": _fired(each)}}
                    for number, each in enumerate(finding.evidence)
                ],
                "partialFingerprints": {"aceLine/v1": digest.hexdigest()},
                "properties": {"score": finding.score, "threshold": finding.threshold},
            }
        )
    return results


def _message(document: CodeDocument, finding: Finding) -> str:
    what = document.text[finding.span.start : finding.span.end]
    claim = kind_text(finding.kind).claim
    return f"{claim[0].upper()}{claim[1:]}: {what!r} (probability {finding.score:.2f})."


def _fired(evidence: Evidence) -> str:
    return f"latent {evidence.feature}: {evidence.activation:.2f}, silent up to {evidence.threshold:.2f}"


def _location(checked: CheckedFile, span: TextSpan, root: Path) -> Json:
    start_line, start_column = checked.document.line_column(span.start)
    end_line, end_column = checked.document.line_column(span.end)
    region = {
        "startLine": start_line,
        "startColumn": start_column + 1,
        "endLine": end_line,
        "endColumn": end_column + 1,
    }
    place = {"artifactLocation": _artifact(checked.report.path, root), "region": region}
    return {"physicalLocation": place}


def _artifact(path: str, root: Path) -> Json:
    uri, relative = _uri(path, root)
    return {"uri": uri, "uriBaseId": "ROOT"} if relative else {"uri": uri}


def _uri(path: str, root: Path) -> tuple[str, bool]:
    """A URI for a path, and whether it is relative to the root."""
    whole = Path(os.path.normpath(root.absolute() / path))
    if whole.is_relative_to(root.absolute()):
        relative = whole.relative_to(root.absolute()).as_posix()
        return quote(relative.encode("utf-8", "surrogateescape")), True
    return whole.as_uri(), False


def _invocation(run: CheckRun, root: Path) -> Json:
    notifications: list[Json] = []
    if run.error is not None:
        notifications.append({"level": "error", "message": {"text": run.error}})
    if run.interrupted:
        notifications.append({"level": "error", "message": {"text": "interrupted before all was checked"}})
    for each in run.files:
        place = {"physicalLocation": {"artifactLocation": _artifact(each.report.path, root)}}
        if each.report.error is not None:
            text = {"text": each.report.error}
            notifications.append({"level": "error", "message": text, "locations": [place]})
        for note in each.report.notes:
            notifications.append({"level": "note", "message": {"text": note}, "locations": [place]})
    done = run.error is None and not run.interrupted and not run.failed
    return {
        "executionSuccessful": done,
        "exitCode": run.exit_code,
        "toolExecutionNotifications": notifications,
    }
