"""Vectors from a sparse coder's latents, chosen by what they do to the output and not only by when they fire.

A latent that fires on wrong code need not write anything about it: steering with such features works two to
three times worse than with features that move the output (Arad et al., arXiv:2505.20063, §4). So a latent's
decoder row is taken out of the stream at the token that chooses a place's text, and what counts is how much
more likely the right text's first token becomes against the wrong one's. All latents of a case are branches
of one pass.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.scan import never
from ace_analysis.settings import SteeringSettings
from ace_analysis.source.mutation import MutationPair
from ace_analysis.steering.applying import stream_changed
from ace_analysis.steering.prompts import middle_prompt
from ace_analysis.steering.token_tree import AGAIN, ROOT, TokenTree
from ace_analysis.steering.vector import SteeringVector

LONGEST_PROMPT = 256
"""Tokens around a place that its effect is measured with."""


@dataclass(frozen=True, slots=True)
class LatentEffect:
    """What taking a latent's direction out does: nats by which right gains on wrong, mean over `cases`."""

    latent: int
    effect: float
    cases: int


def latent_directions(bundle: Bundle, latents: Sequence[int]) -> Float[Tensor, "latent d_model"]:
    """What each latent writes when it just fires: its decoder row times its threshold."""
    at = torch.tensor(list(latents))
    return bundle.coder.W_dec[at].float() * bundle.coder.threshold[at].float()[:, None]


def vector_from_latents(
    bundle: Bundle, latents: Sequence[int], *, normalize: bool | None = None
) -> SteeringVector:
    """Away from latents that fire on wrong code: the sum of what they write, taken out.

    Raises:
        InputError: no latents, or ones that the bundle's coder doesn't have.
    """
    _check(bundle, latents)
    return SteeringVector(
        direction=-latent_directions(bundle, latents).sum(dim=0),
        layer=bundle.layer,
        model=bundle.model,
        fingerprint=bundle.fingerprint,
        normalize=SteeringSettings().normalize if normalize is None else normalize,
        about={"method": "sparse latents", "latents": list(latents)},
    )


def indifferent_latents(bundle: Bundle, count: int, seed: int = 0) -> tuple[int, ...]:
    """The control: latents that tell right from wrong least, by the readout, and are no error features.

    Raises:
        InputError: the coder has too few of them.
    """
    known = {each.feature_idx for each in bundle.catalog}
    weight = bundle.readout.weights.float().abs().sum(dim=0)
    others = [index for index in range(bundle.coder.d_sae) if index not in known]
    if not 0 < count <= len(others):
        raise InputError(f"expected 1 to {len(others)} latents that are no error features, got {count}")
    random.Random(seed).shuffle(others)
    return tuple(sorted(others, key=lambda index: float(weight[index]))[:count])


def effects_of(
    causal: CausalModel,
    bundle: Bundle,
    latents: Sequence[int],
    pairs: Sequence[MutationPair],
    strength: float = 1.0,
    cancelled: Callable[[], bool] = never,
) -> tuple[LatentEffect, ...]:
    """What taking each latent out does to right against wrong, the most helpful first.

    Pairs whose two texts begin with the same token tell nothing and are passed over.

    Raises:
        InputError: no latents, or no pair that tells anything.
        FingerprintError: the bundle was made for another model.
        Cancelled: when `cancelled()` turns true; it is asked before each pair.
    """
    _check(bundle, latents)
    bundle.check_fingerprint(causal.info.fingerprint)
    directions = -strength * latent_directions(bundle, latents)
    gains: list[Tensor] = []
    for pair in pairs:
        if cancelled():
            raise Cancelled("measuring latents was cancelled by the caller; nothing was kept")
        case = _case(causal, pair)
        if case is not None:
            gains.append(_gains(causal, bundle.layer, directions, case))
    if not gains:
        raise InputError(f"expected pairs whose texts differ in their first token, got none in {len(pairs)}")
    means = torch.stack(gains).mean(dim=0).tolist()
    effects = [
        LatentEffect(latent, effect, len(gains)) for latent, effect in zip(latents, means, strict=True)
    ]
    return tuple(sorted(effects, key=lambda each: -each.effect))


def chosen_latents(effects: Sequence[LatentEffect], count: int) -> tuple[int, ...]:
    """The latents whose removal helps most; none whose removal harms."""
    helpful = [each.latent for each in effects if each.effect > 0]
    return tuple(helpful[:count])


@dataclass(frozen=True, slots=True)
class _Case:
    prompt: list[int]
    right: int
    wrong: int


def _case(causal: CausalModel, pair: MutationPair) -> _Case | None:
    """The prompt that a place is filled in behind, and the first tokens of both texts."""
    right, wrong = (
        text[span.start : span.end]
        for text, span in ((pair.positive, pair.positive_span), (pair.negative, pair.negative_span))
    )
    tokens = [causal.tokenizer.encode(each).ids[1:] for each in (right, wrong)]
    if not all(tokens) or tokens[0][0] == tokens[1][0]:
        return None
    before, after = pair.positive[: pair.positive_span.start], pair.positive[pair.positive_span.end :]
    prompt = middle_prompt(causal.tokenizer, before, after, LONGEST_PROMPT)
    return _Case(prompt, tokens[0][0], tokens[1][0])


def _gains(
    causal: CausalModel, layer: int, directions: Float[Tensor, "latent d_model"], case: _Case
) -> Float[Tensor, " latent"]:
    """Nats that right gains on wrong under each direction, all of them in one pass."""
    tree = TokenTree(causal.model, case.prompt)

    def push(resid: Tensor, before: int) -> Tensor:
        return resid + directions.to(resid.device, resid.dtype)[None]

    with stream_changed(causal.blocks, layer, push):
        nodes = tree.grow([case.prompt[-1]] * len(directions), [AGAIN] * len(directions))
    rows = tree.log_probs([ROOT, *nodes]).float().cpu()
    leads = rows[:, case.right] - rows[:, case.wrong]
    return leads[1:] - leads[0]


def _check(bundle: Bundle, latents: Sequence[int]) -> None:
    size = bundle.coder.d_sae
    if not latents or not all(0 <= each < size for each in latents):
        raise InputError(f"expected latents from 0 to {size - 1}, got {list(latents)[:5]}")


def as_about(effects: Sequence[LatentEffect]) -> list[Mapping[str, float]]:
    """Effects as JSON, for what a vector says about itself."""
    return [{"latent": each.latent, "effect": each.effect, "cases": each.cases} for each in effects]
