"""From a request to an edit: the latents or the direction it means, the signs of neurons, and what it costs.

Signs are read off the first, third, … piece of a text and the effects are measured on the others, so that
what is told was not chosen on what it is told of, wherever a text has two pieces or more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ace_analysis.editing.concept import Concept, concept_of_directions, concept_of_tokens, token_spellings
from ace_analysis.editing.disentangler import find_disentangler
from ace_analysis.editing.firing import firing_on
from ace_analysis.editing.ledger import Edit
from ace_analysis.editing.measuring import MEASURED_TOKENS, Watched, effects_of, example_ids
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.plan import NOTE, EditPlan
from ace_analysis.editing.requesting import EditRequest
from ace_analysis.editing.signs import signs_on
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Bundle, find_bundle
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.disk import Progress
from ace_analysis.model.edits import base_of
from ace_analysis.model.store import resolve_model

WINDOW, WINDOWS = 128, 8
"""Tokens of a piece of the user's text, and how many pieces are read at most."""

UNSIGNED = (
    "no text was given, so all neurons count as positive: that can strengthen what is to go. Give a text that"
    " has it, and look at the latents' activation"
)
_LATENT = "latent:"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Erasure:
    """An erasure whose mu and tau are still to be chosen."""

    causal: CausalModel
    pisces: PISCES
    coder: SparseCoder
    concept: Concept
    signs: Tensor | None
    pieces: tuple[Tensor, ...]
    """Of the text, with the concept's tokens: those that may be chosen on."""
    others: tuple[Tensor, ...]
    """Of the text, without them."""


Searcher = Callable[[Erasure, Progress, Callable[[], bool]], tuple[float, float, Mapping[str, Any]]]
"""Chooses mu and tau; what is to be told of that, as JSON, goes into the receipt."""


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    plan: EditPlan
    watched: Watched = field(default_factory=Watched)


def prepare(
    causal: CausalModel,
    request: EditRequest,
    progress: Progress,
    cancelled: Callable[[], bool],
    searcher: Searcher | None = None,
) -> tuple[Edit, EditPlan]:
    """Work an edit out and measure it; the model is as before, and nothing is written.

    Args:
        searcher: what a request with `search` is answered by.

    Raises:
        InputError: an unknown latent, word, kind, layer or component.
        BundleError: no disentangler, or none of that layer.
        FingerprintError: the disentangler is another model's.
        Cancelled: when `cancelled` says so.
    """
    if request.search and searcher is None:
        raise InputError("expected mu and tau, got search, and nothing that searches; use `ace edit plan`")
    stored = resolve_model(causal.info.name if causal.info.edited_from else str(causal.info.folder))
    progress("working the edit out", 0.1)
    bundle = find_bundle(causal.info.name, causal.info.fingerprint)
    if request.direction is not None:
        planned = _removal(causal, request, bundle)
    else:
        planned = _erasure(causal, request, bundle, (progress, cancelled, searcher))
    if cancelled():
        raise Cancelled("the edit was cancelled; nothing was written")
    measured: dict[str, Any] = {}
    if request.measure:
        measured = effects_of(causal, planned.plan.deltas, planned.watched, progress, cancelled)
    progress("planned", 1.0)
    edit = Edit.of_plan(stored, planned.plan, reason=request.reason, name=request.name, measured=measured)
    return edit, planned.plan


def _removal(causal: CausalModel, request: EditRequest, bundle: Bundle) -> _Planned:
    direction, layer = _direction(str(request.direction), bundle, request.layer)
    component: Any = request.component
    plan = PISCES(causal.model).remove_direction(
        direction, layer, component, request.strength, embedding=request.embedding
    )
    return _Planned(EditPlan(plan.deltas, {**plan.parameters, "direction": request.direction}))


def _erasure(
    causal: CausalModel,
    request: EditRequest,
    bundle: Bundle,
    how: tuple[Progress, Callable[[], bool], Searcher | None],
) -> _Planned:
    progress, cancelled, searcher = how
    last = len(causal.blocks) - 1
    if request.layer is not None and not 0 <= request.layer <= last:
        raise InputError(f"expected a layer from 0 to {last}, got {request.layer}")
    found = find_disentangler(bundle.folder, request.layer)
    found.check_fingerprint(base_of(causal.info.fingerprint))
    coder = found.coder
    concept = _concept(causal, request, coder, bundle)
    pieces, others = _pieces(causal, request.texts, concept.tokens)
    signs, why = _signs(causal, coder, concept, pieces[::2])
    pisces = PISCES(causal.model, coder)
    setting, told = (request.mu, request.tau), {}
    if request.search and searcher is not None:
        erasure = Erasure(
            causal=causal,
            pisces=pisces,
            coder=coder,
            concept=concept,
            signs=signs,
            pieces=pieces[::2],
            others=others,
        )
        mu, tau, told = searcher(erasure, progress, cancelled)
        setting = (mu, tau)
    plan = pisces.erase(concept, *setting, signs=signs)
    watched = _watched(causal, coder, concept, pieces)
    return _Planned(EditPlan(plan.deltas, {**plan.parameters, **told, **why}), watched)


def _signs(
    causal: CausalModel, coder: SparseCoder, concept: Concept, pieces: tuple[Tensor, ...]
) -> tuple[Tensor | None, dict[str, str]]:
    """Signs of neurons, and what they were read off."""
    if concept.tokens:
        wanted = torch.tensor(concept.tokens)
        places = sum(int(torch.isin(each[1:], wanted).sum()) for each in pieces)
        signs = signs_on(causal.model, coder.site.layer, pieces, concept.tokens)
        return signs, {"signs_read": f"before the words, at {places} places of the text"}
    if not pieces:
        return None, {NOTE: UNSIGNED}
    fired = firing_on(causal.model, coder, concept.latents, pieces)
    return fired.signs(), {
        "signs_read": f"where the latents fire, at {fired.places} of {fired.tokens} tokens of the text"
    }


def _watched(
    causal: CausalModel, coder: SparseCoder, concept: Concept, pieces: tuple[Tensor, ...]
) -> Watched:
    """The pieces that nothing was chosen on; the one there is, where there is one."""
    what = "the words" if concept.tokens else "the latents"
    told_on = pieces[1::2] or pieces
    if not told_on:
        example = (example_ids(causal)[:MEASURED_TOKENS],)
        return Watched(pieces=example, coder=coder, latents=concept.latents, called=f", {what} too")
    where = f"{len(told_on)} other piece{'s' * (len(told_on) > 1)}" if len(pieces) > 1 else "the one piece"
    called = f", and {what} in {where} of the given text"
    if concept.tokens:
        return Watched(pieces=told_on, tokens=concept.tokens, called=called)
    return Watched(pieces=told_on, coder=coder, latents=concept.latents, called=called)


def _pieces(
    causal: CausalModel, texts: tuple[str, ...], tokens: tuple[int, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Pieces of the texts that have one of the tokens, from all over them, and pieces that have none.

    Without tokens, all have.
    """
    wanted = torch.tensor(tokens, dtype=torch.long)
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for text in texts:
        ids = torch.as_tensor(causal.tokenizer.encode(text).ids, dtype=torch.long)
        for each in ids.split(WINDOW):
            if len(each) > 1:
                found[not tokens or bool(torch.isin(each[1:], wanted).any())].append(each)
    return _spread(found[True]), _spread(found[False])


def _spread(pieces: list[Tensor]) -> tuple[Tensor, ...]:
    step = -(-len(pieces) // WINDOWS) or 1
    return tuple(pieces[::step])


def _concept(causal: CausalModel, request: EditRequest, coder: SparseCoder, bundle: Bundle) -> Concept:
    if request.latents:
        if unknown := [each for each in request.latents if not 0 <= each < coder.d_sae]:
            raise InputError(f"expected latents from 0 to {coder.d_sae - 1}, got {unknown}")
        return Concept.of_latents(request.latents)
    if request.words:
        known = min(len(causal.model.get_output_embeddings().weight), causal.tokenizer.vocabulary_size)
        tokens = token_spellings(causal.tokenizer.spell, known, request.words)
        name = " ".join(request.words)
        return concept_of_tokens(causal.model, coder, tokens, limit=request.limit, name=name)
    kind = str(request.kind)
    features = [each for each in bundle.catalog if kind in each.kinds and each.direction == "buggy"]
    if not features:
        known_kinds = ", ".join(sorted({kind for each in bundle.catalog for kind in each.kinds})) or "none"
        raise InputError(f"expected a kind that has error features ({known_kinds}), got {kind!r}")
    rows = bundle.coder.W_dec[[each.feature_idx for each in features]]
    return concept_of_directions(coder, rows, limit=request.limit, name=kind)


def _direction(said: str, bundle: Bundle, layer: int | None) -> tuple[Tensor, int]:
    if said.startswith(_LATENT):
        number = said.removeprefix(_LATENT)
        if not number.isdecimal() or int(number) >= bundle.coder.d_sae:
            raise InputError(f"expected latent:0 to latent:{bundle.coder.d_sae - 1}, got {said!r}")
        return bundle.coder.W_dec[int(number)], bundle.layer if layer is None else layer
    if layer is None:
        raise InputError(f"expected a layer for the direction {said}, got none; say --layer")
    try:
        vectors = [each for each in load_file(Path(said).expanduser()).values() if each.ndim == 1]
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"expected latent:N or a .safetensors file with a vector, got {said}: {error}"
        ) from error
    if len(vectors) != 1:
        raise InputError(f"expected one vector in {said}, got {len(vectors)}")
    return vectors[0], layer
