"""One run with everything in it: findings, sites, notes, an error."""

import pytest

from ace_analysis.report.finding import Evidence, FileReport, Finding, Severity, SiteScore
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.source.document import CodeDocument, TextSpan

TEXT = '"""\U0001f600 é."""\r\n\r\ndef f(a, b):\r\n    return a < b\r\n'


@pytest.fixture
def run() -> CheckRun:
    document = CodeDocument(uri="src/a b.py", text=TEXT)
    less = TextSpan(TEXT.index("<"), TEXT.index("<") + 1)
    finding = Finding(
        span=less,
        kind="comparison",
        score=0.8125,
        threshold=0.5,
        evidence=(Evidence("blocks.9.hook_resid_post/7", less, 3.0, 1.0, 0.5),),
    )
    hint = Finding(
        span=TextSpan(TEXT.index("b\r"), TEXT.index("b\r") + 1),
        kind="variable-misuse",
        score=0.6,
        threshold=0.5,
        severity=Severity.HINT,
    )
    report = FileReport(
        path="src/a b.py",
        findings=(finding, hint),
        sites=(SiteScore(span=less, text="<", kind="comparison", score=0.8125),),
        notes=("line 1: unknown kind",),
    )
    broken = FileReport(path="/elsewhere/x.py", error="binary")
    files = (
        CheckedFile(report=report, document=document),
        CheckedFile(report=broken, document=CodeDocument(uri="x", text="")),
    )
    return CheckRun(max_false_alarms=1.0, engine={"model": "m", "bundle": "b", "layer": 9}, files=files)
