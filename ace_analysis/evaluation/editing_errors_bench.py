"""The arms of the question whether erasing error latents makes a model write fewer errors, and their run.

Latents come from the bundle, whose projects are not measured on, and from the harvest's training functions;
everything that is told is measured on its test functions and on the problems. How hard PISCES turns latents
round is searched on the training functions, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.concept import Concept
from ace_analysis.editing.disentangler import Disentangler
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.search import Grid, erasing, search
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing import controls_of
from ace_analysis.evaluation.editing_errors import (
    ALL,
    ErrorArm,
    MlpScanner,
    aside,
    contrasted_latents,
    error_latents,
    other_latents,
    planted,
    removal,
    trees_of,
)
from ace_analysis.evaluation.editing_errors_measured import (
    ErrorBench,
    Material,
    Place,
    read_sites,
    told_errors,
)
from ace_analysis.evaluation.editing_errors_setting import MUS, TAUS, MlpReading, read_mlp
from ace_analysis.evaluation.editing_repair import holes_of
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.pass_at_1 import Answerer, AnswerOptions, Problem
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.discovery import DiscoveryOptions
from ace_analysis.features.examples import CLEAN, Tree, TreeOptions
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel
from ace_analysis.source.corpus import CodeFunction, Split

PISCES_LATENTS = "PISCES"
FEW_PAIRS = DiscoveryOptions(max_density=0.05, min_firing=8, min_pairs=10**9, resamples=0)
"""A few hundred planted bugs, all types together: a latent that is rarer can't be told from chance."""
_DETECTOR, _MLP = "detector", "disentangler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorOptions:
    """`functions` are measured on and `learned` looked for latents in; `limit` latents of a concept.

    `repairs`: planted bugs whose line is filled in anew.
    """

    kinds: tuple[str, ...] = ()
    limit: int = 8
    functions: int = 24
    learned: int = 24
    mutants: int = 8
    texts: int = 16
    repairs: int = 64
    longest: int = 128
    mus: tuple[float, ...] = MUS
    taus: tuple[float, ...] = TAUS
    discovery: DiscoveryOptions = field(default_factory=lambda: FEW_PAIRS)
    answers: AnswerOptions = field(default_factory=AnswerOptions)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is edited and read; without a disentangler there is no PISCES among the arms."""

    causal: CausalModel
    bundle: Bundle
    disentangler: Disentangler | None = None


def bench_errors(
    subject: Subject,
    given: tuple[Mapping[Split, Sequence[CodeFunction]], Sequence[Problem]],
    options: ErrorOptions,
    kept: tuple[Ledger, str],
    telling: Telling,
) -> dict[str, Any]:
    """Make all arms and measure them, each beside the model as it is.

    Args:
        given: functions of the harvest, and problems to solve (none: pass@1 is left out).
        kept: where results are kept, and under which name.

    Raises:
        InputError: a kind of bug without error latents, or functions that have nothing to mutate.
        Cancelled: the caller asked to stop; what was measured is kept.
    """
    run = _Run(subject, given[0], options, kept, telling)
    problems = given[1]
    measured_on = (options.functions, options.mutants, options.texts, options.longest)
    key = f"{kept[1]}/{measured_on}"
    answerer = Answerer(subject.causal, options.answers)
    bench = ErrorBench(subject.causal, run.material(problems), answerer, kept[0], key, telling)
    places = [run.detector()]
    arms = [ErrorArm(name="as it is"), *run.removals(places[0])]
    measured = bench.all_of(arms, places)
    pisces: dict[str, Any] = {}
    if subject.disentangler is not None:
        concept, pisces, more = run.erasures(subject.disentangler)
        places.append(_mlp_place(subject.causal, subject.disentangler, concept))
        measured |= bench.all_of([arms[0], *more], places)
        arms += more
    latents = {name: list(some) for name, some in places[0].concepts.items()}
    return {"latents": latents, "pisces": pisces, **told_errors(arms, measured, _DETECTOR)}


def _mlp_place(causal: CausalModel, found: Disentangler, concept: Sequence[int]) -> Place:
    scanner = MlpScanner.of(causal.scanner)
    return Place(name=_MLP, scanner=scanner, coder=found.coder, concepts={PISCES_LATENTS: concept})


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    subject: Subject
    functions: Mapping[Split, Sequence[CodeFunction]]
    options: ErrorOptions
    kept: tuple[Ledger, str]
    telling: Telling

    def _trees(self, split: Split, count: int) -> list[Tree]:
        tokenizer = self.subject.causal.tokenizer
        return trees_of(self.functions[split], tokenizer, self.tree_options(), count)

    def tree_options(self) -> TreeOptions:
        """Mutants end behind their bug: what is read lies in front of it, and one tree is run for all."""
        slots = self.subject.bundle.readout.slots
        return TreeOptions(slots=slots, mutants=self.options.mutants, full=0)

    def material(self, problems: Sequence[Problem]) -> Material:
        options = self.options
        tokenizer, count = self.subject.causal.tokenizer, max(options.functions, options.texts)
        both = planted(self.functions["test"], tokenizer, self.tree_options(), count)
        trees = [tree for _, tree in both]
        functions = [function for function, _ in both[: options.functions]]
        return Material(
            trees=trees[: options.functions],
            tree=self.tree_options(),
            texts=trees[: options.texts],
            longest=options.longest,
            problems=problems,
            holes=holes_of(functions, self.tree_options(), options.repairs),
        )

    def detector(self) -> Place:
        """The bundle's coder with its readout; the concepts are its error latents."""
        bundle = self.subject.bundle
        kinds = (ALL, *self.options.kinds)
        concepts = {kind: error_latents(bundle, kind, self.options.limit) for kind in kinds}
        scanner = self.subject.causal.scanner
        return Place(
            name=_DETECTOR, scanner=scanner, coder=bundle.coder, concepts=concepts, readout=bundle.readout
        )

    def removals(self, place: Place) -> list[ErrorArm]:
        """Directions taken out of what all blocks write: of error latents, of others, and by chance."""
        model, rows = self.subject.causal.model, place.coder.W_dec
        last = len(self.subject.causal.blocks) - 1
        own = removal(model, rows[list(place.concepts[ALL])], last)
        others = removal(model, rows[list(self._others(place))], last)
        arms = [
            ErrorArm(name="error latents removed", deltas=own),
            ErrorArm(name="random directions, same norm", deltas=aside(own)),
            ErrorArm(name="other latents removed", deltas=others),
        ]
        for kind in self.options.kinds:
            deltas = removal(model, rows[list(place.concepts[kind])], last)
            arms.append(ErrorArm(name=f"{kind} latents removed", deltas=deltas, kind=kind, concept=kind))
        return arms

    def _others(self, place: Place) -> tuple[int, ...]:
        latents = place.concepts[ALL]

        def choose() -> list[int]:
            self.telling("looking for latents that fire as often", None)
            trees = self._trees("train", self.options.learned)
            table = read_sites(place.scanner, trees, place.coder, self.tree_options(), self.telling)
            listed = [each.feature_idx for each in self.subject.bundle.catalog]
            return list(other_latents(table, latents, listed))

        return tuple(self._once(f"others/{latents}", choose))

    def erasures(self, found: Disentangler) -> tuple[tuple[int, ...], dict[str, Any], list[ErrorArm]]:
        """PISCES on latents that fire more on planted bugs, and the same change at rows by chance."""
        causal, coder = self.subject.causal, found.coder
        trees = cache(lambda: self._trees("train", self.options.learned))
        reading = cache(lambda: read_mlp(causal.scanner, trees(), found.layer, self.telling))
        coder_id = found.identity()[:16]
        known = self._once(f"contrast/{coder_id}", lambda: self._contrast(coder, trees(), reading))
        signs, latents = known["signs"], tuple(known["latents"])
        pointing = None if signs is None else torch.tensor([-1.0 if each == "-" else 1.0 for each in signs])
        plan_of = erasing(PISCES(causal.model, coder), Concept.of_latents(latents), pointing)
        key = self._key(f"setting/{coder_id}/{latents}")
        best = search(
            plan_of,
            lambda plan: reading().quality(plan, coder, latents),
            Grid(mus=self.options.mus, taus=self.options.taus, kept=self.kept[0], key=key),
            progress=self.telling.progress,
            cancelled=self.telling.cancelled,
        ).best
        plan = plan_of(best.mu, best.tau)
        aside_ = controls_of(plan, neurons_of(causal, found.layer))
        name = f"PISCES, layer {found.layer}"
        arms = [
            ErrorArm(name=name, deltas=plan.deltas, concept=PISCES_LATENTS),
            ErrorArm(name=f"{name}, random rows", deltas=aside_["random rows"], concept=PISCES_LATENTS),
        ]
        told = {name: value for name, value in known.items() if name != "signs"}
        told |= {"rows": len(plan.deltas[0].left), **dict(plan.parameters), **asdict(best.quality)}
        return latents, told, arms

    def _contrast(
        self, coder: SparseCoder, trees: Sequence[Tree], reading: Callable[[], MlpReading]
    ) -> dict[str, Any]:
        """Latents that fire more on planted bugs, and which way neurons point where they do."""
        self.telling("looking for latents of the disentangler that fire on bugs", None)
        scanner = MlpScanner.of(self.subject.causal.scanner)
        table = read_sites(scanner, trees, coder, self.tree_options(), self.telling)
        latents, significant = contrasted_latents(table, self.options.limit, self.options.discovery)
        signs = reading().signs(coder, latents)
        return {
            "latents": list(latents),
            "significant": significant,
            "bugs": len(table.bugs),
            "clean_sites": int((table.label == CLEAN).sum()),
            "signs": None if signs is None else "".join("-" if each < 0 else "+" for each in signs),
        }

    def _once(self, what: str, run: Any) -> Any:
        ledger, key = self.kept[0], self._key(what)
        known = ledger.get(key)
        if known is None:
            known = run()
            ledger.put(key, known)
        return known

    def _key(self, what: str) -> str:
        about = {n: v for n, v in asdict(self.options).items() if n in ("learned", "mutants", "limit")}
        return f"{self.kept[1]}/{what}/{about}"


def neurons_of(causal: CausalModel, layer: int) -> int:
    """How many neurons a block's MLP has."""
    return len(Anatomy.of(causal.model).blocks[layer].mlp.down.weight.T)
