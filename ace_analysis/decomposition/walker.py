"""From walks through the model to scores: of each set of sources, and of what flows through each node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.frozen import FrozenRun
from ace_analysis.decomposition.memory import batches
from ace_analysis.decomposition.nodes import Head, Mlp, Token
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.decomposition.relp import value_of
from ace_analysis.decomposition.transposed import pull_back
from ace_analysis.decomposition.walk import CDTOptions, DecomposedBlock, Source, start_of, walk


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Scores of single nodes."""

    heads: Float[Tensor, "layer head"]
    mlps: Float[Tensor, " layer"]
    tokens: Float[Tensor, " pos"]

    @classmethod
    def zeros(cls, run: FrozenRun) -> "Parts":
        """For all loaded nodes."""
        shape = (run.anatomy.n_blocks, run.anatomy.n_heads)
        new = run.resid.new_zeros
        return cls(new(shape).cpu(), new(shape[0]).cpu(), new(run.length).cpu())


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """A run, its targets and the rules; `rows_at_once` sets of sources fit into memory together."""

    run: FrozenRun
    targets: tuple[BoundTarget, ...]
    options: CDTOptions
    rows_at_once: int
    cancelled: Callable[[], bool]

    def values(self) -> Float[Tensor, " target"]:
        """What the targets are in the run."""
        return torch.tensor([value_of(self.run, each) for each in self.targets], dtype=torch.float64)

    def relevance_of_each_and_all(
        self, sources: Sequence[Source]
    ) -> tuple[Float[Tensor, "source target"], Float[Tensor, " target"]]:
        """The relevance of each set, and of all of them as one."""
        each = self.relevance(sources)
        return each, each[0] if len(sources) == 1 else self.relevance([frozenset().union(*sources)])[0]

    @torch.no_grad()
    def relevance(self, sources: Sequence[Source]) -> Float[Tensor, "source target"]:
        """What of each target comes from each set of sources; rows that start late run together."""
        found = self.run.resid.new_zeros(len(sources), len(self.targets))
        pruned = [_upstream(source, self.run) for source in sources]
        order = sorted(range(len(pruned)), key=lambda row: start_of(pruned[row], len(self.run.blocks)))
        for batch in batches(len(order), self.rows_at_once):
            rows = [order[index] for index in batch]
            for block in walk(
                self.run, [pruned[row] for row in rows], self.options, cancelled=self.cancelled
            ):
                for column, target in enumerate(self.targets):
                    if target.site.layer == block.layer:
                        found[rows, column] = target.readout.part(_read(block, target))
        return found.cpu()

    @torch.no_grad()
    def flow(self, source: Source) -> Parts:
        """What flows from one set of sources through each node to the first target.

        Where a walk finds how much of a node's output comes from the sources, the frozen network says what
        that much adds to the target (`transposed.py`): the one is exact by the rules, the other linear.
        """
        target, run = self.targets[0], self.run
        parts = Parts.zeros(run)
        source = _upstream(source, run)
        first = start_of(source, len(run.blocks))
        blocks = {each.layer: each for each in walk(run, [source], self.options, cancelled=self.cancelled)}
        gradient = run.resid
        for pulled in pull_back(run, target, cancelled=self.cancelled):
            gradient = pulled.resid_pre
            if pulled.resid_post is None or pulled.layer < first:
                continue
            block = blocks[pulled.layer]
            parts.heads[pulled.layer] = (block.z.relevant[0] * pulled.z).sum(dim=(0, 2)).cpu()
            parts.mlps[pulled.layer] = (block.mlp_write.relevant[0] * pulled.resid_post).sum().cpu()
        tokens = (gradient * run.blocks[0].resid_pre).sum(dim=1).cpu()
        at = [node.position for node in source if isinstance(node, Token)]
        parts.tokens[at] = tokens[at]
        return parts


def own_scores(sources: Sequence[Source], relevance: Float[Tensor, "source target"], run: FrozenRun) -> Parts:
    """The first target's relevance of the nodes that are sources by themselves."""
    parts = Parts.zeros(run)
    for row, source in enumerate(_upstream(each, run) for each in sources):
        if len(source) != 1:
            continue
        match next(iter(source)):
            case Head(layer, head):
                parts.heads[layer, head] = relevance[row, 0]
            case Mlp(layer):
                parts.mlps[layer] = relevance[row, 0]
            case Token(position):
                parts.tokens[position] = relevance[row, 0]
    return parts


def _upstream(source: Source, run: FrozenRun) -> Source:
    """The nodes that were run; what stands behind the last target can't be a part of it."""
    return frozenset(
        node
        for node in source
        if (node.position < run.length if isinstance(node, Token) else node.layer < len(run.blocks))
    )


def _read(block: DecomposedBlock, target: BoundTarget) -> Float[Tensor, "source pos width"]:
    """The relevant part where a target is read. A head that is source and target is not its own upstream."""
    if target.site.stream == "z":
        return block.z_before.relevant[:, :, target.site.head]
    return block.resid_post.relevant
