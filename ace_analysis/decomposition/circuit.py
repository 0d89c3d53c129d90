"""Which few heads and MLPs do it: Algorithm 1 of CD-T, with what was wrong in it put right.

The paper (Hsu et al. 2025, arXiv:2407.00886, Algorithm 1): score all upstream heads against the target, take
those above a percentile into the circuit, drop greedily what the circuit is better without, go on with the
new heads as targets, and stop when the circuit is faithful or gains nothing. Kept from it is that order.
Changed, because of what it was measured to do:

    signs        scores are signed, also those against inner heads (the share of the head's output along
                 itself instead of a ratio of sizes, eq. 16), and not divided by their layer's sum (App. B.1)
    MLPs         are nodes and can be left out, like heads; in the paper all of them are always kept
    better       is closer to the whole model's value, or as faithful as is asked for with fewer nodes; by
                 "scores higher" a circuit gets better by losing what speaks against the target
    gain         a round that gains nothing does not end the search, the number of rounds does: parts that
                 only work together gain nothing before all of them are in
    faithful     is against this text with everything else really ablated (the paper's table repeats another
                 task's baseline for one of its tasks)
    percentile   from strict to loose until the circuit is faithful, instead of chosen by hand for each task
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.ablator import Ablator, Part, upstream_nodes
from ace_analysis.decomposition.circuit_scores import SCORE_METHODS, SCORED, ScoreMethod, scores_against
from ace_analysis.decomposition.nodes import Head
from ace_analysis.decomposition.patching import AblationOptions, prepare
from ace_analysis.decomposition.targets import HeadTarget, Target
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.errors import InputError
from ace_analysis.model.scan import never
from ace_analysis.report.circuit import Circuit, CircuitNode, CurvePoint, faithfulness

Progress = Callable[[str, float | None], None]

GAIN = 1e-3
"""Of what there is to explain: what a node has to harm at least, to be left out for it."""

CURVE_COUNTS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
SAYS: dict[str, str] = {
    "zero": "zero",
    "mean": "mean outputs over positions",
    "counterfactual": "the other text's outputs",
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CircuitOptions:
    """How a circuit is looked for.

    Attributes:
        method: how nodes are scored, see circuit_scores.py for what each was measured to do. "one-pass": all
            at once, in the frozen network. "hover": at once too, as hover and `ace explain` do, mostly by
            gradients. "cd-t": one by one, which also follows what a node does to the attention of others, and
            takes as long as two exact ablations for each round.
        percentiles: tried from strict to loose; above each, nodes are taken in.
        rounds: how often the search goes on from the heads that were found, for each percentile.
        tolerance: faithful enough is within so much of 1.
        ablation: what stands in the others' place.
        rules: CD-T's.
        layers: whose heads and MLPs are looked among, the others' staying as they are; empty: all.
        progress: told what is done.
    """

    method: ScoreMethod = "one-pass"
    percentiles: tuple[float, ...] = (99.0, 97.0, 95.0, 90.0, 80.0, 60.0)
    rounds: int = 3
    tolerance: float = 0.1
    ablation: AblationOptions = field(default_factory=lambda: AblationOptions(how="mean"))
    rules: CDTOptions = field(default_factory=CDTOptions)
    layers: tuple[int, ...] = ()
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.method not in SCORE_METHODS:
            raise InputError(f"method: expected one of {', '.join(SCORE_METHODS)}, got {self.method!r}")
        if not self.percentiles or not all(0 <= each <= 100 for each in self.percentiles):
            raise InputError(f"percentiles: expected some from 0 to 100, got {self.percentiles}")
        if self.rounds < 1:
            raise InputError(f"rounds: expected at least 1, got {self.rounds}")

    def tell(self, message: str) -> None:
        if self.progress is not None:
            self.progress(message, None)


@dataclass(frozen=True, slots=True)
class Taken:
    """A node that was taken in: its score, and the inner head through which; None: the target itself."""

    score: float
    through: Head | None


Members = dict[Part, Taken]


def find_circuit(
    model: Any,
    input_ids: Int[Tensor, "..."],
    target: Target,
    options: CircuitOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> Circuit:
    """The circuit of one target in one text. Its edges are empty; see `edges_of`.

    Raises:
        InputError: a text, position or token that is not there, or a target that nothing is upstream of.
        ModelError: the model was loaded without the place where the target is read.
        Cancelled: the caller asked to stop.
    """
    options = options or CircuitOptions()
    prepared = prepare(model, input_ids, target, options.ablation, cancelled=cancelled)
    search = _Search(prepared, target, options, cancelled)
    members = search.run()
    return Circuit(
        target=prepared.bound.name,
        unit=prepared.bound.unit,
        clean=search.clean,
        nothing=search.nothing,
        alone=search.values_of([members])[0],
        nodes=search.described(members),
        edges=(),
        upstream=len(search.nodes),
        curve=search.curve(),
        ablation=SAYS[options.ablation.how],
        method=SCORED[options.method],
    )


class _Search:
    """One search: the clean run, the scores of the target, and the circuits whose value is known."""

    def __init__(
        self, prepared: Ablator, target: Target, options: CircuitOptions, cancelled: Callable[[], bool]
    ) -> None:
        self.prepared, self.target = prepared, target
        self.options, self.cancelled = options, cancelled
        run = prepared.run
        upstream = upstream_nodes(run.model.anatomy, prepared.bound.site)
        self._rows = [
            at for at, node in enumerate(upstream) if not options.layers or node.layer in options.layers
        ]
        self.nodes = tuple(upstream[at] for at in self._rows)
        if upstream and not self.nodes:
            layers = ", ".join(map(str, options.layers))
            raise InputError(
                f"layers: expected some from 0 to {upstream[-1].layer}, upstream of {prepared.bound.name},"
                f" got {layers}"
            )
        if not self.nodes:
            raise InputError(f"expected a target with heads and MLPs upstream, got {prepared.bound.name}")
        self.known: dict[frozenset[Part], float] = {}
        self.clean = prepared.clean
        (self.nothing,) = self.values_of([()])
        options.tell("scoring the heads and MLPs")
        self.scores = self._scores([target])[:, 0]

    def run(self) -> Members:
        """The first circuit that is faithful enough, else the most faithful."""
        best: Members = {}
        for percentile in self.options.percentiles:
            self.options.tell(f"a circuit of the {100 - percentile:g} % best")
            found = self._algorithm(percentile)
            if not best or self._distance(found) < self._distance(best):
                best = found
            if self._faithful(best):
                break
        return best

    def _algorithm(self, percentile: float) -> Members:
        """Algorithm 1: score, take in, prune, go on with the new heads as targets; the best of all rounds."""
        best, members = dict[Part, Taken](), dict[Part, Taken]()
        scores, through = self.scores[:, None], [None]
        for _ in range(self.options.rounds):
            new = self._above(scores, through, percentile, members)
            grown = self._pruned({**members, **new})
            through = [
                node for node in grown if isinstance(node, Head) and node not in members and node.layer
            ]
            members = grown
            if not best or self._distance(members) < self._distance(best):
                best = members
            if self._faithful(best) or not through:
                break
            scores = self._scores([HeadTarget(head.layer, head.head) for head in through])
        return best

    def _above(
        self,
        scores: Float[Tensor, "node target"],
        through: Sequence[Head | None],
        percentile: float,
        members: Members,
    ) -> Members:
        """Nodes whose scores, summed over the targets by size, are above the percentile, and not in yet."""
        sizes = scores.abs().sum(dim=1)
        upstream = [at for at in range(len(self.nodes)) if sizes[at] > 0]
        if not upstream:
            return {}
        count = max(1, round(len(upstream) * (1 - percentile / 100)))
        best = sorted(upstream, key=lambda at: -float(sizes[at]))[:count]
        found: Members = {}
        for at in best:
            by = int(scores[at].abs().argmax())
            found[self.nodes[at]] = Taken(float(self.scores[at]), through[by])
        return {node: taken for node, taken in found.items() if node not in members}

    def _pruned(self, members: Members) -> Members:
        """A faithful circuit without what it is still faithful without, another one without what harms it.

        Greedily: each node alone first, then together, the most harmful first. Two batches instead of a pass
        for each. A node that changes nothing yet stays: it may act with one that comes in later.
        """
        if len(members) < 2:
            return members
        whole = abs(self.clean - self.nothing)
        limit = self._allowed if self._faithful(members) else self._distance(members) - GAIN * whole
        alone = self.values_of([_without(members, [node]) for node in members])
        order = sorted(zip(alone, members, strict=True), key=lambda each: abs(each[0] - self.clean))
        harmful = [node for value, node in order if abs(value - self.clean) <= limit][: len(members) - 1]
        nested = [_without(members, harmful[:count]) for count in range(1, len(harmful) + 1)]
        values = self.values_of(nested)
        fits = [at for at, value in enumerate(values) if abs(value - self.clean) <= limit]
        return nested[fits[-1]] if fits else members

    def described(self, members: Members) -> tuple[CircuitNode, ...]:
        """The circuit's nodes by layer."""
        lost = self.losses(members)
        return tuple(
            CircuitNode(
                name=str(node),
                kind="head" if isinstance(node, Head) else "mlp",
                layer=node.layer,
                score=members[node].score,
                through=None if members[node].through is None else str(members[node].through),
                lost=lost[node],
            )
            for node in sorted(members, key=lambda node: (node.layer, str(node)))
        )

    def losses(self, members: Members) -> dict[Part, float]:
        """How much farther from the whole model the circuit is without each node."""
        here = self._distance(members)
        values = self.values_of([_without(members, [node]) for node in members])
        return {node: abs(value - self.clean) - here for node, value in zip(members, values, strict=True)}

    def curve(self) -> tuple[CurvePoint, ...]:
        """What the best nodes by the target's scores keep, few to many."""
        self.options.tell("the curve")
        order = self.scores.abs().argsort(descending=True, stable=True).tolist()
        counts = [count for count in CURVE_COUNTS if count < len(self.nodes)]
        kept = [dict.fromkeys(self.nodes[at] for at in order[:count]) for count in counts]
        values = self.values_of(kept)
        return tuple(
            CurvePoint(nodes=count, value=value, faithfulness=faithfulness(value, self.clean, self.nothing))
            for count, value in zip(counts, values, strict=True)
        )

    def values_of(self, circuits: Sequence[Collection[Part]]) -> list[float]:
        """The target with everything but each circuit ablated."""
        kept = [frozenset(each) for each in circuits]
        new = [each for each in dict.fromkeys(kept) if each not in self.known]
        rest = [[node for node in self.nodes if node not in each] for each in new]
        values = self.prepared.values(rest, cancelled=self.cancelled)[0].tolist()
        self.known.update(zip(new, values, strict=True))
        return [self.known[each] for each in kept]

    def _distance(self, members: Members) -> float:
        return abs(self.values_of([members])[0] - self.clean)

    def _faithful(self, members: Members) -> bool:
        return self._distance(members) <= self._allowed

    @property
    def _allowed(self) -> float:
        return self.options.tolerance * abs(self.clean - self.nothing)

    def _scores(self, targets: Sequence[Target]) -> Float[Tensor, "node target"]:
        """Each node's score against each target; 0 where it is not upstream."""
        method, rules = self.options.method, self.options.rules
        found = scores_against(self.prepared, targets, method, rules, cancelled=self.cancelled)
        return found[self._rows]


def _without(members: Members, nodes: Sequence[Part]) -> Members:
    return {node: taken for node, taken in members.items() if node not in nodes}
