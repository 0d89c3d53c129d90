"""From what a person asks for to an edit: the words, latents, kind of bug or direction, and what it costs.

The command line and the language server ask with the same names, so that both make the same edit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ace_analysis.editing.concept import Concept, concept_of_directions, concept_of_tokens, token_spellings
from ace_analysis.editing.deltas import with_deltas
from ace_analysis.editing.disentangler import find_disentangler
from ace_analysis.editing.ledger import Edit
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.signs import signs_on
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Bundle, find_bundle
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.disk import Progress
from ace_analysis.model.edits import base_of
from ace_analysis.model.store import resolve_model

MU, TAU = 4.0, 0.5
"""What a search found best for a library's name; `ace bench editing` searches for other concepts."""

MEASURED_TOKENS = 192
WINDOW, WINDOWS = 256, 8
"""Tokens of a piece of the user's text, and how many pieces are read at most."""
_TEXT = Path(__file__).parents[1] / "examples" / "buggy_example.py"
_LATENT = "latent:"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """One of `words`, `latents`, `kind` and `direction` says what goes.

    words: whose tokens' latents of the disentangler are erased.
    texts: code that has the words, with `words` only; the signs of neurons are read off it.
    latents: of the disentangler, erased.
    kind: of bug; the disentangler's latents nearest to its error features are erased.
    direction: "latent:N" of the bundle's sparse coder, or a .safetensors file with one vector: removed.
    """

    words: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    latents: tuple[int, ...] = ()
    kind: str | None = None
    direction: str | None = None
    layer: int | None = None
    component: str = "mlp_out"
    strength: float = 1.0
    mu: float = MU
    tau: float = TAU
    limit: int = 5
    reason: str = ""
    name: str | None = None
    measure: bool = True

    def __post_init__(self) -> None:
        chosen = [bool(self.words), bool(self.latents), self.kind is not None, self.direction is not None]
        if sum(chosen) != 1:
            raise InputError("expected one of words, latents, kind and direction, to say what is to go")
        if bool(self.words) != bool(self.texts):
            raise InputError(
                f"expected texts that have the words together with them, got {len(self.texts)} texts and"
                f" {len(self.words)} words: without a text an erasure can strengthen a word"
            )


def request_from(data: Mapping[str, Any]) -> EditRequest:
    """A request from JSON; names as in EditRequest.

    Raises InputError for a name or a value that can't be used.
    """
    readers: dict[str, tuple[Any, str]] = {
        **dict.fromkeys(("words", "texts"), (lambda v: _list(v, str), "a list of texts")),
        "latents": (lambda v: _list(v, int), "a list of whole numbers"),
        **dict.fromkeys(
            ("kind", "direction", "component", "reason", "name"), (lambda v: _is(v, str), "a text")
        ),
        **dict.fromkeys(("strength", "mu", "tau"), (lambda v: float(_is(v, int | float)), "a number")),
        **dict.fromkeys(("layer", "limit"), (lambda v: _is(v, int), "a whole number")),
        "measure": (lambda v: _is(v, bool), "true or false"),
    }
    values = {}
    for name, value in data.items():
        if name not in readers:
            known = ", ".join(each.name for each in fields(EditRequest))
            raise InputError(f"expected one of {known}, got {name!r}")
        read, expected = readers[name]
        try:
            if value is not None:
                values[name] = read(value)
        except TypeError as error:
            raise InputError(f"{name}: expected {expected}, got {value!r}") from error
    return EditRequest(**values)


def prepare(
    causal: CausalModel, request: EditRequest, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[Edit, EditPlan]:
    """Work an edit out and measure it; the model is as before, and nothing is written.

    Raises:
        InputError: an unknown latent, word, kind, layer or component.
        BundleError: no disentangler, or none of that layer.
        Cancelled: when `cancelled` says so.
    """
    stored = resolve_model(causal.info.name if causal.info.edited_from else str(causal.info.folder))
    progress("working the edit out", 0.1)
    plan, concept = _plan(causal, request)
    if cancelled():
        raise Cancelled("the edit was cancelled; nothing was written")
    measured = _measured(causal, plan, concept, (progress, cancelled)) if request.measure else {}
    progress("planned", 1.0)
    edit = Edit.of_plan(stored, plan, reason=request.reason, name=request.name, measured=measured)
    return edit, plan


@dataclass(frozen=True, slots=True)
class _Watched:
    """Tokens whose probability is told, and where: pieces of text in which one of them comes."""

    tokens: tuple[int, ...] = ()
    pieces: tuple[Tensor, ...] = ()


def _plan(causal: CausalModel, request: EditRequest) -> tuple[EditPlan, _Watched]:
    bundle = find_bundle(causal.info.name, causal.info.fingerprint)
    if request.direction is not None:
        direction, layer = _direction(request.direction, bundle, request.layer)
        component: Any = request.component
        plan = PISCES(causal.model).remove_direction(direction, layer, component, request.strength)
        return EditPlan(plan.deltas, {**plan.parameters, "direction": request.direction}), _Watched()
    found = find_disentangler(bundle.folder, request.layer)
    found.check_fingerprint(base_of(causal.info.fingerprint))
    concept = _concept(causal, request, found.coder, bundle)
    pieces = _pieces(causal, request.texts, concept.tokens)
    signs = signs_on(causal.model, found.layer, pieces, concept.tokens) if request.texts else None
    plan = PISCES(causal.model, found.coder).erase(concept, request.mu, request.tau, signs=signs)
    return plan, _Watched(concept.tokens if pieces else (), pieces)


def _pieces(causal: CausalModel, texts: tuple[str, ...], tokens: tuple[int, ...]) -> tuple[Tensor, ...]:
    wanted = torch.tensor(tokens, dtype=torch.long)
    pieces: list[Tensor] = []
    for text in texts:
        ids = torch.as_tensor(causal.tokenizer.encode(text).ids, dtype=torch.long)
        pieces += [each for each in ids.split(WINDOW) if bool(torch.isin(each[1:], wanted).any())]
    return tuple(pieces[:WINDOWS])


def _concept(causal: CausalModel, request: EditRequest, coder: SparseCoder, bundle: Bundle) -> Concept:
    if request.latents:
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


@torch.no_grad()
def _measured(
    causal: CausalModel, plan: EditPlan, watched: _Watched, how: tuple[Progress, Callable[[], bool]]
) -> dict[str, Any]:
    """Before and after: perplexity on a short Python text, and the words' probability where they come."""
    progress, cancelled = how
    ids = torch.as_tensor(causal.tokenizer.encode(_TEXT.read_text(encoding="utf-8")).ids[:MEASURED_TOKENS])
    progress("measuring before", 0.4)
    before = _numbers(causal, ids, watched)
    if cancelled():
        raise Cancelled("the edit was cancelled; nothing was written")
    progress("measuring after", 0.7)
    with with_deltas(causal.model, plan.deltas):
        after = _numbers(causal, ids, watched)
    told: dict[str, Any] = {name: {"before": before[name], "after": after[name]} for name in before}
    where = f", and the words in {len(watched.pieces)} pieces of the given text" if watched.pieces else ""
    return {**told, "on": f"{len(ids)} tokens of {_TEXT.name}{where}"}


def _numbers(causal: CausalModel, ids: Tensor, watched: _Watched) -> dict[str, float]:
    loss = -_log_probabilities(causal, ids).gather(1, ids[1:, None].to(causal.info.device)).mean()
    told = {"perplexity": float(loss.exp())}
    if watched.pieces:
        wanted = torch.tensor(watched.tokens, dtype=torch.long)
        chances = [
            _log_probabilities(causal, each)[torch.isin(each[1:], wanted)][:, list(watched.tokens)].exp()
            for each in watched.pieces
        ]
        told["word_probability"] = float(torch.cat(chances).sum(-1).mean())
    return told


def _log_probabilities(causal: CausalModel, ids: Tensor) -> Tensor:
    """Of each token but the first, [pos - 1, d_vocab]."""
    given = ids[None].to(causal.info.device)
    return causal.model(input_ids=given, use_cache=False).logits[0, :-1].float().log_softmax(-1)


def _list(value: Any, kind: type) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not all(_is(each, kind) is not None for each in value):
        raise TypeError
    return tuple(value)


def _is(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value
