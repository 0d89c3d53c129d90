"""The circuit behind a place of a document: of a candidate site's log-odds, or of a token's logit.

What is read and run is what a scan reads of the place, as for `Engine.explain`; what is asked is more: which
heads and MLPs are enough, by really running the model with all others ablated. It costs some hundred passes,
so it is a command and no hover.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.circuit import CircuitOptions, find_circuit
from ace_analysis.decomposition.circuit_edges import named, with_edges
from ace_analysis.decomposition.memory import ensure_fits
from ace_analysis.decomposition.targets import LogitDifference, ReadoutTarget, Target
from ace_analysis.engine.places import Place, place_at
from ace_analysis.engine.prompts import Reading, ScopePrompt, pieces_of, tail_before
from ace_analysis.engine.scanning import Engine
from ace_analysis.features.positions import site_positions
from ace_analysis.model.scan import never
from ace_analysis.report.circuit import Circuit
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.sites import CandidateSite, candidate_sites

PICTURE = (
    "Edges are first-order estimates (EAP) between what the circuit's parts write and read; how faithful the"
    " circuit is was measured by running the model with everything else ablated."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Aim:
    """What is run, and what is explained of it."""

    model: Any
    ids: list[int]
    spans: Sequence[TextSpan]
    text: str
    target: Target
    description: str


def circuit_at(
    engine: Engine,
    document: CodeDocument,
    offset: int,
    options: CircuitOptions | None = None,
    *,
    expectation: bool = False,
    cancelled: Callable[[], bool] = never,
) -> Circuit:
    """The circuit of the candidate site at an offset, or of any other token there, or for `expectation`.

    Raises:
        InputError: there is nothing to explain at the offset, or memory is too small for the text up to it.
        Cancelled: the caller asked to stop.
    """
    options = options or CircuitOptions()
    place = place_at(document, offset)
    site = None if expectation else _site_at(engine, place)
    aim = _at_token(engine, place, options) if site is None else _at_site(engine, place, site)
    anatomy = Anatomy.of(aim.model)
    ensure_fits(anatomy, len(aim.ids), aim.target.site(anatomy).layer + 1)
    ids = torch.tensor([aim.ids])
    found = find_circuit(aim.model, ids, aim.target, options, cancelled=cancelled)
    options.tell("the edges")
    found = with_edges(found, aim.model, ids, aim.target, ablation=options.ablation, cancelled=cancelled)
    texts = [aim.text[span.start : span.end] for span in aim.spans]
    line, column = document.line_column(offset)
    where = f"{document.uri}:{line}:{column}"
    return replace(named(found, texts), target=aim.description, notes=(PICTURE,), place=where)


def _site_at(engine: Engine, place: Place) -> CandidateSite | None:
    """The candidate site at a place whose kind the readout knows."""
    at = place.offset - place.scope.span.start
    known = engine.bundle.readout.kind_bias
    return next(
        (
            site
            for site in candidate_sites(place.text)
            if site.span.start <= at < site.span.end and site.kind in known
        ),
        None,
    )


def _at_site(engine: Engine, place: Place, site: CandidateSite) -> _Aim:
    header, bundle = len(place.scope.header), engine.bundle
    moved = CandidateSite(site.span.shifted(header), site.kind, site.text)
    prompt = ScopePrompt(place.scope.header + place.text, header, (moved,))
    tokens = engine.scanner.tokenizer.encode(prompt.text)
    (piece,) = pieces_of(0, prompt, tokens, Reading(bundle.readout.slots, bundle.max_tokens))
    positions = site_positions(prompt.text, piece.spans, [moved.span], bundle.readout.slots)[0].tolist()
    target = ReadoutTarget(bundle, tuple(positions), site.kind.value)
    about = f"evidence that {site.text!r} is wrong here"
    return _Aim(engine.scanner, piece.ids[: max(positions) + 1], piece.spans, prompt.text, target, about)


def _at_token(engine: Engine, place: Place, options: CircuitOptions) -> _Aim:
    prompt = ScopePrompt(place.scope.header + place.text, len(place.scope.header), ())
    tokens = engine.scanner.tokenizer.encode(prompt.text)
    at = next(index for index, span in enumerate(tokens.spans) if span.start <= place.in_prompt < span.end)
    before = tail_before(prompt, tokens, at, engine.bundle.max_tokens)
    text = prompt.text[tokens.spans[at].start : tokens.spans[at].end]
    model = engine.causal(options.progress).model
    about = f"what the model expects here, {text!r} rather than the best other token"
    return _Aim(model, before.ids, before.spans, prompt.text, LogitDifference(tokens.ids[at]), about)
