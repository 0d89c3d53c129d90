"""Findings as diagnostics: pure, one function from one type to the next."""

import hashlib
from collections.abc import Iterable, Sequence

from lsprotocol import types

from ace_analysis.report.finding import Evidence, Finding, Severity
from ace_analysis.report.kinds import kind_text
from ace_analysis.source.document import TextSpan
from ace_lsp.units import Part, Unit

SOURCE = "ace"
MOST_RELATED = 3
"""Latents named with a diagnostic: those that added most to its score."""

_SEVERITIES = {
    Severity.HINT: types.DiagnosticSeverity.Hint,
    Severity.INFORMATION: types.DiagnosticSeverity.Information,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
}


def diagnostics_of(
    unit: Unit, findings: Iterable[Finding], *, related_information: bool = True
) -> dict[str, list[types.Diagnostic]]:
    """The diagnostics of each document of a unit; one without any has an empty list."""
    found: dict[str, list[types.Diagnostic]] = {part.uri: [] for part in unit.parts}
    for finding in findings:
        if (place := unit.place(finding.span)) is not None:
            part, span = place
            diagnostic = diagnostic_of(finding, unit, (part, span), related_information=related_information)
            found[part.uri].append(diagnostic)
    return found


def diagnostic_of(
    finding: Finding, unit: Unit, place: tuple[Part, TextSpan], *, related_information: bool = True
) -> types.Diagnostic:
    """One finding, at its `place` in one document of the unit."""
    part, span = place
    message = message_of(finding, part.lines.text[span.start : span.end])
    strongest = _strongest(finding.evidence)
    related = related_of(strongest, unit) if related_information else []
    if not related and strongest:
        message += "\n" + "\n".join(_said(each) for each in strongest)
    line = part.lines.line_text(part.lines.line_at(span.start))
    return types.Diagnostic(
        range=part.lines.range_of(span),
        message=message,
        severity=_SEVERITIES[finding.severity],
        code=finding.kind,
        source=SOURCE,
        related_information=related or None,
        data={
            "kind": finding.kind,
            "score": round(finding.score, 4),
            "threshold": round(finding.threshold, 4),
            "features": [each.feature for each in strongest],
            "version": part.version,
            "line": _digest(line),
        },
    )


def message_of(finding: Finding, text: str) -> str:
    """One line for a person. `text` is what stands at the place."""
    claim = kind_text(finding.kind).claim
    first = text.split("\n", 1)[0].strip()
    told = f": `{first}`" if first else ""
    return f"{claim[:1].upper()}{claim[1:]}{told} (probability {finding.score:.2f})"


def related_of(evidence: Sequence[Evidence], unit: Unit) -> list[types.DiagnosticRelatedInformation]:
    """Where the latents behind a finding fired."""
    places = [(each, unit.place(each.span)) for each in evidence]
    return [
        types.DiagnosticRelatedInformation(
            location=types.Location(uri=place[0].uri, range=place[0].lines.range_of(place[1])),
            message=_said(each),
        )
        for each, place in places
        if place is not None
    ]


def result_id_of(diagnostics: Sequence[types.Diagnostic]) -> str:
    """Names these contents: a client that has them already is told so. What differs per version only, doesn't
    count."""
    return _digest(repr([(each.range, each.message, each.severity, each.code) for each in diagnostics]))


def _strongest(evidence: Sequence[Evidence]) -> list[Evidence]:
    ranked = sorted(evidence, key=lambda each: each.activation * each.weight, reverse=True)
    return ranked[:MOST_RELATED]


def _said(evidence: Evidence) -> str:
    return f"latent {evidence.feature} is at {evidence.activation:.2f}, above {evidence.threshold:.2f}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
