"""Why the model says what it says of one place: the parts of an explanation, with signed scores.

Plain, JSON-able and free of torch, so that the language server and a web page can hold them. A score is what
one part contributes to the target's value, in the target's unit, through all that lies behind it. Scores of
heads and layers therefore count the same effect more than once and add up to nothing: they are no shares of a
whole, and are never shown as percentages. Latents add up to the value with `constant` and `other_latents`;
tokens do with `constant_of_tokens` and `unexplained`.
"""

from dataclasses import dataclass
from enum import StrEnum

from ace_analysis.source.document import TextSpan


class TargetKind(StrEnum):
    FINDING = "finding"
    """A candidate site that a scan would show."""
    SITE = "site"
    """A candidate site below the threshold."""
    TOKEN = "token"
    """A token that is no candidate: the model's own expectation is explained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionTarget:
    """The number that is explained, and the place that it is about.

    Attributes:
        kind: what stands there.
        span: the place, in the document's code points.
        text: what stands there.
        description: one sentence without a full stop, for people: "log-odds that `<` is wrong".
        finding_kind: the kind of the finding, as in Finding.kind; None for a token.
        probability: calibrated probability that the place is wrong; for a token, the model's own probability
            of it.
        threshold: the probability from which a finding is shown; None for a token.
        alternative: for a token, what the model expects most beside it, as its tokenizer spells it.
        alternative_probability: the model's own probability of that.
    """

    kind: TargetKind
    span: TextSpan
    text: str
    description: str
    probability: float
    finding_kind: str | None = None
    threshold: float | None = None
    alternative: str | None = None
    alternative_probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentScore:
    """A latent that fired where the target is read. `score` is what it adds; `label` says what it fires on.

    `feature` is "<hook name>/<latent>", as in Evidence; `activation` and `threshold` are in the sparse
    coder's units; `span` is the token that it fired on. `label` is empty where the bundle has no description.
    """

    latent: int
    feature: str
    activation: float
    threshold: float
    score: float
    span: TextSpan
    label: str = ""


@dataclass(frozen=True, slots=True)
class HeadScore:
    """What one attention head contributes. Layers and heads count from 0."""

    layer: int
    head: int
    score: float


@dataclass(frozen=True, slots=True)
class LayerScore:
    """What a layer's heads together and its MLP contribute."""

    layer: int
    attention: float
    mlp: float

    @property
    def score(self) -> float:
        return self.attention + self.mlp


@dataclass(frozen=True, slots=True)
class TokenScore:
    """What one token that was read contributes.

    `span` is its place in the document; None where it has none: the mark at the start of what is read.
    """

    span: TextSpan | None
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class PartCheck:
    """A head or, with `head` None, an MLP that was really taken out of the model.

    `score` is what the explanation says that it contributes, `effect` by how much the value falls without it.
    """

    layer: int
    head: int | None
    score: float
    effect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """An explanation. All parts are sorted by size, largest first, whatever their sign.

    Attributes:
        target: what is explained.
        unit: what a score of 1 is: "log-odds" or "logits".
        value: the target's value in this unit.
        latents: those that fired, for a finding or a candidate site; empty for a token.
        heads: every head upstream of the target.
        layers: every layer upstream of the target.
        tokens: every token that was read up to the target.
        constant: what the readout says of any place of this kind, before any latent; 0 for a token.
        other_latents: what latents that are not listed add.
        constant_of_tokens: what the model's own constants contribute.
        unexplained: value minus the tokens and `constant_of_tokens`: what the method can't account for.
        checks: the strongest parts, taken out of the model one at a time; empty unless that was asked for.
        method: how the scores were computed, in a few words.
        notes: how far they can be trusted, and what else a reader has to know; whole sentences.
    """

    target: AttributionTarget
    unit: str
    value: float
    latents: tuple[LatentScore, ...] = ()
    heads: tuple[HeadScore, ...] = ()
    layers: tuple[LayerScore, ...] = ()
    tokens: tuple[TokenScore, ...] = ()
    constant: float = 0.0
    other_latents: float = 0.0
    constant_of_tokens: float = 0.0
    unexplained: float = 0.0
    checks: tuple[PartCheck, ...] = ()
    method: str = ""
    notes: tuple[str, ...] = ()
