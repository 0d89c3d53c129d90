"""`ace bench attribution`: how well, and at what cost, each method says what exact ablation says.

For each text every upstream head and MLP is really ablated, then every method scores the same nodes. Costs
are seconds of the same process, and plain forward passes over the same text, measured beside them: seconds
of another day or another load say nothing. Each piece is kept as soon as it is there, see
attribution_records.py.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ace_analysis.decomposition.nodes import Head
from ace_analysis.decomposition.patching import HOWS, How, ablate, prepare
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.attribution_curves import curve_values
from ace_analysis.evaluation.attribution_methods import FAST, METHODS, Case, score
from ace_analysis.evaluation.attribution_prompts import AttributionPrompt
from ace_analysis.evaluation.attribution_records import Records
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.scan import never

Progress = Callable[[str, float | None], None]
Plain = Callable[[Int[Tensor, "1 pos"]], Any]

PLAIN, EXACT, ONE_BY_ONE, CURVE, RANDOM = "plain forward", "exact", "one by one", "curve: ", "random"
ROUNDS = 3
TIMED = 12
"""Texts on which what is fast is timed ROUNDS times. Costs are told of zero ablation alone, and neither what
takes long nor a thirteenth text needs a second look."""
STOPPED = "the measurement was cancelled by the caller; what was measured is kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionOptions:
    """What is measured on each text.

    Attributes:
        hows: the sorts of ablation, each with every method.
        methods: names of METHODS; slow ones run on the first `slow_prompts` texts, and against zero alone.
        slow_prompts: texts on which CD-T's rule sets run; each takes about two exact ablations.
        one_by_one: texts on which exact ablation is also timed as one whole pass for each node.
        curves: the sort of ablation of the faithfulness curves, or where it is not among `hows`, the first of
            those; None: no curves.
        curve_prompts: texts with curves; a text's take two to three times what its exact ablation does.
    """

    hows: tuple[How, ...] = HOWS
    methods: tuple[str, ...] = tuple(METHODS)
    slow_prompts: int = 8
    one_by_one: int = 2
    curves: How | None = "counterfactual"
    curve_prompts: int = 40

    def __post_init__(self) -> None:
        unknown = sorted({*self.methods} - {*METHODS})
        if unknown:
            raise InputError(f"methods: expected some of {', '.join(METHODS)}, got {unknown[0]!r}")
        if not self.hows or {*self.hows} - {*HOWS}:
            raise InputError(f"hows: expected some of {', '.join(HOWS)}, got {self.hows!r}")

    @property
    def curve_how(self) -> How | None:
        """The sort of ablation that curves are of."""
        return self.curves if self.curves is None or self.curves in self.hows else self.hows[0]


def hows_of(names: Sequence[str] | None) -> tuple[How, ...]:
    """The sorts of ablation by their names; all for none.

    Raises:
        InputError: a name that is none of them.
    """
    known: dict[str, How] = {how: how for how in HOWS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise InputError(f"how: expected one of {', '.join(HOWS)}, got {unknown[0]!r}")
    return tuple(known[name] for name in names) if names else HOWS


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A model, how it is run without anything else, and the bundle whose findings are explained."""

    model: Any
    plain: Plain
    bundle: Bundle


def measure_prompts(
    measured: Measured,
    prompts: Sequence[AttributionPrompt],
    records: Records,
    options: AttributionOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> None:
    """Measure what the records lack of these texts.

    Raises:
        Cancelled: the caller asked to stop; what was measured is kept.
    """
    options = options or AttributionOptions()
    for index, prompt in enumerate(prompts):
        case = Case(
            measured.model,
            torch.tensor([prompt.ids]),
            torch.tensor([prompt.counterfactual]),
            prompt.target(measured.bundle),
        )
        work = _Work(case, prompt, records, cancelled)
        for number, (message, step) in enumerate(_steps(work, measured.plain, index, options)):
            if progress is not None:
                progress(f"{prompt.name}: {message}", (index + number / 40) / len(prompts))
            step()


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    case: Case
    prompt: AttributionPrompt
    records: Records
    cancelled: Callable[[], bool]

    def do(self, part: str, how: str, run: Callable[[], dict[str, Any]]) -> Callable[[], None]:
        """A step that runs once, and not again where its record is there."""

        def step() -> None:
            if self.cancelled():
                raise Cancelled(STOPPED)
            if self.records.get(self.prompt.name, part, how) is not None:
                return
            try:
                values = run()
            except Cancelled as stopped:
                raise Cancelled(STOPPED) from stopped
            self.records.put(self.prompt.name, part, how, **values)

        return step


def _steps(
    work: _Work, plain: Plain, index: int, options: AttributionOptions
) -> list[tuple[str, Callable[[], None]]]:
    """Everything that is measured on one text, in order."""
    steps = [(PLAIN, work.do(PLAIN, "", lambda: _plain(work.case, plain)))]
    for how in options.hows:
        steps.append((f"{EXACT}, {how}", work.do(EXACT, how, lambda how=how: _exact(work, how))))
        for name in options.methods:
            if name in FAST or (how == "zero" and index < options.slow_prompts):
                rounds = ROUNDS if name in FAST and how == "zero" and index < TIMED else 1
                run = work.do(
                    name, how, lambda name=name, how=how, rounds=rounds: _scored(work, name, how, rounds)
                )
                steps.append((f"{name}, {how}", run))
    if index < options.one_by_one:
        steps.append((ONE_BY_ONE, work.do(ONE_BY_ONE, "zero", lambda: _one_by_one(work, plain))))
    how = options.curve_how
    if how is not None and index < options.curve_prompts:
        for name in (EXACT, RANDOM, *(each for each in options.methods if each in FAST)):
            run = work.do(CURVE + name, how, lambda name=name, how=how: _curve(work, name, how))
            steps.append((CURVE + name, run))
    return steps


def _plain(case: Case, plain: Plain) -> dict[str, Any]:
    nodes = case.nodes
    return {
        "nodes": [str(node) for node in nodes],
        "is_head": [isinstance(node, Head) for node in nodes],
        "tokens": case.ids.shape[1],
        "seconds": _seconds(lambda: plain(case.ids)),
    }


def _exact(work: _Work, how: How) -> dict[str, Any]:
    started = time.perf_counter()
    case = work.case
    found = ablate(case.model, case.ids, None, case.target, case.ablation(how), cancelled=work.cancelled)
    return {
        "seconds": time.perf_counter() - started,
        "clean": found.clean,
        "effects": found.effects.tolist(),
        "linear": found.linear_effects.tolist(),
    }


def _scored(work: _Work, name: str, how: How, rounds: int) -> dict[str, Any]:
    scores: list[Tensor] = []

    def run() -> None:
        scores.append(score(name, work.case, how, cancelled=work.cancelled))

    return {"seconds": _seconds(run, rounds), "scores": scores[-1].tolist()}


def _one_by_one(work: _Work, plain: Plain) -> dict[str, Any]:
    """The usual way: a whole pass of the text for each node."""
    case = work.case
    prepared = prepare(case.model, case.ids, case.target)
    started = time.perf_counter()
    for node in case.nodes:
        if work.cancelled():
            raise Cancelled(STOPPED)
        with prepared.changes([(node,)]):
            plain(case.ids)
    return {"seconds": time.perf_counter() - started}


def _curve(work: _Work, name: str, how: How) -> dict[str, Any]:
    case = work.case
    record = work.records.get(work.prompt.name, name, how)
    if name == RANDOM:
        rng = random.Random(work.prompt.name)
        scores = torch.tensor([rng.uniform(-1, 1) for _ in case.nodes])
    else:
        scores = torch.tensor((record or {})["effects" if name == EXACT else "scores"])
    prepared = prepare(case.model, case.ids, case.target, case.ablation(how), cancelled=work.cancelled)
    found = curve_values(prepared, case.nodes, scores, cancelled=work.cancelled)
    return {"by_push": list(found.by_push), "by_size": list(found.by_size)}


def _seconds(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The median of some runs."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
