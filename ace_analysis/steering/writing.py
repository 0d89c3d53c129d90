"""New text for a region, written by the model: greedy, drawn, or under a steering vector, all at once.

Rows that have written the same so far under the same steering are one branch of the tree, so what they share
is read once. A steered row begins by reading the last token of the prompt again, because that token chooses
the first new one. Behind each new token some guesses are read in the same pass (`drafts.py`): a row goes on
through those that it would have written itself, so what it writes doesn't depend on them. The caller is asked
before every pass whether to go on.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ace_analysis.errors import Cancelled
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.scan import never
from ace_analysis.steering.applying import gate_watched, pushed, stream_changed
from ace_analysis.steering.drafts import continuation
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.generation import chosen
from ace_analysis.steering.stopping import Stop, line_end
from ace_analysis.steering.token_tree import AGAIN, ROOT, TokenTree
from ace_analysis.steering.vector import SteeringVector

MOST_GUESSES = 8
"""Behind each new token of a row; a row that was guessed wrong gets fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """How one row is written: temperature 0 is greedy, strength 0 unsteered; a gate leaves tokens alone.

    Rows with one vector have one gate. `seed` is of its draws; None: the options' and its place.
    """

    temperature: float = 0.0
    vector: SteeringVector | None = None
    strength: float = 0.0
    gate: FeatureGate | None = None
    seed: int | None = None

    @property
    def is_steered(self) -> bool:
        return self.vector is not None and self.strength != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingOptions:
    """`ends` are tokens that end a row and are dropped; `stop` says where a text is done, None: nowhere.

    Each row draws from a generator of its own (`seed` and its place), so a row does not depend on the others.
    `draft` is a text, as tokens, that the rows are likely to resemble: they are written in fewer passes then.
    """

    ends: frozenset[int] = frozenset()
    stop: Stop | None = line_end
    top_p: float = 0.95
    max_new_tokens: int = 48
    seed: int = 0
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A row's text, its log-probability in the pass that wrote it (nats), and whether it came to an end."""

    text: str
    ids: tuple[int, ...]
    logprob: float
    finished: bool


@dataclass(slots=True, eq=False)
class _Row:
    plan: RowPlan
    random: torch.Generator
    node: int
    ids: list[int] = field(default_factory=list)
    text: str = ""
    logprob: float = 0.0
    done: bool = False
    newest: int | None = None
    """What is to be read behind `node` before the row can go on."""
    right: int = MOST_GUESSES
    """How many tokens it took at once, the last time."""


class _Pass:
    """Tokens that are read in one pass, each once for all rows that are steered alike."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.plans: list[RowPlan] = []
        self.children: dict[tuple[int, int, tuple[int, float] | None], int] = {}
        self.logprobs: dict[int, Tensor] = {}

    def add(self, parent: int, token: int, plan: RowPlan) -> int:
        """The node of a token behind another one."""
        key = (parent, token, _way(plan))
        if key not in self.children:
            self.children[key] = self._first + len(self.tokens)
            self.tokens.append(token)
            self.parents.append(parent)
            self.plans.append(plan)
        return self.children[key]


class Writer:
    """Writes behind the prompt of a tree."""

    def __init__(self, causal: CausalModel, tree: TokenTree, prompt: Sequence[int]) -> None:
        self._causal = causal
        self._tree = tree
        self._last = prompt[-1]
        self._strengths: dict[int, Tensor] = {}
        """By vector, what the tokens that are being read are steered with."""

    def write(
        self, plans: Sequence[RowPlan], options: WritingOptions, cancelled: Callable[[], bool] = never
    ) -> tuple[Written, ...]:
        """One text for each plan. What was read for it stays in the tree until that is cleared.

        Raises:
            Cancelled: when `cancelled()` turns true; it is asked before each pass.
        """
        seeds = [options.seed + n if plan.seed is None else plan.seed for n, plan in enumerate(plans)]
        rows = [
            _Row(plan, torch.Generator().manual_seed(seed), AGAIN if plan.is_steered else ROOT)
            for plan, seed in zip(plans, seeds, strict=True)
        ]
        for row in rows:
            row.newest = self._last if row.plan.is_steered else None
        steered = {
            id(plan.vector): (plan.vector, plan.gate)
            for plan in plans
            if plan.vector is not None and plan.is_steered
        }
        with ExitStack() as stack:
            for vector, gate in steered.values():
                self._steer(stack, vector, gate)
            if plain := [row for row in rows if row.newest is None]:
                trunk = self._trunk()
                for row in plain:
                    self._go_on(row, trunk, options)
            while alive := [row for row in rows if not row.done and len(row.ids) < options.max_new_tokens]:
                if cancelled():
                    raise Cancelled("writing was cancelled by the caller; nothing was kept")
                found = self._read(alive, options)
                for row in alive:
                    self._go_on(row, found, options)
        return tuple(Written(row.text, tuple(row.ids), row.logprob, row.done) for row in rows)

    def _trunk(self) -> _Pass:
        """What was read with the prompt: a first pass for rows that are not steered."""
        found = _Pass(ROOT + 1)
        for node, token in enumerate(self._tree.trunk):
            found.add(node - 1, token, RowPlan())
        rows = self._tree.along.cpu()
        found.logprobs = dict(enumerate(rows, start=ROOT))
        return found

    def _steer(self, stack: ExitStack, vector: SteeringVector, gate: FeatureGate | None) -> None:
        vector.check_model(self._causal.info)
        blocks, is_open = self._causal.blocks, None
        if gate is not None:
            gate.check(self._causal.info, vector.layer)
            is_open = stack.enter_context(gate_watched(blocks[gate.layer], gate.fires))

        def change(resid: Tensor, before: int) -> Tensor | None:
            strengths = self._strengths.get(id(vector))
            if strengths is None or strengths.shape[1] != resid.shape[1]:
                return None
            if is_open is not None and (mask := is_open()) is not None:
                strengths = strengths * mask.cpu()
            return pushed(resid, vector.direction, strengths, normalize=vector.normalize)

        stack.enter_context(stream_changed(blocks, vector.layer, change))

    def _read(self, rows: list[_Row], options: WritingOptions) -> _Pass:
        """The newest token of each row, and guesses of what follows it."""
        found = _Pass(len(self._tree))
        for row in rows:
            if row.newest is not None:
                row.node = found.add(row.node, row.newest, row.plan)
            node = row.node
            for token in continuation(row.ids, options.draft, min(MOST_GUESSES, 1 + row.right)):
                node = found.add(node, token, row.plan)
        new = self._grow(found.tokens, found.parents, found.plans) if found.tokens else []
        nodes = sorted({*new, *(row.node for row in rows)})
        found.logprobs = dict(zip(nodes, self._tree.log_probs(nodes).cpu(), strict=True))
        return found

    def _grow(self, tokens: list[int], parents: list[int], plans: list[RowPlan]) -> list[int]:
        """Read tokens, each under its row's vector."""
        vectors = {id(plan.vector) for plan in plans if plan.is_steered}
        self._strengths = {
            key: torch.tensor([[plan.strength if id(plan.vector) == key else 0.0 for plan in plans]])
            for key in vectors
        }
        try:
            return self._tree.grow(tokens, parents)
        finally:
            self._strengths = {}

    def _go_on(self, row: _Row, found: _Pass, options: WritingOptions) -> None:
        """Choose tokens as far as what was read reaches."""
        before = len(row.ids)
        while len(row.ids) < options.max_new_tokens:
            logprobs = found.logprobs[row.node]
            token = chosen(logprobs, row.plan.temperature, options.top_p, row.random)
            row.logprob += float(logprobs[token])
            self._take(row, token, options)
            child = found.children.get((row.node, token, _way(row.plan)))
            if row.done or child is None:
                break
            row.node = child
        row.newest = row.ids[-1] if row.ids else None
        row.right = len(row.ids) - before

    def _take(self, row: _Row, token: int, options: WritingOptions) -> None:
        if token in options.ends:
            row.done = True
            return
        row.ids.append(token)
        text = self._causal.tokenizer.decode(row.ids)
        ended = options.stop(text) if options.stop is not None else None
        row.done, row.text = ended is not None, text[:ended]


def _way(plan: RowPlan) -> tuple[int, float] | None:
    return (id(plan.vector), plan.strength) if plan.is_steered else None
