"""What a contextual decomposition found."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.decomposition.scores import top_heads, top_layers
from ace_analysis.decomposition.walk import Source
from ace_analysis.errors import InputError


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DecompositionResult:
    """Signed scores, in the targets' units. On the CPU.

    Attributes:
        targets: what is explained; `heads`, `mlps`, `tokens` and `unexplained` are of the first.
        values: their values.
        sources: the sets of nodes that were decomposed, one by one.
        relevance: what of each target comes from each set.
        together: what comes from all of them, decomposed at once.
        heads: with relevant positions, what flows from them through each head; else each head's own relevance
            where it is a source by itself, 0 where it is not.
        mlps: the same of MLPs.
        tokens: the same of tokens.
        every_position: no sources were named, so that every position is relevant.
    """

    targets: tuple[BoundTarget, ...]
    values: Float[Tensor, " target"]
    sources: tuple[Source, ...]
    relevance: Float[Tensor, "source target"]
    together: Float[Tensor, " target"]
    heads: Float[Tensor, "layer head"]
    mlps: Float[Tensor, " layer"]
    tokens: Float[Tensor, " pos"]
    every_position: bool = False

    @property
    def value(self) -> float:
        """The first target's."""
        return float(self.values[0])

    @property
    def relevant(self) -> float:
        """What of it comes from the sources together."""
        return float(self.together[0])

    @property
    def unexplained(self) -> float:
        """What of it does not: other tokens, constants, and interactions that the rules give to neither."""
        return self.value - self.relevant

    @property
    def unit(self) -> str:
        """What a score of 1 is."""
        return self.targets[0].unit

    @property
    def note(self) -> str:
        """What a reader has to know of the sources."""
        notes = []
        if self.every_position:
            notes.append(
                "no sources were named, so every position counts as relevant; scores say where it flows"
            )
        if lost := int((~self.relevance.isfinite()).any(dim=1).sum()):
            notes.append(
                f"the parts of {lost} of {len(self.sources)} sources grew beyond all numbers;"
                " the MLP rules half and gate_frozen do not let them"
            )
        return ". ".join(notes)

    def score(self, source: Node | Source, target: int = 0) -> float:
        """The relevance of one of the sources.

        Raises:
            InputError: it was not decomposed.
        """
        wanted = frozenset([source]) if isinstance(source, Head | Mlp | Token) else source
        if wanted not in self.sources:
            names = ", ".join(sorted(map(str, wanted)))
            raise InputError(f"expected one of the {len(self.sources)} sources decomposed, got {names}")
        return float(self.relevance[self.sources.index(wanted), target])

    def get_top_layers(self, k: int) -> list[tuple[int, float]]:
        """The k layers with the largest scores by size, attention and MLP together, largest first."""
        return top_layers(self.heads.sum(dim=1) + self.mlps, k)

    def get_top_heads(self, k: int) -> list[tuple[Head, float]]:
        """The k heads with the largest scores by size, largest first. A Head reads `.layer` and `.head`."""
        return top_heads(self.heads, k)
