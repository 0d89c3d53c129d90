"""Findings of one version of a text, moved to the next one.

Between a keystroke and the new results an editor should keep showing what is still true. What stands before
or behind the edited stretch is moved along; what the edit touches is dropped.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from ace_analysis.report.finding import Finding
from ace_analysis.source.document import TextSpan


def carry(findings: Iterable[Finding], old: str, new: str) -> tuple[Finding, ...]:
    """The findings that the edit from `old` to `new` left alone, at their places in `new`."""
    if old == new:
        return tuple(findings)
    start, old_end, shift = edited(old, new)
    kept: list[Finding] = []
    for finding in findings:
        if finding.span.end <= start:
            kept.append(finding)
        elif finding.span.start >= old_end:
            kept.append(_moved(finding, start, old_end, shift))
    return tuple(kept)


def carried_span(span: TextSpan, old: str, new: str) -> TextSpan | None:
    """Where a stretch lies after the edit from `old` to `new`; None where what stood there is gone."""
    start, old_end, shift = edited(old, new)
    if span.end <= start:
        return span
    if span.start >= old_end:
        return span.shifted(shift)
    text = old[span.start : span.end]
    places = [match.start() for match in re.finditer(re.escape(text), new)] if text else []
    nearest = min(places, key=lambda place: abs(place - span.start), default=None)
    return None if nearest is None else TextSpan(nearest, nearest + len(text))


def edited(old: str, new: str) -> tuple[int, int, int]:
    """Start and end in `old` of the smallest stretch that was replaced; by how much what follows moved."""
    start = _common_prefix(old, new)
    tail = _common_prefix(old[start:][::-1], new[start:][::-1])
    return start, len(old) - tail, len(new) - len(old)


def _moved(finding: Finding, start: int, old_end: int, shift: int) -> Finding:
    """Evidence may stand before the edit, behind it, or in it; then it is left out."""
    evidence = tuple(
        each if each.span.end <= start else replace(each, span=each.span.shifted(shift))
        for each in finding.evidence
        if each.span.end <= start or each.span.start >= old_end
    )
    return replace(finding, span=finding.span.shifted(shift), evidence=evidence)


def _common_prefix(one: str, other: str) -> int:
    """By halving, since comparing slices is a thousand times faster than comparing characters in Python."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
