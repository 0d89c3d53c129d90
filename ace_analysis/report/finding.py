"""What a scan says: findings with their evidence, and the scores of all candidate sites.

Plain, JSON-able and free of torch, so that the language server can hold them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from ace_analysis.source.document import TextSpan


class Severity(StrEnum):
    HINT = "hint"
    INFORMATION = "information"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One latent firing on one token.

    `feature` is "<hook name>/<latent index>", for example "blocks.9.hook_resid_post/4711". `activation` and
    `threshold` are in the sparse coder's units; `weight` is what one unit of activation adds to the
    readout's log-odds.
    """

    feature: str
    span: TextSpan
    activation: float
    threshold: float
    weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A place that the model's activations mark as wrong.

    `score` is a calibrated probability at the stated prior, `threshold` what it had to exceed to be shown.
    """

    span: TextSpan
    kind: str
    score: float
    threshold: float
    severity: Severity = Severity.WARNING
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScore:
    """The score of one candidate site, shown or not."""

    span: TextSpan
    text: str
    kind: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeReport:
    """What a scan found in one scope; spans are those of the whole document."""

    scope: TextSpan
    name: str
    findings: tuple[Finding, ...] = ()
    sites: tuple[SiteScore, ...] = ()
    from_cache: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What a scan found in one file, or why it could not be scanned."""

    path: str
    findings: tuple[Finding, ...] = ()
    sites: tuple[SiteScore, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = field(default=())
