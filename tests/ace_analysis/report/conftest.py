"""One run and one explanation with everything in them, and a check of JSON against a schema."""

from collections.abc import Callable
from typing import Any

import pytest

from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LatentScore,
    LayerScore,
    PartCheck,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.circuit import TARGET, Circuit, CircuitEdge, CircuitNode, CurvePoint
from ace_analysis.report.explanation import Explained
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


@pytest.fixture
def explained() -> Explained:
    """The comparison of TEXT, explained."""
    less = TextSpan(TEXT.index("<"), TEXT.index("<") + 1)
    left = less.shifted(-2)
    why = Attribution(
        target=AttributionTarget(
            kind=TargetKind.FINDING,
            span=less,
            text="<",
            description="evidence that '<' is wrong here",
            finding_kind="comparison",
            probability=0.8125,
            threshold=0.5,
        ),
        unit="log-odds",
        value=1.5,
        latents=(
            LatentScore(
                latent=7,
                feature="blocks.9.hook_resid_post/7",
                activation=3.0,
                threshold=1.0,
                score=1.25,
                span=less,
                label="fires most on '<'",
            ),
            LatentScore(
                latent=9,
                feature="blocks.9.hook_resid_post/9",
                activation=1.5,
                threshold=1.0,
                score=-0.25,
                span=left,
            ),
        ),
        heads=(HeadScore(1, 1, -0.75), HeadScore(0, 1, 0.5), HeadScore(1, 0, 0.25), HeadScore(0, 0, 0.0)),
        layers=(LayerScore(0, 0.5, 0.75), LayerScore(1, -0.5, 0.25)),
        tokens=(TokenScore(less, "<", 1.0), TokenScore(left, "a", -0.5), TokenScore(None, "gone", 0.25)),
        constant=0.5,
        constant_of_tokens=0.25,
        unexplained=0.5,
        checks=(PartCheck(1, 1, -0.75, -0.5), PartCheck(0, None, 0.75, 1.0)),
        method="by hand",
        notes=("It is no proof.",),
    )
    document = CodeDocument(uri="src/a b.py", text=TEXT)
    return Explained(
        path="src/a b.py", document=document, why=why, engine={"model": "m", "bundle": "b", "layer": 1}
    )


@pytest.fixture
def problems() -> Callable[[Any, dict[str, Any]], list[str]]:
    return differences


TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def differences(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """Where a value differs from a schema, by the words that SCHEMA uses."""
    found: list[str] = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: not in {schema['enum']}")
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(isinstance(value, TYPES[name]) for name in names):
            found.append(f"{where}: not {names}")
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        found.append(f"{where}: below {schema['minimum']}")
    if "maximum" in schema and value is not None and value > schema["maximum"]:
        found.append(f"{where}: above {schema['maximum']}")
    for name in schema.get("required", ()):
        if name not in value:
            found.append(f"{where}: no {name}")
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            found += differences(value[name], inner, f"{where}.{name}")
    if "properties" in schema:
        found += [f"{where}: undocumented {name}" for name in value if name not in schema["properties"]]
    if "items" in schema:
        for index, item in enumerate(value):
            found += differences(item, schema["items"], f"{where}[{index}]")
    return found


@pytest.fixture
def circuit_with() -> Callable[..., Circuit]:
    """A circuit of three parts and a token; keywords replace what it has."""
    values: dict[str, Any] = {
        "target": "evidence that '<' is wrong here",
        "unit": "log-odds",
        "clean": 2.0,
        "nothing": -2.0,
        "alone": 1.0,
        "nodes": (
            CircuitNode(name="L0H1", kind="head", layer=0, score=-0.5, through="L1H0", lost=0.25),
            CircuitNode(name="L1H0", kind="head", layer=1, score=2.0, lost=1.5),
            CircuitNode(name="MLP1", kind="mlp", layer=1, score=0.75, lost=0.125),
            CircuitNode(name="T3", kind="token", layer=-1, score=0.5, text="x <"),
        ),
        "edges": (
            CircuitEdge("L1H0", TARGET, 2.0),
            CircuitEdge("L0H1", "L1H0", -1.0),
            CircuitEdge("T3", "MLP1", 0.5),
            CircuitEdge("MLP1", TARGET, 0.25),
        ),
        "upstream": 10,
        "curve": (CurvePoint(nodes=1, value=0.0, faithfulness=0.5),),
        "ablation": "zero",
        "method": "one pass",
    }
    return lambda **changes: Circuit(**{**values, **changes})
