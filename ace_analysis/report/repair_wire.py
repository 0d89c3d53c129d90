"""Fixes as JSON and back, by the rules of wire.py: what the worker answers and the server reads."""

from collections.abc import Mapping
from typing import Any

from ace_analysis.report.repair import Fix, Gate, GateResult, Source
from ace_analysis.report.wire import VERSION, Wire, read_as, span_from_wire, to_wire


def fix_to_wire(fix: Fix) -> Wire:
    """JSON of a fix."""
    return {
        "version": VERSION,
        "span": to_wire(fix.span),
        "replacement": fix.replacement,
        "source": fix.source.value,
        "score": fix.score,
        "gates": [gate_to_wire(each) for each in fix.gates],
        "detail": fix.detail,
        "strength": fix.strength,
        "verified_by_tests": fix.verified_by_tests,
    }


def gate_to_wire(result: GateResult) -> Wire:
    return {"gate": result.gate.value, "passed": result.passed, "note": result.note}


def fix_from_wire(data: Any) -> Fix:
    """The fix that `fix_to_wire` wrote.

    Raises:
        InputError: what is no such JSON, or was written by another release.
    """
    return read_as("Fix", data, _fix)


def _fix(data: Mapping[str, Any]) -> Fix:
    return Fix(
        span=span_from_wire(data["span"]),
        replacement=str(data["replacement"]),
        source=Source(data["source"]),
        score=float(data["score"]),
        gates=tuple(
            GateResult(Gate(each["gate"]), bool(each["passed"]), str(each.get("note", "")))
            for each in data.get("gates", ())
        ),
        detail=str(data.get("detail", "")),
        strength=float(data.get("strength", 0.0)),
        verified_by_tests=bool(data.get("verified_by_tests", False)),
    )
