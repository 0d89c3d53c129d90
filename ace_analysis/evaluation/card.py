"""A bundle's card: what it was made of and what it can do, for people. Every number comes from the run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ace_analysis.evaluation.loss_recovered import LossRecovered
from ace_analysis.features.bundle import Bundle, Calibration, ErrorFeature
from ace_analysis.features.bundle_files import CORPUS_FILE, PROBE_FILE
from ace_analysis.features.calibration import line_maxima
from ace_analysis.features.coder_quality import FIRST_POSITION, CoderQuality
from ace_analysis.features.discovery import Discovery
from ace_analysis.features.examples import CLEAN
from ace_analysis.features.table import SiteTable

LISTED = 20
RATES = (1.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRate:
    """At the threshold for `allowed` false alarms per 100 clean lines: those measured, and bugs flagged."""

    allowed: float
    alarms: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """`exact` is the coder as trained, `quality` as it ships."""

    bundle: Bundle
    dtype: str
    exact: CoderQuality
    quality: CoderQuality
    loss: LossRecovered | None
    discovery: Discovery
    detection: tuple[MeasuredRate, ...]
    tables: Mapping[str, SiteTable]
    about: Mapping[str, tuple[str, str]]
    training: Mapping[str, float]


def detection_of(
    table: SiteTable, logits: NDArray[np.float64], calibration: Calibration
) -> tuple[MeasuredRate, ...]:
    """False alarms and recall on a table whose projects nothing was fitted on."""
    alarms, lines, bugs = line_maxima(table, logits), int(table.lines.sum()), logits[table.bugs]
    return tuple(
        MeasuredRate(
            allowed=rate,
            alarms=100 * float((alarms >= calibration.threshold(rate)).sum()) / max(lines, 1),
            recall=float((bugs >= calibration.threshold(rate)).mean()) if len(bugs) else float("nan"),
        )
        for rate in RATES
    )


def card_of(facts: CardFacts) -> str:
    parts = [
        _head(facts),
        _data(facts),
        _coder(facts),
        _features(facts),
        _scores(facts),
        _limits(),
        _projects(facts),
    ]
    return "\n".join(line for part in parts for line in [*part, ""])


def _head(facts: CardFacts) -> list[str]:
    bundle = facts.bundle
    return [
        f"# Error features of {bundle.model}",
        "",
        f"For the model with fingerprint `{bundle.fingerprint}`; reads `{bundle.coder.site.hook_name}`.",
        "Bugs are planted in right code by rules, one at a time; the model never sees a label.",
    ]


def _data(facts: CardFacts) -> list[str]:
    lines = [
        "## Data",
        "",
        "| split | projects | functions | lines | planted bugs | candidate sites of clean code |",
        "|---|---|---|---|---|---|",
    ]
    for split, table in facts.tables.items():
        lines.append(
            f"| {split} | {len(np.unique(table.projects))} | {len(table.projects):,} | {table.lines.sum():,}"
            f" | {len(table.bugs):,} | {int((table.label == CLEAN).sum()):,} |"
        )
    kinds = Counter(facts.tables["train"].mutations[facts.tables["train"].bugs].tolist())
    named = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    return [*lines, "", f"Planted bugs for training by kind: {named}."]


def _coder(facts: CardFacts) -> list[str]:
    coder, quality, exact = facts.bundle.coder, facts.quality, facts.exact
    lines = [
        "## Sparse coder",
        "",
        f"BatchTopK, {coder.d_sae:,} latents, k {facts.training['k']:g}, used as JumpReLU. Trained on"
        f" {facts.training['tokens']:,} tokens drawn from {facts.training['harvested']:,} (position 0 and"
        f" attention sinks left out). Shipped as {facts.dtype}.",
        "",
        f"On {quality.tokens:,} tokens of held-out projects, positions from {FIRST_POSITION} on:",
        "",
        "| | as trained | as shipped |",
        "|---|---|---|",
        f"| explained variance | {exact.explained_variance:.4f} | {quality.explained_variance:.4f} |",
        f"| L0 | {exact.l0:.1f} | {quality.l0:.1f} |",
        f"| dead latents | {exact.dead:,} | {quality.dead:,} |",
    ]
    loss = facts.loss
    if loss is not None:
        lines += [
            "",
            f"Cross-entropy recovered: {loss.recovered:.3f} ({loss.functions} held-out functions,"
            f" {loss.tokens:,} tokens; nats per token: {loss.clean:.3f} untouched, {loss.coded:.3f} with the"
            f" coder in place, {loss.ablated:.3f} with the mean in its place).",
        ]
    return lines


def _features(facts: CardFacts) -> list[str]:
    found, replicated = facts.discovery.features, facts.discovery.replicated
    lines = [
        "## Error features",
        "",
        f"{len(found)} of {facts.discovery.tested:,} latents that were tested fire more on wrong code than on"
        f" the same token in right code; {len(replicated)} of them did so again on held-out projects.",
    ]
    if not found:
        return lines
    lines += [
        "",
        "| latent | wrong code | same token, right | all tokens | t | Welch t | q | again | kinds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [_feature(feature) for feature in found[:LISTED]]


def _feature(feature: ErrorFeature) -> str:
    again = "yes" if feature.replicated else "no"
    return (
        f"| {feature.feature_idx} | {feature.rate_buggy:.2%} | {feature.rate_matched:.2%}"
        f" | {feature.density:.2%}"
        f" | {feature.paired_t:.1f} | {feature.t_statistic:.1f} | {feature.q_value:.1e} | {again}"
        f" | {', '.join(feature.kinds) or 'all'} |"
    )


def _scores(facts: CardFacts) -> list[str]:
    readout, calibration = facts.bundle.readout, facts.bundle.calibration
    used = int((readout.weights != 0).any(dim=0).sum())
    lines = [
        "## Scores",
        "",
        f"A sparse logistic layer over {used:,} latents at {len(readout.slots)} places of a site."
        f" Probabilities hold where {calibration.prior:.1%} of the sites are wrong; thresholds are from"
        " validation projects. On test projects:",
        "",
        "| false alarms allowed per 100 clean lines | measured | planted bugs flagged |",
        "|---|---|---|",
    ]
    return lines + [f"| {m.allowed:g} | {m.alarms:.2f} | {m.recall:.1%} |" for m in facts.detection]


def _limits() -> list[str]:
    return [
        "## Limits",
        "",
        "Measured on planted bugs, which are simpler than those that people make, in functions of"
        " 4 to 80 lines. A score says that the activations look as they do on wrong code; it is no proof."
        " The model may have read the projects in its own training.",
    ]


def _projects(facts: CardFacts) -> list[str]:
    lines = [
        "## Projects",
        "",
        f"Each function is listed in `{CORPUS_FILE}`. `{PROBE_FILE}` is a dense probe on the same data, to"
        " compare with only.",
        "",
    ]
    for split, table in facts.tables.items():
        names = [_project(name, facts.about) for name in sorted(set(table.projects.tolist()))]
        lines += [f"{split}: {', '.join(names)}.", ""]
    return lines[:-1]


def _project(name: str, about: Mapping[str, tuple[str, str]]) -> str:
    version, licence = about.get(name, ("", ""))
    return f"{name} {version} ({licence})" if version else name
