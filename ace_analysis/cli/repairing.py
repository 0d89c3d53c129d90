"""What `ace bench repair` runs, told as plain data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ace_analysis.engine import Engine
from ace_analysis.errors import InputError
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair import Arm, Attempt, attempt, failing, summary
from ace_analysis.evaluation.repair_arms import (
    Prompt,
    ShippedArm,
    Steering,
    Together,
    WrittenArm,
    pipeline_identity,
)
from ace_analysis.evaluation.repair_tasks import Half, RepairTask, read_clean, read_tasks
from ace_analysis.evaluation.repair_whole import FoundPlace, measure_corruption, measure_end_to_end
from ace_analysis.evaluation.sandbox import Sandbox
from ace_analysis.settings import cache_dir, load_settings
from ace_analysis.source.document import CodeDocument
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.vector import SteeringVector

Progress = Callable[[str, float | None], None]

VERSION = 1
PROMPTS: tuple[Prompt, ...] = ("unsteered", "told", "asked")
PLAIN_ARMS = ("shipped", *PROMPTS)
BASE = "unsteered"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequestOptions:
    """What the command line asks for; see `ace bench repair --help`."""

    data: Path
    sets: tuple[str, ...]
    arms: tuple[str, ...] = PLAIN_ARMS
    vectors: tuple[Path, ...] = ()
    strengths: tuple[float, ...] = (1.0,)
    half: str | None = Half.REPORT.value
    tasks: int = 40
    clean: int = 0
    end_to_end: bool = False
    candidates: int = 5
    keep: Path | None = None

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in PLAIN_ARMS:
                raise InputError(f"expected arms among {', '.join(PLAIN_ARMS)}, got {arm!r}")
        if self.half is not None and self.half not in tuple(Half):
            raise InputError(f"expected a half of report, validation or all, got {self.half!r}")
        if not self.sets or not (self.arms or self.vectors):
            raise InputError("expected at least one set and one arm, got none")


class EnginePipeline:
    """A scan and the first fix of each finding, as an editor asks for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.identity = pipeline_identity(engine)

    def places(self, text: str) -> Sequence[FoundPlace]:
        document = CodeDocument(uri="file:///program.py", text=text)
        found: list[FoundPlace] = []
        for report in self._engine.scan(document):
            for finding in report.findings:
                fixes = self._engine.fix(document, finding.span)
                line = text.count("\n", 0, finding.span.start)
                found.append(FoundPlace(line, fixes[0].applied_to(text) if fixes else None))
        return found


def run_repair(request: RepairRequestOptions, progress: Progress) -> dict[str, Any]:
    """Every set with every arm, and what was asked for of the whole pipeline."""
    half = None if request.half is None else Half(request.half)
    read = {name: read_tasks(request.data, name, half) for name in request.sets}
    folder = request.keep or cache_dir() / "bench-repair"
    ledger = Ledger(folder / "offered.jsonl")
    sandbox = Sandbox(ledger=Ledger(folder / "runs.jsonl"))
    notes: list[str] = []
    tasks: dict[str, list[RepairTask]] = {}
    for name, found in read.items():
        progress(f"{name}: which tests notice their bugs", None)
        tasks[name], unnoticed = failing(found.tasks[: request.tasks], sandbox)
        reasons = {**found.left_out, **({"tests do not tell": unnoticed} if unnoticed else {})}
        if reasons:
            notes.append(f"{name}: left out: {', '.join(f'{n} {why}' for why, n in reasons.items())}")
    settings = load_settings(Path.cwd())
    progress(f"loading {settings.model.name}", None)
    engine = Engine.load(settings, progress)
    kept = sandbox, ledger
    measured = {name: _measure(request, engine, each, kept, name, progress) for name, each in tasks.items()}
    pipeline, wrong = EnginePipeline(engine), [task for each in tasks.values() for task in each]
    programs = read_clean(request.data, half)[: request.clean] if request.clean else ()
    whole = measure_end_to_end(wrong, pipeline, *kept, progress) if request.end_to_end else {}
    corruption = measure_corruption(programs, pipeline, *kept, progress) if programs else {}
    return {
        "version": VERSION,
        **{name: engine.info()[name] for name in ("model", "fingerprint", "device", "dtype", "bundle")},
        "half": request.half or "all",
        "notes": notes,
        "sets": measured,
        "end_to_end": whole,
        "corruption": corruption,
    }


def _measure(
    request: RepairRequestOptions,
    engine: Engine,
    tasks: Sequence[RepairTask],
    kept: tuple[Sandbox, Ledger],
    name: str,
    progress: Progress,
) -> dict[str, Any]:
    if not tasks:
        return {}
    arms = arms_of(request, engine)
    tried: dict[str, list[Attempt]] = {arm.name: [] for arm in arms}
    for index, task in enumerate(tasks):
        for number, arm in enumerate(arms):
            share = (index + number / len(arms)) / len(tasks)
            progress(f"{name}, {arm.name}: {index + 1} of {len(tasks)}", share)
            tried[arm.name].append(attempt(arm, task, request.candidates, *kept))
    base = BASE if BASE in tried else next(iter(tried))
    return summary(tried, base)


def arms_of(request: RepairRequestOptions, engine: Engine) -> list[Arm]:
    """The arms that were asked for; a vector has each strength, gated and not, and a random one beside it."""
    causal, count = engine.causal(), request.candidates
    arms: list[Arm] = []
    if "shipped" in request.arms:
        arms.append(ShippedArm(engine))
    arms += [WrittenArm(causal=causal, count=count, prompt=name) for name in PROMPTS if name in request.arms]
    together = Together()
    for path in request.vectors:
        vector = SteeringVector.load(path)
        control = "random" if len(request.vectors) == 1 else f"random, as long as {path.stem}"
        for strength in request.strengths:
            for name, each in ((path.stem, vector), (control, vector.random_like())):
                ways = (None, _gate(engine, each)) if name != control else (None,)
                for gate in dict.fromkeys(ways):
                    # Rows of one vector have one gate, so each arm has a vector of its own.
                    how = Steering(name=name, vector=each.scaled(1.0), strength=strength, gate=gate)
                    arms.append(together.add(WrittenArm(causal=causal, count=count, steering=how)))
    return arms


def _gate(engine: Engine, vector: SteeringVector) -> FeatureGate | None:
    """The bundle's error features as a gate; none for a vector in front of the layer that it is read at."""
    gate = FeatureGate.of(engine.bundle)
    return gate if vector.layer >= gate.layer else None
