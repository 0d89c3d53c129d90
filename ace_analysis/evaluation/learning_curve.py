"""How detection grows with the number of planted bugs that the readout is fitted on.

The sparse coder stays; only the readout is fitted anew, on all training functions, on half of them, and so
on. A curve that still rises at its end says that more data is worth its time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ace_analysis.evaluation.detection import ALL, Detection, measure_detection
from ace_analysis.evaluation.statistics import Resampling
from ace_analysis.features.harvest import Progress
from ace_analysis.features.positions import DEFAULT_SLOTS
from ace_analysis.features.readout import ReadoutOptions, fit_readout, logits
from ace_analysis.features.table import SiteTable
from ace_analysis.model.scan import never

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
_SCORER = "sparse features"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveOptions:
    """`shares` of the training functions, in (0, 1]; `slots` are the tables'."""

    shares: tuple[float, ...] = SHARES
    slots: tuple[int | str, ...] = DEFAULT_SLOTS
    readout: ReadoutOptions = field(default_factory=ReadoutOptions)
    resampling: Resampling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """`functions` and `mutants` that the readout saw, and what it then reached on held-out projects."""

    functions: int
    mutants: int
    detection: Detection


def learning_curve(
    train: SiteTable,
    test: SiteTable,
    options: CurveOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> tuple[CurvePoint, ...]:
    """Fit on growing shares of the training functions, each holding the ones before, and measure each.

    Args:
        train: sites of training projects.
        test: sites of held-out projects whose mutants are whole.

    Raises:
        Cancelled: the caller asked to stop.
    """
    options = options or CurveOptions()
    order = np.random.default_rng(0).permutation(len(train.projects))
    points: list[CurvePoint] = []
    for number, share in enumerate(sorted(options.shares)):
        if progress is not None:
            progress(f"learning curve: {share:.0%} of the functions", number / len(options.shares))
        chosen = order[: max(1, round(share * len(order)))]
        rows = np.flatnonzero(np.isin(train.function, chosen))
        fitted = fit_readout(train, options.readout, rows=rows, slots=options.slots, cancelled=cancelled)
        scores = np.nan_to_num(logits(test, fitted), nan=-np.inf)
        report = measure_detection(test, {_SCORER: scores}, options.resampling)
        points.append(
            CurvePoint(
                functions=len(chosen),
                mutants=int(np.isin(train.bugs, rows).sum()),
                detection=report.samples[0].part(ALL).scorers[_SCORER],
            )
        )
    return tuple(points)
