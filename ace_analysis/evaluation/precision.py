"""What rounding a model's weights does to the scores of its heads, MLPs and edges.

A cheap background is of use if the ranking of a model's parts stays what it is in full precision, so ranks
are compared, and sizes too. PAHQ's claim (arXiv 2510.23264 §4) is that keeping a head exact saves that head's
own score; so some heads are scored each in focus, and beside it as they come out without. Bytes and time are
those of the same run. Time is the process' own: seconds on the clock compare nothing on a shared machine.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.edges import eap_edges
from ace_analysis.decomposition.nodes import Head, Node
from ace_analysis.decomposition.patching import ablate
from ace_analysis.decomposition.relp import one_pass
from ace_analysis.decomposition.targets import Target
from ace_analysis.errors import InputError, SettingsError
from ace_analysis.evaluation.attribution_agreement import correlations
from ace_analysis.model.disk import Progress, silent
from ace_analysis.model.scan import never
from ace_analysis.quantization import PAHQQuantizer, QuantizationConfig, QuantizationReport
from ace_analysis.quantization.config import PRECISIONS, Scales

EXACT, ONE_PASS, EDGES = "exact ablation", "one-pass", "EAP edges"
ROUNDED, IN_FOCUS = "some heads, rounded", "the same heads, each in focus"
"""What is measured. The last two are exact ablations, of `PrecisionOptions.heads` heads of each case."""

Numbers = NDArray[np.float64]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionCase:
    """A text, and the number in it that is explained."""

    ids: Int[Tensor, "..."]
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionOptions:
    """What is compared.

    Attributes:
        backgrounds: short names of formats, see quantization/config.py.
        scales: of fp8 and int8.
        heads: how many heads of each case are scored in focus, spread evenly over their ranking; 0: none.
        edges: whether EAP's scores of edges are compared, too.
    """

    backgrounds: tuple[str, ...] = ("bf16", "fp16", "fp8", "int8")
    scales: Scales = "channel"
    heads: int = 14
    edges: bool = True

    def __post_init__(self) -> None:
        for name in self.backgrounds:
            if name not in PRECISIONS:
                raise SettingsError(f"expected backgrounds among {', '.join(PRECISIONS)}, got {name!r}")
        if self.heads < 0:
            raise SettingsError(f"expected a number of heads from 0 up, got {self.heads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How scores agree with the reference's: means over cases, scores that are exactly 0 there left out.

    Attributes:
        spearman, pearson: correlations of ranks and of sizes; None where no case has three scores.
        lowest_spearman: that of the worst case.
        error: the mean difference, beside the mean size of the reference's scores.
        scores: how many were compared, in all cases together.
    """

    spearman: float | None
    pearson: float | None
    lowest_spearman: float | None
    error: float
    scores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRow:
    """One background beside the reference. `seconds` are the process', by method, over all cases."""

    quantization: QuantizationReport
    agreement: dict[str, Agreement]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionReport:
    """All backgrounds; `seconds` are the reference's."""

    cases: int
    tokens: int
    seconds: dict[str, float]
    rows: tuple[PrecisionRow, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True, eq=False)
class _Measured:
    """Each case's scores by method, its nodes, and the seconds that each method took."""

    scores: dict[str, list[Numbers]] = field(default_factory=dict)
    nodes: list[tuple[Node, ...]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, method: str) -> Iterator[list[Numbers]]:
        """Takes the time of a block that appends a case's scores."""
        started = time.process_time()
        yield self.scores.setdefault(method, [])
        self.seconds[method] = self.seconds.get(method, 0.0) + time.process_time() - started


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """What all measurements of a run share."""

    model: Any
    cases: Sequence[PrecisionCase]
    options: PrecisionOptions
    cancelled: Cancelled

    def measure(self) -> _Measured:
        """All nodes and edges, on the model as it is now."""
        measured, anatomy = _Measured(), Anatomy.of(self.model)
        for case in self.cases:
            with measured.timed(EXACT) as scores:
                found = ablate(self.model, case.ids, None, case.target, cancelled=self.cancelled)
                scores.append(_numbers(found.effects))
            measured.nodes.append(found.nodes)
            with measured.timed(ONE_PASS) as scores:
                shares = one_pass(anatomy, case.ids, case.target, cancelled=self.cancelled)
                scores.append(_numbers([shares[node] for node in found.nodes]))
            if self.options.edges:
                with measured.timed(EDGES) as scores:
                    edges = eap_edges(self.model, case.ids, case.target, cancelled=self.cancelled)
                    scores.append(_numbers(torch.cat([edges.between.flatten(), edges.to_target])))
        return measured

    def measure_in_focus(self, pahq: PAHQQuantizer, chosen: Sequence[Sequence[Head]]) -> _Measured:
        """Each chosen head of each case while it is exact."""
        measured = _Measured()
        for case, heads in zip(self.cases, chosen, strict=True):
            with measured.timed(IN_FOCUS) as scores:
                scores.append(_numbers([self._in_focus(pahq, case, head) for head in heads]))
        return measured

    def _in_focus(self, pahq: PAHQQuantizer, case: PrecisionCase, head: Head) -> float:
        with pahq.focus_on_head(head.layer, head.head):
            found = ablate(self.model, case.ids, [head], case.target, cancelled=self.cancelled)
        return float(found.effects[0])


def measure_precision(
    model: Any,
    cases: Sequence[PrecisionCase],
    options: PrecisionOptions | None = None,
    *,
    progress: Progress = silent,
    cancelled: Cancelled = never,
) -> PrecisionReport:
    """Score all upstream nodes of some cases with each background, and without one.

    Args:
        model: from `load_scanner` or `load_hooked_model`, loaded as wide as the reference is to be. It is
            given back bit for bit.
        cases: texts with their targets.
        options: which backgrounds, and how much of each.
        progress: told what is being measured.
        cancelled: asked before each block.

    Raises:
        InputError: there is no case.
        SettingsError: a background that does not go with the model's precision.
        Cancelled: when `cancelled()` turned true; the model is given back all the same.
    """
    options = options or PrecisionOptions()
    if not cases:
        raise InputError("expected at least one case to measure, got none")
    bench, wide = _Bench(model, cases, options, cancelled), Anatomy.of(model).dtype
    configs = [QuantizationConfig(wide, PRECISIONS[name], options.scales) for name in options.backgrounds]
    progress("scoring in full precision", 0.0)
    reference = bench.measure()
    rows = []
    for number, (name, config) in enumerate(zip(options.backgrounds, configs, strict=True), start=1):
        progress(f"scoring with a background in {name}", number / (len(configs) + 1))
        rows.append(_row(bench, reference, config))
    return PrecisionReport(
        cases=len(cases),
        tokens=sum(case.ids.numel() for case in cases),
        seconds=reference.seconds,
        rows=tuple(rows),
    )


def agreement(reference: Sequence[ArrayLike], found: Sequence[ArrayLike]) -> Agreement:
    """How the scores of some cases agree with the reference's, case by case.

    Raises:
        InputError: a case has another number of scores than its reference.
    """
    pairs = [(_numbers(first), _numbers(second)) for first, second in zip(reference, found, strict=True)]
    agreed = [each for pair in pairs if (each := correlations(*pair)) is not None]
    whole = sum(float(np.abs(first).sum()) for first, _ in pairs)
    lost = sum(float(np.abs(first - second).sum()) for first, second in pairs)
    return Agreement(
        spearman=float(np.mean([ranks for _, ranks in agreed])) if agreed else None,
        pearson=float(np.mean([sizes for sizes, _ in agreed])) if agreed else None,
        lowest_spearman=min((ranks for _, ranks in agreed), default=None),
        error=lost / whole if whole else 0.0,
        scores=sum(int(np.count_nonzero(first)) for first, _ in pairs),
    )


def _row(bench: _Bench, reference: _Measured, config: QuantizationConfig) -> PrecisionRow:
    pahq = PAHQQuantizer(bench.model, config)
    report = pahq.quantize_background()
    try:
        rounded = bench.measure()
        agreed = {name: agreement(reference.scores[name], found) for name, found in rounded.scores.items()}
        if bench.options.heads:
            agreed |= _in_focus(bench, pahq, reference, rounded)
    finally:
        pahq.restore()
    return PrecisionRow(quantization=report, agreement=agreed, seconds=rounded.seconds)


def _in_focus(
    bench: _Bench, pahq: PAHQQuantizer, reference: _Measured, rounded: _Measured
) -> dict[str, Agreement]:
    """Some heads of each case, scored each in focus, and as they were scored without."""
    exact, without, chosen = [], [], []
    for nodes, clean, scores in zip(
        reference.nodes, reference.scores[EXACT], rounded.scores[EXACT], strict=True
    ):
        places = _spread(nodes, clean, bench.options.heads)
        chosen.append([node for at in places if isinstance(node := nodes[at], Head)])
        exact.append(clean[places])
        without.append(scores[places])
    focused = bench.measure_in_focus(pahq, chosen)
    rounded.seconds |= focused.seconds
    return {
        ROUNDED: agreement(exact, without),
        IN_FOCUS: agreement(exact, focused.scores[IN_FOCUS]),
    }


def _spread(nodes: Sequence[Node], scores: Numbers, count: int) -> list[int]:
    """Places of at most `count` heads, evenly spread from the one with the largest score to the smallest."""
    heads = [at for at, node in enumerate(nodes) if isinstance(node, Head)]
    ranked = sorted(heads, key=lambda at: -abs(scores[at]))
    steps = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[step] for step in steps.tolist()]


def _numbers(values: Tensor | ArrayLike) -> Numbers:
    return np.asarray(values.cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
