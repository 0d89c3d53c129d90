"""Findings as diagnostics: pure, one function from one type to the next."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from lsprotocol import types

from ace_analysis.report.finding import Evidence, Finding, Severity
from ace_analysis.report.kinds import kind_text
from ace_analysis.source.document import TextSpan
from ace_lsp.extras import Extras
from ace_lsp.features.pages import page_of_kind
from ace_lsp.units import Part, Unit

SOURCE = "ace"
EVERYTHING = Extras()
MOST_RELATED = 3
"""Latents named with a diagnostic: those that added most to its score."""

MOST_ELSEWHERE = 3
"""Other findings that are named for having one of these latents in common."""

_SEVERITIES = {
    Severity.HINT: types.DiagnosticSeverity.Hint,
    Severity.INFORMATION: types.DiagnosticSeverity.Information,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
}


def diagnostics_of(
    unit: Unit, findings: Iterable[Finding], extras: Extras = EVERYTHING
) -> dict[str, list[types.Diagnostic]]:
    """The diagnostics of each document of a unit; one without any has an empty list."""
    found: dict[str, list[types.Diagnostic]] = {part.uri: [] for part in unit.parts}
    findings = tuple(findings)
    elsewhere = _findings_by_feature(findings) if extras.related_information else {}
    for finding in findings:
        if (place := unit.place(finding.span)) is not None:
            part, span = place
            strongest = _strongest(finding.evidence)
            related = []
            if extras.related_information:
                others = _others(finding, strongest, elsewhere)
                related = related_of(strongest, unit) + also_of(others, unit)
            found[part.uri].append(_diagnostic(finding, (part, span), related, extras))
    return found


def _diagnostic(
    finding: Finding,
    place: tuple[Part, TextSpan],
    related: list[types.DiagnosticRelatedInformation],
    extras: Extras,
) -> types.Diagnostic:
    """One finding, at its `place` in one document of the unit."""
    part, span = place
    message = message_of(finding, part.lines.text[span.start : span.end])
    strongest = _strongest(finding.evidence)
    if not related and strongest:
        message += "\n" + "\n".join(_said(each) for each in strongest)
    page = page_of_kind(finding.kind) if extras.code_description else None
    line = part.lines.line_text(part.lines.line_at(span.start))
    return types.Diagnostic(
        range=part.lines.range_of(span),
        message=message,
        severity=_SEVERITIES[finding.severity],
        code=finding.kind,
        code_description=types.CodeDescription(href=page) if page is not None else None,
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


def also_of(others: Iterable[tuple[str, Finding]], unit: Unit) -> list[types.DiagnosticRelatedInformation]:
    """Where the same latents stand behind another finding."""
    related: list[types.DiagnosticRelatedInformation] = []
    for feature, other in others:
        if (place := unit.place(other.span)) is not None:
            part, span = place
            location = types.Location(uri=part.uri, range=part.lines.range_of(span))
            message = f"latent {feature} is also behind this finding: {other.kind}"
            related.append(types.DiagnosticRelatedInformation(location=location, message=message))
    return related


def _findings_by_feature(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    by_feature: dict[str, list[Finding]] = {}
    for finding in findings:
        for feature in dict.fromkeys(each.feature for each in _strongest(finding.evidence)):
            by_feature.setdefault(feature, []).append(finding)
    return by_feature


def _others(
    finding: Finding, strongest: Sequence[Evidence], elsewhere: Mapping[str, list[Finding]]
) -> list[tuple[str, Finding]]:
    """The nearest other findings with one of the same strongest latents, each told once."""
    shared: dict[Finding, str] = {}
    for each in strongest:
        for other in elsewhere.get(each.feature, ()):
            if other is not finding:
                shared.setdefault(other, each.feature)
    nearest = sorted(shared, key=lambda other: abs(other.span.start - finding.span.start))
    return [(shared[other], other) for other in nearest[:MOST_ELSEWHERE]]


def result_id_of(diagnostics: Sequence[types.Diagnostic]) -> str:
    """Names these contents: a client that has them already is told so. What differs per version only, doesn't
    count."""
    seen = [
        (each.range, each.message, each.severity, each.code, each.code_description, each.related_information)
        for each in diagnostics
    ]
    return _digest(repr(seen))


def _strongest(evidence: Sequence[Evidence]) -> list[Evidence]:
    ranked = sorted(evidence, key=lambda each: each.activation * each.weight, reverse=True)
    return ranked[:MOST_RELATED]


def _said(evidence: Evidence) -> str:
    return f"latent {evidence.feature} is at {evidence.activation:.2f}, above {evidence.threshold:.2f}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
