"""What each node contributes to one number.

A node's score is its effect on the target through all that lies between, so nodes of different layers count
the same effect more than once: the scores of heads and MLPs add up to nothing, and are no shares of a whole.
Those of the tokens, with the constants, do add up: to `total - unexplained`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NodeScores:
    """Signed scores of all upstream nodes, in the target's unit. On the CPU.

    Attributes:
        heads: for each loaded layer and head; 0 where it is not upstream of the target.
        mlps: for each loaded layer; 0 where it is not upstream.
        tokens: for each position, what its embedding contributes through all paths.
        bias: what the model's and the target's constants contribute.
        total: the target's value.
        unexplained: `total - tokens.sum() - bias`: rounding, where the rules are exactly complete.
        unit: what a score of 1 is: "logit", "log-odds", ...
        latents: of a sparse coder upstream, for each position; None where no coder was given.
    """

    heads: Float[Tensor, "layer head"]
    mlps: Float[Tensor, " layer"]
    tokens: Float[Tensor, " pos"]
    bias: float
    total: float
    unexplained: float
    unit: str
    latents: Float[Tensor, "pos d_sae"] | None = None

    def __getitem__(self, node: Node) -> float:
        """One node's score."""
        match node:
            case Head(layer, head):
                return float(self.heads[layer, head])
            case Mlp(layer):
                return float(self.mlps[layer])
            case Token(position):
                return float(self.tokens[position])

    @property
    def layers(self) -> Float[Tensor, " layer"]:
        """A layer's heads and its MLP together."""
        return self.heads.sum(dim=1) + self.mlps

    def top_heads(self, k: int) -> list[tuple[Head, float]]:
        """The heads with the largest scores by size, largest first."""
        return top_heads(self.heads, k)

    def top_layers(self, k: int) -> list[tuple[int, float]]:
        """The layers with the largest scores by size, largest first."""
        return top_layers(self.layers, k)


def top_heads(scores: Float[Tensor, "layer head"], k: int) -> list[tuple[Head, float]]:
    """The k largest by size, largest first."""
    order = scores.abs().flatten().argsort(descending=True, stable=True)[:k].tolist()
    heads = [Head(*divmod(index, scores.shape[1])) for index in order]
    return [(head, float(scores[head.layer, head.head])) for head in heads]


def top_layers(scores: Float[Tensor, " layer"], k: int) -> list[tuple[int, float]]:
    """The k largest by size, largest first."""
    order = scores.abs().argsort(descending=True, stable=True)[:k].tolist()
    return [(layer, float(scores[layer])) for layer in order]
