"""What a scan was asked for and what it has to do: scopes as tasks, and a task's scores from its pieces."""

import math
from dataclasses import dataclass, field

from ace_analysis.engine.prompts import Piece
from ace_analysis.engine.scores import KeptSite
from ace_analysis.features.scoring import LatentFiring, SiteScores
from ace_analysis.source.document import TextSpan
from ace_analysis.source.syntax import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """What to say of a document, and in which order to look.

    `sites` adds the scores of all candidate sites. `max_false_alarms` (per 100 lines of clean code) overrides
    the settings. Scopes that overlap `first` are read before the others, and with `only`, no others.
    """

    sites: bool = False
    max_false_alarms: float | None = None
    first: TextSpan | None = None
    only: tuple[TextSpan, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What to explain at a place, and when it counts as a finding.

    `expectation`: what the model expects there, even at a candidate site. `max_false_alarms` (per 100 lines
    of clean code) overrides the settings. `check`: how many of the strongest heads and MLPs are really taken
    out of the model, one at a time, beside what the explanation says of them.
    """

    expectation: bool = False
    max_false_alarms: float | None = None
    check: int = 0


@dataclass(slots=True)
class Counters:
    """What an engine has done since it was made. Tokens are without padding."""

    scopes_read: int = 0
    scopes_from_cache: int = 0
    forward_passes: int = 0
    tokens_run: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Task:
    """Scopes with the same header and the same text, which are scored once."""

    key: bytes
    header: str
    text: str
    scopes: list[Scope] = field(default_factory=list)
    is_visible: bool = False
    waiting: int = 0
    results: dict[int, KeptSite] = field(default_factory=dict)


def collect(task: Task, piece: Piece, result: SiteScores) -> None:
    """Put a piece's scores into its task, counted from the scope's own start."""
    header, end = piece.prompt.header, len(piece.prompt.text)

    def own(span: TextSpan) -> TextSpan:
        return TextSpan(max(span.start, header) - header, min(max(span.end, header), end) - header)

    for place, index in enumerate(piece.sites):
        logit = result.logits[place]
        if math.isnan(logit):
            continue
        site = piece.prompt.sites[index]
        evidence = tuple(
            LatentFiring(each.latent, own(each.span), each.activation, each.threshold, each.weight)
            for each in result.evidence.get(place, ())
        )
        task.results[index] = KeptSite(own(site.span), site.kind, logit, evidence)
