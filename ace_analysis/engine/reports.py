"""From a scope's scores to what is shown: findings that nobody asked to hide, placed in the document."""

from dataclasses import dataclass

from ace_analysis.engine.scores import KeptSite, ScopeScores
from ace_analysis.features.bundle import Calibration
from ace_analysis.features.scoring import LatentFiring
from ace_analysis.report.finding import Evidence, Finding, ScopeReport, SiteScore
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.ignores import Ignores
from ace_analysis.source.kinds import kind_of
from ace_analysis.source.syntax import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is shown of a document. `hidden` are kinds, `hook_name` is where the latents were read."""

    calibration: Calibration
    threshold: float
    hook_name: str
    ignores: Ignores
    hidden: frozenset[str] = frozenset()
    with_sites: bool = False


def report_of(
    document: CodeDocument, scope: Scope, scores: ScopeScores, rules: Rules, *, from_cache: bool
) -> ScopeReport:
    """One scope's report. At most one finding a line: the worst that is not hidden."""
    worst: dict[int, KeptSite] = {}
    for site in scores:
        if site.logit < rules.threshold or _is_hidden(document, scope, site, rules):
            continue
        line, _ = document.line_column(site.span.start + scope.span.start)
        if line not in worst or site.logit > worst[line].logit:
            worst[line] = site
    return ScopeReport(
        scope=scope.span,
        name=scope.name,
        findings=tuple(_finding(worst[line], scope, rules) for line in sorted(worst)),
        sites=tuple(_site_score(document, site, scope, rules) for site in scores) if rules.with_sites else (),
        from_cache=from_cache,
    )


def _is_hidden(document: CodeDocument, scope: Scope, site: KeptSite, rules: Rules) -> bool:
    """By the finding's kind or by the site's: who ignores every `name` means every misused variable too."""
    span = _in_document(site.span, scope)
    names = (kind_of(site.kind), site.kind.value)
    return any(name in rules.hidden or rules.ignores.hide(document, span, name) for name in names)


def _finding(site: KeptSite, scope: Scope, rules: Rules) -> Finding:
    return Finding(
        span=_in_document(site.span, scope),
        kind=kind_of(site.kind),
        score=rules.calibration.probability(site.logit),
        threshold=rules.calibration.probability(rules.threshold),
        evidence=tuple(_evidence(each, scope, rules) for each in site.evidence),
    )


def _evidence(firing: LatentFiring, scope: Scope, rules: Rules) -> Evidence:
    return Evidence(
        feature=f"{rules.hook_name}/{firing.latent}",
        span=_in_document(firing.span, scope),
        activation=firing.activation,
        threshold=firing.threshold,
        weight=firing.weight,
    )


def _site_score(document: CodeDocument, site: KeptSite, scope: Scope, rules: Rules) -> SiteScore:
    span = _in_document(site.span, scope)
    text = document.text[span.start : span.end]
    return SiteScore(
        span=span, text=text, kind=kind_of(site.kind), score=rules.calibration.probability(site.logit)
    )


def _in_document(span: TextSpan, scope: Scope) -> TextSpan:
    return span.shifted(scope.span.start)
