"""Tasks with a known answer: which heads and MLPs do them is known by construction.

    copy          a value stands somewhere; at the end one head brings it, another one suppresses it a little
    induction     A B ... A: a head writes the token before into each place, a later one looks for A there
                  and copies B (Olsson et al. 2022, arXiv:2209.11895)
    greater-than  a number and a direction stand somewhere; two heads bring them, an MLP favours the numbers
                  that lie beyond (after Hanna et al. 2023, arXiv:2305.00586); its gate multiplies the two

All other heads and MLPs read the same tokens and write where nothing reads. They act on a prediction through
the norms' scale alone.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ace_analysis.decomposition.nodes import Head, Mlp
from ace_analysis.decomposition.targets import LogitDifference
from ace_analysis.evaluation.hand_built import HEADS, KV_HEADS, HandBuilt, Place

Task = Literal["copy", "induction", "greater-than"]
TASKS: tuple[Task, ...] = ("copy", "induction", "greater-than")

START, ASK, ABOVE, BELOW = 0, 1, 2, 3
FILLERS = range(4, 8)
VALUES = range(8, 16)
VOCABULARY = 16
LENGTH = 12


@dataclass(frozen=True, slots=True, eq=False)
class KnownPrompt:
    """A text of the task, one of the same length with another answer, and what tells the two apart."""

    ids: Int[Tensor, "1 pos"]
    counterfactual: Int[Tensor, "1 pos"]
    target: LogitDifference


@dataclass(frozen=True, slots=True, eq=False)
class KnownCircuit:
    """A model that does a task, with what does it. `circuit` is all that matters, by construction."""

    task: Task
    model: Any
    circuit: frozenset[Head | Mlp]
    _sample: Callable[[random.Random], KnownPrompt]

    def prompts(self, count: int, seed: int = 0) -> list[KnownPrompt]:
        """Texts of the task, the same for the same seed."""
        rng = random.Random(f"{self.task}:{seed}")
        return [self._sample(rng) for _ in range(count)]


def known_circuit(task: Task, seed: int = 0) -> KnownCircuit:
    """Build the model of a task. The seed says which heads do it, what the others do and how it is turned."""
    rng = random.Random(f"{task}:{seed}")
    built = HandBuilt(VOCABULARY, seed)
    return {"copy": _copy, "induction": _induction, "greater-than": _greater_than}[task](built, rng)


def _copy(built: HandBuilt, rng: random.Random) -> KnownCircuit:
    bringing, suppressing = _places(rng, (rng.randrange(2), 2))
    for place, gain in ((bringing, 0.4), (suppressing, -0.5)):
        built.attends_to(place, list(VALUES))
        built.copies(place, "out", gain)

    def sample(rng: random.Random) -> KnownPrompt:
        value, other = rng.sample(VALUES, 2)
        at = rng.randrange(1, LENGTH - 1)
        return _prompt(_fillers(rng), {at: value}, {at: other}, (value, other))

    circuit = frozenset({_head(bringing), _head(suppressing)})
    return KnownCircuit("copy", built.finished(set()), circuit, sample)


def _induction(built: HandBuilt, rng: random.Random) -> KnownCircuit:
    before, inducing = _places(rng, (0, rng.choice((1, 2))))
    built.attends_to_the_token_before(before)
    built.copies(before, "previous", 0.3)
    built.attends_where(inducing, own="token", theirs="previous")
    built.copies(inducing, "out", 0.5)

    def sample(rng: random.Random) -> KnownPrompt:
        first, second, other, instead = rng.sample(VALUES, 4)
        fillers = [START, *(rng.choice(FILLERS) for _ in range(LENGTH - 1))]
        at, again = rng.sample(range(1, LENGTH - 3, 2), 2)
        pairs = {at: first, at + 1: second, again: instead, again + 1: other, LENGTH - 1: first}
        # In the other text the last token follows the other pair's beginning.
        return _prompt(fillers, pairs, {**pairs, at: instead, again: first}, (second, other))

    circuit = frozenset({_head(before), _head(inducing)})
    return KnownCircuit("induction", built.finished(set()), circuit, sample)


def _greater_than(built: HandBuilt, rng: random.Random) -> KnownCircuit:
    number, direction = _places(rng, (0, 0))
    comparing = rng.choice((1, 2))
    built.attends_to(number, list(VALUES))
    built.copies(number, "moved", 0.3)
    built.attends_to(direction, [ABOVE, BELOW])
    built.flags(direction, {ABOVE: 1.0, BELOW: -1.0}, 0.3)
    table = torch.zeros(VOCABULARY, VOCABULARY)
    for given in VALUES:
        for answer in VALUES:
            table[given, answer] = float((answer > given) - (answer < given))
    built.compares(comparing, table, 0.1)

    def sample(rng: random.Random) -> KnownPrompt:
        given = rng.randrange(VALUES.start + 1, VALUES.stop - 1)
        above, below = rng.randrange(given + 1, VALUES.stop), rng.randrange(VALUES.start, given)
        at, where = rng.sample(range(1, LENGTH - 1), 2)
        pointing = rng.choice((ABOVE, BELOW))
        answers = (above, below) if pointing == ABOVE else (below, above)
        # The other text differs in both, else one of the two heads would put out the same in both texts.
        beyond = VALUES.stop - 1 if pointing == ABOVE else VALUES.start
        other = {at: beyond, where: ABOVE + BELOW - pointing}
        return _prompt(_fillers(rng), {at: given, where: pointing}, other, answers)

    circuit = frozenset({_head(number), _head(direction), Mlp(comparing)})
    return KnownCircuit("greater-than", built.finished({comparing}), circuit, sample)


def _places(rng: random.Random, layers: tuple[int, int]) -> tuple[Place, Place]:
    """A head in each layer, no two of which share keys and values."""
    shared = rng.sample(range(KV_HEADS), 2)
    size = HEADS // KV_HEADS
    first, second = (
        Place(layer, group * size + rng.randrange(size)) for layer, group in zip(layers, shared, strict=True)
    )
    return first, second


def _head(place: Place) -> Head:
    return Head(place.layer, place.head)


def _fillers(rng: random.Random) -> list[int]:
    return [START, *(rng.choice(FILLERS) for _ in range(LENGTH - 2)), ASK]


def _prompt(
    base: list[int], clean: dict[int, int], other: dict[int, int], answers: tuple[int, int]
) -> KnownPrompt:
    texts = [torch.tensor([[put.get(at, token) for at, token in enumerate(base)]]) for put in (clean, other)]
    return KnownPrompt(texts[0], texts[1], LogitDifference(*answers))
