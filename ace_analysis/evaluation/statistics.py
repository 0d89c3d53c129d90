"""How good site scores are, with intervals that admit how few projects they were measured on.

Every interval comes from drawing whole clusters (projects or functions) again: sites of one function, and
functions of one project, are not independent. Thresholds are set anew in each draw, so that their uncertainty
is in the interval too. Tied scores count as their average over random orders: a constant score is chance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ace_analysis.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Labels = Sequence[str] | NDArray
"""The cluster of each observation: a project's or a function's name, or a number."""

LINES_PER_RATE = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value, and where it lies with 95 % confidence; nan bounds for a single cluster."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_json(self) -> dict[str, float | None]:
        """`value`, `low` and `high`; null where one is not a number."""
        bounds = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(bound) else bound for name, bound in bounds.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0


def site_auroc(
    scores: ArrayLike, is_bug: ArrayLike, labels: Labels, resampling: Resampling | None = None
) -> Interval:
    """The chance that a wrong site scores above a right one, over all sites together."""
    scores, is_bug = _scores(scores), _flags(is_bug)
    _same_length(scores=scores, is_bug=is_bug, labels=labels)
    if is_bug.all() or not is_bug.any():
        raise InputError("an AUROC needs wrong sites and right sites, got only one sort")
    codes, n_clusters = _codes(labels)
    order = np.argsort(scores, kind="stable")
    ranked, bug, code = scores[order], is_bug[order], codes[order]
    below = np.searchsorted(ranked, ranked[bug], side="left")
    up_to = np.searchsorted(ranked, ranked[bug], side="right")

    def statistic(weights: FloatArray) -> float:
        weight = weights[code]
        right = np.concatenate([[0.0], np.cumsum(np.where(bug, 0.0, weight))])
        wins = weight[bug] @ (right[below] + right[up_to]) / 2
        return _ratio(wins, weight[bug].sum() * right[-1])

    return _interval(statistic, n_clusters, resampling)


def top_k(
    scores: ArrayLike,
    is_bug: ArrayLike,
    texts: Labels,
    k: int,
    labels: Labels,
    resampling: Resampling | None = None,
) -> Interval:
    """In which share of the texts the wrong site is among the k best; texts without one are left out."""
    scores, is_bug = _scores(scores), _flags(is_bug)
    _same_length(scores=scores, is_bug=is_bug, texts=texts, labels=labels)
    text, n_texts = _codes(texts)
    bugs = np.bincount(text, weights=is_bug, minlength=n_texts)
    if bugs.max(initial=0) > 1:
        raise InputError("top_k needs at most one wrong site in a text, got more")
    if not is_bug.any():
        raise InputError("top_k needs texts with a wrong site, got none")
    bug_score = np.full(n_texts, np.nan)
    bug_score[text[is_bug]] = scores[is_bug]
    above = np.bincount(text, weights=scores > bug_score[text], minlength=n_texts)
    tied = np.bincount(text, weights=scores == bug_score[text], minlength=n_texts)
    rows = text[is_bug]
    hits = np.clip((k - above[rows]) / tied[rows], 0.0, 1.0)
    return mean(hits, np.asarray(labels)[is_bug], resampling)


def pair_accuracy(
    buggy: ArrayLike, clean: ArrayLike, labels: Labels, resampling: Resampling | None = None
) -> Interval:
    """How often the mutated site scores above the original site of the same pair."""
    buggy, clean = _scores(buggy), _scores(clean)
    _same_length(buggy=buggy, clean=clean, labels=labels)
    return mean((buggy > clean) + 0.5 * (buggy == clean), labels, resampling)


def mean(values: ArrayLike, labels: Labels, resampling: Resampling | None = None) -> Interval:
    """The mean over observations."""
    values = _scores(values)
    _same_length(values=values, labels=labels)
    if not len(values):
        raise InputError("a mean needs at least one value, got none")
    codes, n_clusters = _codes(labels)
    totals = np.bincount(codes, weights=values, minlength=n_clusters)
    counts = np.bincount(codes, minlength=n_clusters)
    return _interval(lambda weights: _ratio(weights @ totals, weights @ counts), n_clusters, resampling)


def ratio(
    parts: ArrayLike, wholes: ArrayLike, labels: Labels, resampling: Resampling | None = None
) -> Interval:
    """The sum of `parts` by the sum of `wholes`."""
    parts, wholes = _scores(parts), _scores(wholes)
    _same_length(parts=parts, wholes=wholes, labels=labels)
    if not len(parts):
        raise InputError("a ratio needs at least one observation, got none")
    codes, n_clusters = _codes(labels)
    part, whole = (np.bincount(codes, weights=each, minlength=n_clusters) for each in (parts, wholes))
    return _interval(lambda weights: _ratio(weights @ part, weights @ whole), n_clusters, resampling)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CleanLines:
    """Lines of clean code, and what could be shown there: at most one alarm for each line.

    `scores` and `labels` have an entry per alarm; `lines` counts all lines of each cluster, with or without.
    """

    scores: FloatArray
    labels: NDArray
    lines: dict[str, int]

    @classmethod
    def of(cls, scores: ArrayLike, texts: Labels, lines: ArrayLike, cleans: "CleanTexts") -> "CleanLines":
        """From all sites of clean texts: the score, the text and the line number of each."""
        scores = _scores(scores)
        _same_length(scores=scores, texts=texts, lines=np.asarray(lines))
        names = np.asarray(texts).astype(str)
        unknown = sorted(set(names.tolist()) - set(cleans.label))
        if unknown:
            raise InputError(f"each site needs a text whose lines are counted, got {unknown[0]!r}")
        text, _ = _codes(names)
        line = np.asarray(lines, dtype=np.intp)
        places, place = np.unique(np.stack([text, line]), axis=1, return_inverse=True)
        best = np.full(places.shape[1], -np.inf)
        np.maximum.at(best, place.ravel(), scores)
        label_of = np.array([cleans.label[name] for name in np.unique(names).tolist()])
        return cls(
            scores=best, labels=label_of[places[0]] if len(label_of) else names, lines=cleans.by_label()
        )

    @property
    def total(self) -> int:
        return sum(self.lines.values())

    def threshold(self, rate: float) -> float:
        """The lowest score such that exceeding it gives at most `rate` false alarms per 100 lines."""
        _check_rate(rate)
        allowed = int(rate * self.total / LINES_PER_RATE + 1e-9)
        if allowed >= len(self.scores):
            return -np.inf
        return float(np.sort(self.scores)[::-1][allowed])

    def rate(self, threshold: float) -> float:
        """False alarms per 100 lines of alarms that exceed a threshold."""
        return _ratio(LINES_PER_RATE * float((self.scores > threshold).sum()), self.total)


@dataclass(frozen=True, slots=True)
class CleanTexts:
    """Of each clean text, by name: how many lines it has, and the cluster that it belongs to."""

    lines: dict[str, int]
    label: dict[str, str]

    def by_label(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for name, count in self.lines.items():
            sums[self.label[name]] = sums.get(self.label[name], 0) + count
        return sums


def recall_at(
    rate: float, bugs: ArrayLike, labels: Labels, clean: CleanLines, resampling: Resampling | None = None
) -> Interval:
    """Share of the bugs whose score exceeds the threshold for `rate` false alarms per 100 clean lines."""
    bugs = _scores(bugs)
    _same_length(bugs=bugs, labels=labels)
    _check_rate(rate)
    if not len(bugs) or not clean.total:
        raise InputError("recall needs at least one bug and one line of clean code, got none")
    names = [*np.asarray(labels).astype(str), *clean.labels.astype(str), *clean.lines]
    codes, n_clusters = _codes(names)
    bug, alarm, _ = np.split(codes, np.cumsum([len(bugs), len(clean.scores)]))
    lines = np.zeros(n_clusters)
    lines[codes[len(bugs) + len(clean.scores) :]] = list(clean.lines.values())
    order = np.argsort(-clean.scores, kind="stable")
    ranked, alarm = clean.scores[order], alarm[order]

    def statistic(weights: FloatArray) -> float:
        allowed = rate * (weights @ lines) / LINES_PER_RATE + 1e-9
        first = int(np.searchsorted(np.cumsum(weights[alarm]), allowed, side="right"))
        threshold = ranked[first] if first < len(ranked) else -np.inf
        weight = weights[bug]
        return _ratio(weight[bugs > threshold].sum(), weight.sum())

    return _interval(statistic, n_clusters, resampling)


def _interval(
    statistic: Callable[[FloatArray], float], n_clusters: int, resampling: Resampling | None
) -> Interval:
    """The value with each cluster once, and percentiles of the values with clusters drawn again."""
    options = resampling or Resampling()
    value = statistic(np.ones(n_clusters))
    if n_clusters < 2 or options.resamples < 1:
        return Interval(value, np.nan, np.nan)
    rng = np.random.default_rng(options.seed)
    draws = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=options.resamples)
    values = np.array([statistic(draw.astype(np.float64)) for draw in draws])
    tail = 50 * (1 - options.confidence)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def _ratio(part: float | FloatArray, whole: float | FloatArray) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _scores(values: ArrayLike) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or np.isnan(found).any():
        raise InputError("scores have to be one list of numbers without nan")
    return found


def _flags(values: ArrayLike) -> NDArray[np.bool_]:
    return np.asarray(values, dtype=bool)


def _codes(labels: Labels) -> tuple[IntArray, int]:
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    return codes, len(names)


def _check_rate(rate: float) -> None:
    if not rate > 0:
        raise InputError(f"a rate of false alarms per {LINES_PER_RATE} lines has to be above 0, got {rate}")


def _same_length(**columns: Sequence | NDArray) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"expected one entry per observation, got {lengths}")
