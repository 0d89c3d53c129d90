"""How much of a target the best nodes keep when all others are ablated: faithfulness curves, CPR and CMD.

After MIB (Mueller et al. 2025, arXiv:2504.13151, §3), on nodes instead of edges: nodes are ranked, the first
share of them is kept, all others are ablated together. Faithfulness is (m(kept) - m(none)) / (m(all) -
m(none)), over a set of texts as a ratio of sums. CPR is the area under the curve when nodes that push the
target its own way come first (higher is better); CMD the area between the curve and 1 when nodes come by size
(lower is better).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ace_analysis.decomposition.ablator import Ablator, Part
from ace_analysis.errors import InputError
from ace_analysis.evaluation.statistics import Interval, Resampling
from ace_analysis.model.scan import never

FloatArray = NDArray[np.float64]

SHARES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class CurveValues:
    """One text's target at each of SHARES, nodes ranked by push and by size."""

    by_push: tuple[float, ...]
    by_size: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Over all texts: faithfulness at each share, and the areas."""

    shares: tuple[float, ...]
    by_push: tuple[float, ...]
    by_size: tuple[float, ...]
    cpr: Interval
    cmd: Interval


def kept_counts(n_nodes: int) -> list[int]:
    """How many nodes are kept at each share: one at least, but for the first."""
    return [0 if share == 0 else max(1, round(share * n_nodes)) for share in SHARES]


def curve_values(
    prepared: Ablator,
    nodes: Sequence[Part],
    scores: Float[Tensor, " node"],
    *,
    cancelled: Callable[[], bool] = never,
) -> CurveValues:
    """Ablate all but the best nodes, at each share, in one batch.

    Raises:
        Cancelled: the caller asked to stop.
    """
    both, _ = prepared.values([(), nodes], cancelled=cancelled)
    whole, none = both.tolist()
    push = scores if whole >= none else -scores
    orders = [order.argsort(descending=True, stable=True).tolist() for order in (push, scores.abs())]
    counts = kept_counts(len(nodes))
    wanted = [frozenset(nodes[at] for at in order[count:]) for order in orders for count in counts]
    distinct = list(dict.fromkeys(each for each in wanted if each and len(each) < len(nodes)))
    values, _ = prepared.values(distinct, cancelled=cancelled)
    of = {frozenset(): whole, frozenset(nodes): none, **dict(zip(distinct, values.tolist(), strict=True))}
    reached = [of[each] for each in wanted]
    return CurveValues(tuple(reached[: len(counts)]), tuple(reached[len(counts) :]))


def curves_of(values: Sequence[CurveValues], resampling: Resampling | None = None) -> Curves:
    """Faithfulness over texts, and the areas with intervals over texts.

    Raises:
        InputError: no texts.
    """
    if not values:
        raise InputError("a curve needs at least one text, got none")
    options = resampling or Resampling()
    push, size = (np.array([getattr(each, name) for each in values]) for name in ("by_push", "by_size"))
    rng = np.random.default_rng(options.seed)
    draws = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=options.resamples)
    everything = np.ones(len(values))

    def interval(area: Callable[[FloatArray], float], table: FloatArray) -> Interval:
        value = area(_faithfulness(table, everything))
        if len(values) < 2:
            return Interval(value, np.nan, np.nan)
        drawn = [area(_faithfulness(table, draw.astype(np.float64))) for draw in draws]
        tail = 50 * (1 - options.confidence)
        low, high = np.nanpercentile(drawn, [tail, 100 - tail])
        return Interval(value, float(low), float(high))

    return Curves(
        shares=SHARES,
        by_push=tuple(_faithfulness(push, everything).tolist()),
        by_size=tuple(_faithfulness(size, everything).tolist()),
        cpr=interval(lambda curve: float(np.trapezoid(curve, SHARES)), push),
        cmd=interval(lambda curve: float(np.trapezoid(np.abs(1 - curve), SHARES)), size),
    )


def _faithfulness(values: FloatArray, weights: FloatArray) -> FloatArray:
    """At each share, over texts; each counted so that its whole lies above its nothing."""
    gained = values - values[:, :1]
    signs = np.where(gained[:, -1] >= 0, 1.0, -1.0) * weights
    whole = float(signs @ gained[:, -1])
    return (signs @ gained) / whole if whole > 0 else np.full(values.shape[1], np.nan)
