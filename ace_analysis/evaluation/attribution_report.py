"""From the records of a measurement to what is told: agreement, cost, speed and curves, as plain data."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ace_analysis.evaluation.attribution import CURVE, EXACT, ONE_BY_ONE, PLAIN, AttributionOptions
from ace_analysis.evaluation.attribution_agreement import agreement
from ace_analysis.evaluation.attribution_curves import Curves, CurveValues, curves_of
from ace_analysis.evaluation.attribution_methods import METHODS, ONE_PASS
from ace_analysis.evaluation.attribution_prompts import AttributionPrompt
from ace_analysis.evaluation.attribution_records import Records
from ace_analysis.evaluation.statistics import Interval

Row = dict[str, Any]


def report_of(
    records: Records, prompts: Sequence[AttributionPrompt], options: AttributionOptions
) -> dict[str, Any]:
    """What the records say of these texts. A text without its exact effects counts for nothing."""
    plain = {prompt.name: records.get(prompt.name, PLAIN) for prompt in prompts}
    names = [name for name, row in plain.items() if row is not None]
    return {
        "prompts": len(names),
        "projects": len({prompt.project for prompt in prompts if prompt.name in names}),
        "tokens": _median([row["tokens"] for row in plain.values() if row]),
        "nodes": _median([len(row["nodes"]) for row in plain.values() if row]),
        "plain_seconds": _median([row["seconds"] for row in plain.values() if row]),
        "agreement": {how: _agreement(records, names, how, options, "effects") for how in options.hows},
        "agreement_linear": {how: _agreement(records, names, how, options, "linear") for how in options.hows},
        "cost": _costs(records, names, options),
        "speed": _speed(records, names),
        "curves_of": options.curve_how,
        "curves": _curves(records, names, options),
    }


def _agreement(
    records: Records, names: Sequence[str], how: str, options: AttributionOptions, truth: str
) -> Row:
    """Method to group to correlations with the exact effects: real ones, or on the target's linear form.

    By the real ones, that linear form is a method, too.
    """
    found: Row = {}
    for method in (*options.methods, *([LINEAR] if truth == "effects" else [])):
        effects, scores, heads = [], [], []
        for name in names:
            exact, plain = records.get(name, EXACT, how), records.get(name, PLAIN)
            row = exact if method == LINEAR else records.get(name, method, how)
            if exact is not None and plain is not None and row is not None:
                effects.append(exact[truth])
                scores.append(row["linear" if method == LINEAR else "scores"])
                heads.append(plain["is_head"])
        if effects:
            groups = agreement(effects, scores, heads)
            told = {group: _correlations(asdict(each)) for group, each in groups.items()}
            found[method] = {"prompts": len(effects), **told}
    return found


LINEAR = "exact, target linear"
"""Exact effects on the target's frozen form: what no method that is linear in the target can exceed."""


def _correlations(groups: dict[str, Row | None]) -> Row:
    return {name: None if each is None else Interval(**each).as_json() for name, each in groups.items()}


def _costs(records: Records, names: Sequence[str], options: AttributionOptions) -> Row:
    """Seconds, and plain forward passes over the same text, against zero; medians over texts."""
    found: Row = {}
    for part in (EXACT, ONE_BY_ONE, *options.methods):
        pairs = []
        for name in names:
            row, plain = records.get(name, part, "zero"), records.get(name, PLAIN)
            if row is not None and plain is not None:
                pairs.append((row["seconds"], row["seconds"] / plain["seconds"]))
        if pairs:
            seconds, passes = (_median(column) for column in zip(*pairs, strict=True))
            found[part] = {"prompts": len(pairs), "seconds": seconds, "forward_passes": passes}
    return found


def _speed(records: Records, names: Sequence[str]) -> Row:
    """The one-pass beside a plain forward, and exact patching beside the one-pass; each on one text."""

    def ratio(of: str, to: str, to_how: str = "zero") -> float | None:
        values = []
        for name in names:
            first = records.get(name, of, "zero")
            second = records.get(name, to, to_how)
            if first is not None and second is not None:
                values.append(first["seconds"] / second["seconds"])
        return _median(values)

    return {
        "one_pass_in_forward_passes": ratio(ONE_PASS, PLAIN, ""),
        "exact_batched_beside_one_pass": ratio(EXACT, ONE_PASS),
        "exact_one_by_one_beside_one_pass": ratio(ONE_BY_ONE, ONE_PASS),
    }


def _curves(records: Records, names: Sequence[str], options: AttributionOptions) -> Row:
    found: Row = {}
    for method in (EXACT, *METHODS, "random"):
        values = []
        for name in names:
            row = records.get(name, CURVE + method, options.curve_how or "")
            if row is not None:
                values.append(CurveValues(tuple(row["by_push"]), tuple(row["by_size"])))
        if values:
            found[method] = {"prompts": len(values), **_curve(curves_of(values))}
    return found


def _curve(curves: Curves) -> Row:
    return {
        "shares": list(curves.shares),
        "by_push": list(curves.by_push),
        "by_size": list(curves.by_size),
        "cpr": curves.cpr.as_json(),
        "cmd": curves.cmd.as_json(),
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
