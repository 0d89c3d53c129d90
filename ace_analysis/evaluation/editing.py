"""What an edit of one block does, measured on code that it was not chosen on.

Blocks in front of the edited one are not changed by it, so their output is computed once and every setting
starts from there. Three things are measured on texts that hold a concept's tokens and on others: how likely
the concept's tokens are where they do come next, the loss on all other tokens, and how strongly the
concept's latents fire on what the edited MLP writes.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.deltas import RowDelta, with_deltas
from ace_analysis.editing.pisces import aligned_signs
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.search import Quality
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.statistics import Interval, ratio
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import blocks_of, never


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Text:
    """`has_concept`: one of the concept's tokens comes somewhere in it; `cluster` is its project."""

    ids: Tensor
    cluster: str
    has_concept: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Measured:
    """One text's sums; losses in nats, over next tokens that are none of the concept's."""

    cluster: str
    has_concept: bool
    loss: float
    tokens: int
    probability: float
    places: int
    """Where one of the concept's tokens comes next; `probability` is the sum of theirs over these."""
    activation: float


class _Skipped(nn.Module):
    """Stands for a block whose output isn't needed."""

    def __init__(self, block: nn.Module, as_tuple: bool) -> None:
        super().__init__()
        self.as_tuple = as_tuple
        if hasattr(block, "attention_type"):
            self.attention_type = block.attention_type

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return (hidden_states,) if self.as_tuple else hidden_states


class Tail:
    """A causal model from block `layer` on; what comes before is computed once for each text.

    Args:
        model: a Hugging Face causal model.
        texts: token ids [pos], each of at least two.
    """

    def __init__(
        self,
        model: Any,
        layer: int,
        texts: Sequence[Tensor],
        *,
        progress: Callable[[str, float | None], None] | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        if any(len(ids) < 2 for ids in texts):
            raise InputError("expected texts of at least two tokens; leave the shorter ones out")
        self.model, self.layer, self.texts = model, layer, tuple(texts)
        self._blocks = blocks_of(model)
        self._as_tuple = False
        self._streams: list[Tensor] = []
        for number, ids in enumerate(texts):
            if cancelled():
                raise Cancelled("stopped by the caller; nothing of this step was kept")
            if progress is not None:
                progress(f"running text {number + 1} of {len(texts)}", number / len(texts))
            self._streams.append(self._run_to(ids))

    @torch.no_grad()
    def _run_to(self, ids: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def keep(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            seen.append(arguments[0] if arguments else named["hidden_states"])

        def kind(module: nn.Module, arguments: Any, output: Any) -> None:
            self._as_tuple = isinstance(output, tuple)

        block = self._blocks[self.layer]
        rest = range(self.layer + 1, len(self._blocks))
        with (
            hooks(before_call=[(block, keep)], after=[(block, kind)]),
            _without(self._blocks, rest, self),
        ):
            self.model.base_model(input_ids=ids[None], use_cache=False)
        return seen[0].clone()

    @torch.no_grad()
    def logits(self, index: int, last: int = 0) -> Float[Tensor, "pos vocabulary"]:
        """Of one text, from the kept stream; `last`: of so many last positions only, 0: of all."""

        def start(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if arguments:
                return (self._streams[index], *arguments[1:]), named
            return arguments, {**named, "hidden_states": self._streams[index]}

        with (
            _without(self._blocks, range(self.layer), self),
            hooks(before_call=[(self._blocks[self.layer], start)]),
        ):
            ids = self.texts[index][None]
            return self.model(input_ids=ids, use_cache=False, logits_to_keep=last).logits[0].float()

    @property
    def as_tuple(self) -> bool:
        """Whether this family's blocks give tuples."""
        return self._as_tuple


@contextmanager
def _without(blocks: nn.ModuleList, which: range, tail: Tail) -> Iterator[None]:
    kept = {at: blocks[at] for at in which}
    try:
        for at, block in kept.items():
            blocks[at] = _Skipped(block, tail.as_tuple)
        yield
    finally:
        for at, block in kept.items():
            blocks[at] = block


@dataclass(frozen=True, slots=True, eq=False)
class Gauge:
    """Measures edits of one block for one concept.

    `coder` and `latents`: whose activation is told; it is 0 without a coder.
    """

    tail: Tail
    texts: Sequence[Text]
    tokens: Collection[int]
    coder: SparseCoder | None = None
    latents: Sequence[int] = ()

    def measure(self, deltas: Sequence[RowDelta] = ()) -> list[Measured]:
        """All texts, with the deltas on the model for as long as it takes."""
        wanted = torch.tensor(sorted(self.tokens))
        module = Anatomy.of(self.tail.model).blocks[self.tail.layer].mlp.module
        written: list[Tensor] = []
        with (
            with_deltas(self.tail.model, deltas),
            hooks(after=[(module, lambda _, __, output: written.append(output[0]))]),
        ):
            found = []
            for index, text in enumerate(self.texts):
                logprobs = self.tail.logits(index)[:-1].log_softmax(dim=-1)
                found.append(self._one(text, logprobs, written.pop(), wanted))
        return found

    def signs(self) -> Float[Tensor, " neuron"]:
        """The sign that each neuron mostly has where one of the concept's tokens comes next.

        Raises InputError where none comes next anywhere.
        """
        wanted = torch.tensor(sorted(self.tokens))
        down = Anatomy.of(self.tail.model).blocks[self.tail.layer].mlp.down
        seen: list[Tensor] = []
        with hooks(before=[(cast(nn.Module, down), lambda _, arguments: seen.append(arguments[0][0]))]):
            for index in range(len(self.texts)):
                self.tail.logits(index, last=1)
        here = [torch.isin(each.ids[1:], wanted) for each in self.texts]
        return aligned_signs(torch.cat([s[:-1][at] for s, at in zip(seen, here, strict=True)]))

    def _one(self, text: Text, logprobs: Tensor, written: Tensor, wanted: Tensor) -> Measured:
        after = text.ids[1:]
        here = torch.isin(after, wanted)
        losses = -logprobs.gather(1, after[:, None])[:, 0]
        activation = 0.0
        if self.coder is not None and bool(here.any()):
            activation = float(self.coder.encode(written[:-1][here])[:, list(self.latents)].sum())
        return Measured(
            cluster=text.cluster,
            has_concept=text.has_concept,
            loss=float(losses[~here].double().sum()),
            tokens=int((~here).sum()),
            probability=float(logprobs[here][:, wanted].double().exp().sum()),
            places=int(here.sum()),
            activation=activation,
        )

    def quality(self, before: Sequence[Measured], plan: EditPlan) -> Quality:
        """What a search asks for: near texts for specificity, the others for coherence."""
        after = self.measure(plan.deltas)
        return quality_of(before, after)


def quality_of(before: Sequence[Measured], after: Sequence[Measured]) -> Quality:
    """Efficacy: share of the probability that is gone; the others: perplexity before by after, at most 1."""
    return Quality(
        efficacy=float(np.clip(fall_of(before, after).value, 0.0, 1.0)),
        specificity=min(1.0, float(np.exp(-_more(before, after, True).value))),
        coherence=min(1.0, float(np.exp(-_more(before, after, False).value))),
    )


def fall_of(before: Sequence[Measured], after: Sequence[Measured]) -> Interval:
    """By which share the concept's tokens became less likely where they come next; over clusters."""
    return ratio(
        [b.probability - a.probability for b, a in zip(before, after, strict=True)],
        [b.probability for b in before],
        [b.cluster for b in before],
    )


def silence_of(before: Sequence[Measured], after: Sequence[Measured]) -> Interval:
    """By which share the concept's latents fire less where its tokens come next."""
    return ratio(
        [b.activation - a.activation for b, a in zip(before, after, strict=True)],
        [b.activation for b in before],
        [b.cluster for b in before],
    )


def perplexity_change(before: Sequence[Measured], after: Sequence[Measured], concept: bool) -> Interval:
    """Perplexity after by before, less 1: on texts with the concept (its tokens left out) or without."""
    more = _more(before, after, concept)
    return Interval(*(float(np.expm1(each)) for each in (more.value, more.low, more.high)))


def _more(before: Sequence[Measured], after: Sequence[Measured], concept: bool) -> Interval:
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b.has_concept == concept]
    return ratio(
        [a.loss - b.loss for b, a in pairs], [b.tokens for b, _ in pairs], [b.cluster for b, _ in pairs]
    )


def controls_of(plan: EditPlan, rows: int, seed: int = 0) -> dict[str, tuple[RowDelta, ...]]:
    """The same change at rows by chance, and along directions by chance with the same norms.

    Args:
        rows: how many the matrix has.
    """
    generator = torch.Generator().manual_seed(seed)
    elsewhere, aside = [], []
    for each in plan.deltas:
        chosen = torch.randperm(rows, generator=generator)[: len(each.left)].sort().values
        own = {"layer": each.layer, "module": each.module, "left": each.left}
        elsewhere.append(RowDelta(**own, rows=tuple(chosen.tolist()), right=each.right))
        noise = torch.randn(each.right.shape, generator=generator).to(each.right.dtype)
        right = noise * (each.right.norm(dim=1) / noise.norm(dim=1))[:, None]
        aside.append(RowDelta(**own, rows=each.rows, right=right))
    return {"random rows": tuple(elsewhere), "random directions": tuple(aside)}
