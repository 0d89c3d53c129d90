"""From node scores to an explanation: latents, heads, layers and tokens with their places, sorted by size.

Places are those of the prompt; `placed` moves an explanation into a document, so that one that was kept is
right wherever its scope has moved to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.nodes import Head, Mlp
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.engine.places import Place
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.positions import sink_mask
from ace_analysis.report.attribution import Attribution, HeadScore, LatentScore, LayerScore, TokenScore
from ace_analysis.source.document import TextSpan

MOST_LATENTS = 12
"""Latents that are listed; the rest is one number."""


@runtime_checkable
class Scored(Protocol):
    @property
    def score(self) -> float: ...


Part = TypeVar("Part", bound=Scored)


def by_size(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Largest first, whatever the sign."""
    return tuple(sorted(parts, key=lambda part: -abs(part.score)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """What node scores say, without the latents."""

    heads: tuple[HeadScore, ...]
    layers: tuple[LayerScore, ...]
    tokens: tuple[TokenScore, ...]
    constant_of_tokens: float


def nodes_of(scores: NodeScores, spans: Sequence[TextSpan], text: str) -> Nodes:
    """The parts of an explanation in the prompt's code points.

    The mark in front of every prompt is no part of the text and the same for all, so it counts as a constant.
    """
    heads = scores.heads.tolist()
    contributions = scores.tokens.tolist()
    layers = zip(scores.heads.sum(dim=1).tolist(), scores.mlps.tolist(), strict=True)
    tokens = (
        TokenScore(span, text[span.start : span.end], score)
        for span, score in zip(spans[1:], contributions[1:], strict=False)
    )
    return Nodes(
        heads=by_size(
            HeadScore(layer, head, score) for layer, row in enumerate(heads) for head, score in enumerate(row)
        ),
        layers=by_size(LayerScore(layer, *parts) for layer, parts in enumerate(layers)),
        tokens=by_size(tokens),
        constant_of_tokens=scores.bias + contributions[0],
    )


def strongest_parts(nodes: Nodes, count: int) -> list[tuple[Head | Mlp, float]]:
    """The heads and MLPs with the largest scores by size, largest first."""
    parts: list[tuple[Head | Mlp, float]] = [
        (Head(each.layer, each.head), each.score) for each in nodes.heads
    ]
    parts += [(Mlp(each.layer), each.mlp) for each in nodes.layers]
    return sorted(parts, key=lambda part: -abs(part[1]))[:count]


def fired_latents(
    bundle: Bundle,
    activation: Float[Tensor, "pos d_model"],
    positions: Sequence[int],
    spans: Sequence[TextSpan],
) -> tuple[LatentScore, ...]:
    """All latents that the readout weighs and that fired where a site is read, one for each token.

    Args:
        bundle: its coder and readout.
        activation: of the prompt, at the coder's site.
        positions: one a slot; below 0 and at attention sinks nothing is read.
        spans: of the prompt's tokens.
    """
    coder, weights = bundle.coder, bundle.readout.weights
    keep = sink_mask(activation).tolist()
    read = {
        at: coder.encode(activation[at][None])[0].float().cpu() for at in {*positions} if at >= 0 and keep[at]
    }
    summed: dict[int, Tensor] = {}
    for slot, at in enumerate(positions):
        if at in read:
            summed[at] = summed.get(at, torch.zeros(coder.d_sae)) + weights[slot].float().cpu()
    return by_size(
        LatentScore(
            latent=latent,
            feature=f"{coder.site.hook_name}/{latent}",
            activation=float(latents[latent]),
            threshold=float(coder.threshold[latent]),
            score=float(summed[at][latent] * latents[latent]),
            span=spans[at],
            label=label_of(bundle, latent),
        )
        for at, latents in read.items()
        for latent in (latents * summed[at]).nonzero().flatten().tolist()
    )


def label_of(bundle: Bundle, latent: int) -> str:
    """What is known of a latent, in a few words: tokens, and the bugs that it fires on more."""
    tokens = ", ".join(dict.fromkeys(_shown(token) for token in bundle.labels.get(latent, ())))
    feature = next((each for each in bundle.catalog if each.feature_idx == latent), None)
    parts = [f"fires most on {tokens}"] if tokens else []
    if feature is not None:
        kinds = ", ".join(kind.replace("_", " ") for kind in feature.kinds) or "any kind"
        parts.append(f"an error feature: {kinds}")
    return "; ".join(parts)


def _shown(token: str) -> str:
    """A token for a person: blanks in front say nothing, but a token of blanks alone is one."""
    if token.strip():
        return repr(token.strip())
    return "line end" if "\n" in token or "\r" in token else "blanks"


def placed(attribution: Attribution, place: Place) -> Attribution:
    """The same with spans of the document that a place is in; tokens that are not written there have none.

    The target and the tokens behind it, where latents are read, lie in the scope, and so in the document.
    """

    def somewhere(span: TextSpan) -> TextSpan:
        return place.in_document(span) or span

    def moved(token: TokenScore) -> TokenScore:
        span = None if token.span is None else place.in_document(token.span)
        if span is None:
            return replace(token, span=None)
        return replace(token, span=span, text=place.document.text[span.start : span.end])

    return replace(
        attribution,
        target=replace(attribution.target, span=somewhere(attribution.target.span)),
        latents=tuple(replace(each, span=somewhere(each.span)) for each in attribution.latents),
        tokens=tuple(map(moved, attribution.tokens)),
    )
