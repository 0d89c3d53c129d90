"""Why a place looks wrong, or why the model expects what it expects there: `Engine.explain`.

One pass forward and one back from the number that is explained (decomposition/relp.py) give every head, MLP
and token at once. A candidate site is explained by the log-odds that a scan reads there, on the prompt that
the scan reads, with the blocks that it has loaded; any other token by the full model, whose logit of it is
compared with that of what it expects most beside it. Only what stands up to the place is run: attention is
causal. What was explained is kept by the scope's text, so a second look costs nothing.
"""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.logits import logits_of
from ace_analysis.decomposition.memory import ensure_fits
from ace_analysis.decomposition.nodes import Head
from ace_analysis.decomposition.patching import ablate
from ace_analysis.decomposition.readout import BoundTarget
from ace_analysis.decomposition.relp import one_pass
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import LogitDifference, ReadoutTarget, Target
from ace_analysis.engine import scores as kept
from ace_analysis.engine.attributions import (
    MOST_LATENTS,
    Nodes,
    fired_latents,
    label_of,
    nodes_of,
    placed,
    strongest_parts,
)
from ace_analysis.engine.cache import ResultCache
from ace_analysis.engine.places import Place
from ace_analysis.engine.prompts import Piece, ScopePrompt, tail_before
from ace_analysis.engine.scores import ScopeScores
from ace_analysis.errors import InputError
from ace_analysis.features.bundle import Bundle, Calibration
from ace_analysis.features.positions import site_positions
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.sites import Site
from ace_analysis.model.store import Progress
from ace_analysis.model.tokens import TokenizedText
from ace_analysis.report.attribution import Attribution, AttributionTarget, PartCheck, TargetKind
from ace_analysis.report.attribution_wire import attribution_from_wire, attribution_to_wire
from ace_analysis.source.document import TextSpan
from ace_analysis.source.kinds import kind_of
from ace_analysis.source.sites import CandidateSite

if TYPE_CHECKING:
    from ace_analysis.model.causal import CausalModel

METHOD = (
    "one pass forward and two back: tokens and large MLPs with attention patterns, norms and gates held as"
    " they were, heads and other MLPs by gradients"
)
FROZEN = (
    "What a part does by changing where attention looks, a norm or a gate is counted to first order at most,"
    " so a part's real effect, when it is taken out, can differ."
)
ReadScope = Callable[[str, str, Callable[[], bool]], tuple[list[Piece], ScopeScores]]

VERSION = "2"
"""Raised when the same text would be explained differently: what was kept before is then not found again."""

TOLERANCE = 1e-2
"""Log-odds by which an explained score may differ from the scan's before that is told."""


@dataclass(slots=True, eq=False)
class _Seen:
    """A target that remembers what it was bound to, so that nothing is run twice."""

    target: Target
    activation: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    tokens: tuple[int, ...] = ()

    def site(self, anatomy: Anatomy) -> Site:
        return self.target.site(anatomy)

    def last_position(self, length: int) -> int:
        return self.target.last_position(length)

    def bind(self, activation: Float[Tensor, "pos width"], anatomy: Anatomy) -> BoundTarget:
        bound = self.target.bind(activation, anatomy)
        self.activation, self.tokens = activation, bound.tokens
        return bound


@dataclass(frozen=True, slots=True)
class _Asked:
    """A candidate site, `index` of its prompt's, in the piece that a scan reads it in, and what it reads."""

    piece: Piece
    index: int
    logit: float

    @property
    def site(self) -> CandidateSite:
        return self.piece.prompt.sites[self.index]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Explainer:
    """What one explanation needs of an engine.

    `causal` gives the full model, which only a token needs; `read` what a scan reads of a scope's header and
    text; a place is a finding from `threshold` on, in log-odds; `check` parts are taken out of the model.
    """

    bundle: Bundle
    scanner: ResidualScanner
    causal: Callable[[], "CausalModel"]
    read: ReadScope
    cache: ResultCache
    identity: tuple[str, ...]
    cancelled: Callable[[], bool]
    progress: Progress
    threshold: float
    check: int = 0

    def explain(self, place: Place, *, expectation: bool = False) -> Attribution:
        """The explanation of a candidate site, or of a token: where there is none, or for `expectation`."""
        asked = None if expectation else self._asked(place)
        found = self._explained_token(place) if asked is None else self._explained_site(place, asked)
        return placed(found, place)

    def _asked(self, place: Place) -> _Asked | None:
        pieces, scores = self.read(place.scope.header, place.text, self.cancelled)
        for piece in pieces:
            for index in piece.sites:
                span = piece.prompt.sites[index].span
                if span.start <= place.in_prompt < span.end:
                    own = span.shifted(-piece.prompt.header)
                    logit = next((each.logit for each in scores if each.span == own), None)
                    return None if logit is None else _Asked(piece, index, logit)
        return None

    def _explained_site(self, place: Place, asked: _Asked) -> Attribution:
        """Why a candidate site scores as it does."""
        parts = ("site", asked.site.kind.value, str(asked.site.span))
        found = self._kept(place, parts, lambda: self._site(asked))
        calibration = self.bundle.calibration
        target = replace(
            found.target,
            kind=TargetKind.FINDING if asked.logit >= self.threshold else TargetKind.SITE,
            probability=calibration.probability(asked.logit),
            threshold=calibration.probability(self.threshold),
        )
        notes = [_how_sure(calibration), FROZEN, *found.notes]
        if abs(found.value - asked.logit) > TOLERANCE:
            notes.append(f"The scan, which reads the whole scope, says {asked.logit:+.2f} {found.unit} here.")
        latents = tuple(replace(each, label=label_of(self.bundle, each.latent)) for each in found.latents)
        return replace(found, target=target, latents=latents, notes=tuple(notes))

    def _explained_token(self, place: Place) -> Attribution:
        """Why the model expects, or doesn't expect, the token at a place."""
        tokens = self.scanner.tokenizer.encode(place.scope.header + place.text)
        behind = (index for index, span in enumerate(tokens.spans) if span.end > place.in_prompt)
        at = next(behind, len(tokens) - 1)
        found = self._kept(place, ("token", str(at)), lambda: self._token(place, tokens, at))
        return replace(found, notes=(FROZEN, *found.notes))

    def _kept(self, place: Place, parts: tuple[str, ...], explain: Callable[[], Attribution]) -> Attribution:
        """What was explained before of the same text, else what is explained now; places are the prompt's."""
        key = kept.key_of(
            (*self.identity, "explained", VERSION, str(self.check), place.scope.header, place.text, *parts)
        )
        data = self.cache.get(key)
        if data is not None:
            with contextlib.suppress(InputError, ValueError):
                return attribution_from_wire(json.loads(data))
        found = explain()
        self.cache.put(key, json.dumps(attribution_to_wire(found)).encode())
        return found

    def _site(self, asked: _Asked) -> Attribution:
        piece, site = asked.piece, asked.site
        text = piece.prompt.text
        slots = self.bundle.readout.slots
        positions = site_positions(text, piece.spans, [site.span], slots)[0].tolist()
        seen = _Seen(ReadoutTarget(self.bundle, tuple(positions), site.kind.value))
        self.progress("explaining", None)
        ids = piece.ids[: max(positions) + 1]
        scores = self._scores(Anatomy.of(self.scanner), ids, seen)
        latents = fired_latents(self.bundle, seen.activation, positions, piece.spans)
        nodes = nodes_of(scores, piece.spans, text)
        constant = self.bundle.readout.kind_bias[site.kind]
        return Attribution(
            target=AttributionTarget(
                kind=TargetKind.SITE,
                span=site.span,
                text=site.text,
                description=f"evidence that {site.text!r} is wrong here",
                finding_kind=kind_of(site.kind),
                probability=0.0,
            ),
            unit="log-odds",
            value=scores.total,
            latents=latents[:MOST_LATENTS],
            heads=nodes.heads,
            layers=nodes.layers,
            tokens=nodes.tokens,
            constant=constant,
            other_latents=sum(each.score for each in latents[MOST_LATENTS:]),
            constant_of_tokens=nodes.constant_of_tokens,
            unexplained=scores.unexplained,
            checks=self._checks(self.scanner, ids, seen.target, nodes),
            method=METHOD,
            notes=_window_note(piece.spans, piece.prompt),
        )

    @torch.no_grad()
    def _token(self, place: Place, tokens: TokenizedText, at: int) -> Attribution:
        prompt = ScopePrompt(place.scope.header + place.text, len(place.scope.header), ())
        before = tail_before(prompt, tokens, at, self.bundle.max_tokens)
        model = self.causal()
        anatomy = Anatomy.of(model.model)
        seen = _Seen(LogitDifference(actual=tokens.ids[at]))
        self.progress("explaining", None)
        scores = self._scores(anatomy, before.ids, seen)
        other = seen.tokens[1]
        odds = logits_of(anatomy, seen.activation[-1:])[0].float().softmax(dim=0)
        nodes = nodes_of(scores, before.spans, prompt.text)
        span = tokens.spans[at]
        text, spelt = prompt.text[span.start : span.end], self.scanner.tokenizer.spell(other)
        return Attribution(
            target=AttributionTarget(
                kind=TargetKind.TOKEN,
                span=span,
                text=text,
                description=f"what the model expects here, {text!r} rather than {spelt!r}",
                probability=float(odds[tokens.ids[at]]),
                alternative=spelt,
                alternative_probability=float(odds[other]),
            ),
            unit="logits",
            value=scores.total,
            heads=nodes.heads,
            layers=nodes.layers,
            tokens=nodes.tokens,
            constant_of_tokens=nodes.constant_of_tokens,
            unexplained=scores.unexplained,
            checks=self._checks(model.model, before.ids, seen.target, nodes),
            method=METHOD,
            notes=_window_note(before.spans, prompt),
        )

    def _scores(self, anatomy: Anatomy, ids: list[int], target: Target) -> NodeScores:
        ensure_fits(anatomy, len(ids), target.site(anatomy).layer + 1)
        return one_pass(anatomy, torch.tensor(ids), target, cancelled=self.cancelled)

    def _checks(self, model: Any, ids: list[int], target: Target, nodes: Nodes) -> tuple[PartCheck, ...]:
        """What the model itself does without each of the strongest parts."""
        if self.check < 1:
            return ()
        parts = strongest_parts(nodes, self.check)
        self.progress(f"taking out {len(parts)} parts, one at a time", None)
        found = ablate(
            model, torch.tensor(ids), [node for node, _ in parts], target, cancelled=self.cancelled
        )
        return tuple(
            PartCheck(node.layer, node.head if isinstance(node, Head) else None, score, effect)
            for (node, score), effect in zip(parts, found.effects.tolist(), strict=True)
        )


def _how_sure(calibration: Calibration) -> str:
    return (
        f"The probability is calibrated on held-out projects, for code with one wrong place in"
        f" {1 / calibration.prior:.0f}; it is no proof."
    )


def _window_note(spans: Sequence[TextSpan], prompt: ScopePrompt) -> tuple[str, ...]:
    """Said where the start of a long scope was not read."""
    starts = [span.start for span in spans[1:] if span.end > prompt.header]
    if not starts or prompt.text[prompt.header : starts[0]].strip() == "":
        return ()
    return ("The scope is too long to be read at once: what stands at its start was not read.",)
