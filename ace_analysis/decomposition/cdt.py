"""Contextual decomposition for transformers (CD-T: Hsu et al. 2025, arXiv:2407.00886), for models of code.

What of a number comes from some tokens, heads or MLPs, and through which layers and heads it flows. One walk
through the model for each set of sources, many in a batch. Interactions between sources belong to nobody
alone, so scores of different sources do not add up to the number: `unexplained` says what the sources
together leave.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from jaxtyping import Int
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import FrozenGate, freeze, one_text
from ace_analysis.decomposition.memory import Footprint, free_bytes
from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.relp import bind, padded
from ace_analysis.decomposition.result import DecompositionResult
from ace_analysis.decomposition.targets import LogitDifference, Target, position_in
from ace_analysis.decomposition.walk import CDTOptions, Source
from ace_analysis.decomposition.walker import Walker, own_scores
from ace_analysis.errors import InputError
from ace_analysis.model.scan import never

Targets = Target | Sequence[Target]


class ContextualDecomposition:
    """Decomposes what a model computes on a text.

    Args:
        model: from `load_hooked_model` or `load_scanner`, a Hugging Face causal model or its decoder.
        options: the rules.

    Raises:
        ModelError: a family whose computations no rule describes.
    """

    def __init__(self, model: Any, options: CDTOptions | None = None) -> None:
        self.anatomy = model if isinstance(model, Anatomy) else Anatomy.of(model)
        self.options = options or CDTOptions()

    def decompose(
        self,
        input_ids: Int[Tensor, "*one pos"],
        relevant_positions: Sequence[int] | None = None,
        sources: Iterable[Node | Collection[Node]] | None = None,
        targets: Targets | None = None,
        *,
        cancelled: Callable[[], bool] = never,
    ) -> DecompositionResult:
        """What of the targets comes from some positions, or from each of some sources, in one text.

        Args:
            relevant_positions: the tokens that count as relevant, below 0 from the end; layers and heads are
                scored by what flows from them. Neither these nor sources: every position.
            sources: instead, heads, MLPs, tokens or collections of them; each is decomposed by itself.
            targets: what is explained; None: the most expected next token's logit against the runner-up's.
            cancelled: asked before each block.

        Raises:
            InputError: a position, node or token that is not there; a text too long for the memory.
            ModelError: the model was loaded without the place where a target is read.
            Cancelled: by the caller.
        """
        ids = one_text(input_ids)
        chosen = [targets] if isinstance(targets, Target) else list(targets or [LogitDifference()])
        rows = self._rows(len(ids), relevant_positions, sources)
        walker = self._walker(ids, chosen, cancelled)
        relevance, together = walker.relevance_of_each_and_all(rows)
        nodes = own_scores(rows, relevance, walker.run) if sources is not None else walker.flow(rows[0])
        return DecompositionResult(
            targets=walker.targets,
            values=walker.values(),
            sources=tuple(rows),
            relevance=relevance,
            together=together,
            heads=nodes.heads,
            mlps=nodes.mlps,
            tokens=padded(nodes.tokens, len(ids)),
            every_position=relevant_positions is None and sources is None,
        )

    def _rows(
        self,
        length: int,
        positions: Sequence[int] | None,
        sources: Iterable[Node | Collection[Node]] | None,
    ) -> list[Source]:
        """The sets of sources, checked."""
        if positions is not None and sources is not None:
            raise InputError("expected relevant positions or sources, got both")
        if sources is None:
            chosen = range(length) if positions is None else positions
            return [frozenset(Token(position_in(each, length)) for each in chosen)]
        rows = [
            frozenset([each]) if isinstance(each, Head | Mlp | Token) else frozenset(each) for each in sources
        ]
        if not rows:
            raise InputError("expected at least one source, got none")
        for node in {node for row in rows for node in row}:
            self._check(node, length)
        return rows

    def _check(self, node: Node, length: int) -> None:
        anatomy = self.anatomy
        match node:
            case Head(layer, head):
                is_there = layer < anatomy.n_blocks and head < anatomy.n_heads
            case Mlp(layer):
                is_there = layer < anatomy.n_blocks
            case Token(position):
                is_there = position < length
        if not is_there:
            raise InputError(
                f"expected nodes of {anatomy.n_blocks} loaded blocks with {anatomy.n_heads} heads and of "
                f"{length} tokens, got {node}"
            )

    def _walker(self, ids: Tensor, targets: Sequence[Target], cancelled: Callable[[], bool]) -> Walker:
        """The model's own run, the targets bound to it, and how many rows fit beside it."""
        n_blocks = max(target.site(self.anatomy).layer for target in targets) + 1
        length = max(target.last_position(len(ids)) for target in targets) + 1
        limit = self.options.memory_bytes
        footprint = Footprint.of(self.anatomy, length, n_blocks)
        rows = footprint.rows_in(free_bytes(self.anatomy.device) if limit is None else limit, length)
        gate: FrozenGate = "gate_frozen" if self.options.mlp == "gate_frozen" else "half"
        run = freeze(self.anatomy, ids[:length], n_blocks, gate=gate, cancelled=cancelled)
        return Walker(run, tuple(bind(run, target) for target in targets), self.options, rows, cancelled)
