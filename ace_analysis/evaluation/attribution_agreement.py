"""How well scores agree with exact effects: correlations over a text's nodes, with intervals over texts.

Pearson's asks for the sizes, Spearman's for the order. Nodes whose ablation changes nothing at all (what a
counterfactual leaves as it was) are left out: agreeing about them is no merit. A few nodes of a real model
move a target by far more than all others together, and decide Pearson's alone, so heads and MLPs are also
told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ace_analysis.errors import InputError
from ace_analysis.evaluation.statistics import Interval, mean

FloatArray = NDArray[np.float64]

GROUPS = ("all", "heads", "mlps")
FEWEST = 3
NOTHING = 1e-7
"""An effect below this share of the largest is none, and some rounding."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Means over texts; None where no text had enough nodes with an effect."""

    pearson: Interval | None
    spearman: Interval | None


def correlations(effects: ArrayLike, scores: ArrayLike) -> tuple[float, float] | None:
    """Pearson's and Spearman's over the nodes with an effect; None where they are fewer than three.

    Scores that are all the same agree with nothing: 0.
    """
    truth, found = np.asarray(effects, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.shape != found.shape or truth.ndim != 1:
        raise InputError(f"expected a score for each effect, got {truth.shape} and {found.shape}")
    counts = np.abs(truth) > NOTHING * np.abs(truth).max(initial=0.0)
    truth, found = truth[counts], found[counts]
    if len(truth) < FEWEST:
        return None
    ranks = (stats.rankdata(values) for values in (truth, found))
    return _pearson(truth, found), _pearson(*ranks)


def _pearson(first: FloatArray, second: FloatArray) -> float:
    first, second = first - first.mean(), second - second.mean()
    sizes = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / sizes if sizes > 0 else 0.0


def agreement(
    effects: Sequence[ArrayLike], scores: Sequence[ArrayLike], is_head: Sequence[ArrayLike]
) -> dict[str, Agreement]:
    """Of all nodes, of heads and of MLPs. An entry for each text."""
    found: dict[str, Agreement] = {}
    for group in GROUPS:
        pairs = []
        for truth, score, heads in zip(effects, scores, is_head, strict=True):
            chosen = np.asarray(heads, dtype=bool)
            chosen = {"all": np.ones_like(chosen), "heads": chosen, "mlps": ~chosen}[group]
            pair = correlations(np.asarray(truth)[chosen], np.asarray(score)[chosen])
            if pair is not None:
                pairs.append(pair)
        labels = np.arange(len(pairs))
        both = [mean([pair[at] for pair in pairs], labels) if pairs else None for at in (0, 1)]
        found[group] = Agreement(both[0], both[1])
    return found
