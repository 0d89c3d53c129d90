"""A scope's scores as they are kept: counted from the scope's own start, and before any threshold.

So they stay right wherever the scope moves to in its file, and whatever rate of false alarms is asked for.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from ace_analysis.features.scoring import LatentFiring
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import SiteKind

VERSION = 1
"""Raised when the same text would be scored differently: what was kept before is then never found again."""


@dataclass(frozen=True, slots=True)
class KeptSite:
    """One candidate site with its log-odds; evidence where the loosest threshold would show it."""

    span: TextSpan
    kind: SiteKind
    logit: float
    evidence: tuple[LatentFiring, ...] = ()


ScopeScores = tuple[KeptSite, ...]


def key_of(parts: Iterable[str]) -> bytes:
    """A digest of texts, in which no text can run over into the next."""
    digest = hashlib.sha256()
    for part in (str(VERSION), *parts):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def to_bytes(scores: ScopeScores) -> bytes:
    rows = [
        [site.span.start, site.span.end, site.kind.value, site.logit, [_row(each) for each in site.evidence]]
        for site in scores
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def from_bytes(data: bytes) -> ScopeScores | None:
    """The scores; None where the bytes are not what `to_bytes` wrote."""
    try:
        return tuple(
            KeptSite(TextSpan(start, end), SiteKind(kind), float(logit), tuple(map(_firing, evidence)))
            for start, end, kind, logit, evidence in json.loads(data)
        )
    except (ValueError, TypeError):
        return None


def _row(firing: LatentFiring) -> list[int | float]:
    span = firing.span
    return [firing.latent, span.start, span.end, firing.activation, firing.threshold, firing.weight]


def _firing(row: list[int | float]) -> LatentFiring:
    latent, start, end, activation, threshold, weight = row
    return LatentFiring(int(latent), TextSpan(int(start), int(end)), activation, threshold, weight)
