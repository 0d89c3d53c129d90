"""`ace explain --json`: an explanation by line and column, for programs; SCHEMA describes it.

Lines count from 1 and columns from 0, in code points, as in `ace check --json`. `attribution_wire.py` is
another format, by offsets, between ACE's own processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ace_analysis
from ace_analysis.report.attribution import Attribution, AttributionTarget, LatentScore, TokenScore
from ace_analysis.report.schema import (
    COLUMN,
    DIALECT,
    END_COLUMN,
    LINE,
    NUMBER,
    TEXT,
    Json,
    array_of,
    object_of,
    or_null,
)
from ace_analysis.source.document import CodeDocument, TextSpan

VERSION = 1
"""Raised when a field changes its meaning or goes; not when one is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One place of a file and its explanation, or why there is none; `engine` is what it says of itself."""

    path: str
    document: CodeDocument
    why: Attribution | None = None
    error: str | None = None
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])


def explanation_of(explained: Explained) -> Json:
    """The explanation as JSON; with an `error`, there is nothing else to it."""
    told: Json = {
        "version": VERSION,
        "ace": ace_analysis.__version__,
        "model": explained.engine.get("model"),
        "bundle": explained.engine.get("bundle"),
        "engine": dict(explained.engine),
        "path": explained.path,
        "error": explained.error,
    }
    if explained.why is not None:
        told |= _attribution(explained.document, explained.why)
    return told


def _attribution(document: CodeDocument, why: Attribution) -> Json:
    return {
        "target": _target(document, why.target),
        "unit": why.unit,
        "value": why.value,
        "latents": [_latent(document, each) for each in why.latents],
        "heads": [{"layer": each.layer, "head": each.head, "score": each.score} for each in why.heads],
        "layers": [
            {"layer": each.layer, "attention": each.attention, "mlp": each.mlp, "score": each.score}
            for each in why.layers
        ],
        "tokens": [_token(document, each) for each in why.tokens],
        "constant": why.constant,
        "other_latents": why.other_latents,
        "constant_of_tokens": why.constant_of_tokens,
        "unexplained": why.unexplained,
        "checks": [
            {"layer": each.layer, "head": each.head, "score": each.score, "effect": each.effect}
            for each in why.checks
        ],
        "method": why.method,
        "notes": list(why.notes),
    }


def _target(document: CodeDocument, target: AttributionTarget) -> Json:
    return {
        "kind": target.kind.value,
        **_place(document, target.span),
        "text": target.text,
        "description": target.description,
        "finding_kind": target.finding_kind,
        "probability": target.probability,
        "threshold": target.threshold,
        "alternative": target.alternative,
        "alternative_probability": target.alternative_probability,
    }


def _latent(document: CodeDocument, latent: LatentScore) -> Json:
    return {
        "latent": latent.latent,
        "feature": latent.feature,
        "score": latent.score,
        "activation": latent.activation,
        "threshold": latent.threshold,
        "label": latent.label,
        "text": document.text[latent.span.start : latent.span.end],
        **_place(document, latent.span),
    }


def _token(document: CodeDocument, token: TokenScore) -> Json:
    places = _NOWHERE if token.span is None else _place(document, token.span)
    return {"text": token.text, "score": token.score, **places}


_NOWHERE: Json = dict.fromkeys(("line", "column", "end_line", "end_column"))


def _place(document: CodeDocument, span: TextSpan) -> Json:
    line, column = document.line_column(span.start)
    end_line, end_column = document.line_column(span.end)
    return {"line": line, "column": column, "end_line": end_line, "end_column": end_column}


_PLACE: dict[str, Json] = {"line": LINE, "column": COLUMN, "end_line": LINE, "end_column": END_COLUMN}
_SIGNED: Json = {"type": "number", "description": "signed, in the target's unit"}
_PROBABILITY: Json = {
    "type": "number",
    "minimum": 0,
    "maximum": 1,
    "description": "that the place is wrong, calibrated at the bundle's prior; of a token: the model's own",
}
_TARGET = object_of(
    kind={
        "enum": ["finding", "site", "token"],
        "description": "a finding; a candidate below the threshold; any other token",
    },
    **_PLACE,
    text=TEXT,
    description={"type": "string", "description": "what is explained, for people"},
    finding_kind=or_null({"type": "string", "description": "null for a token"}),
    probability=_PROBABILITY,
    threshold=or_null({"type": "number", "description": "from this probability on it is a finding"}),
    alternative=or_null(
        {"type": "string", "description": "of a token: what the model expects most beside it"}
    ),
    alternative_probability=or_null({"type": "number", "description": "the model's own"}),
)
_LATENT = object_of(
    latent={"type": "integer", "minimum": 0},
    feature={"type": "string", "description": "hook name and index of a latent of the sparse coder"},
    score=_SIGNED,
    activation=NUMBER,
    threshold={"type": "number", "description": "the latent is silent up to here"},
    label={"type": "string", "description": "what it fires on most; empty where the bundle doesn't say"},
    text={"type": "string", "description": "the token that it fired on"},
    **_PLACE,
)
_HEAD = object_of(
    layer={"type": "integer", "minimum": 0}, head={"type": "integer", "minimum": 0}, score=_SIGNED
)
_LAYER = object_of(
    layer={"type": "integer", "minimum": 0},
    attention=_SIGNED,
    mlp=_SIGNED,
    score={**_SIGNED, "description": "both"},
)
_TOKEN = object_of(text=TEXT, score=_SIGNED, **{name: or_null(each) for name, each in _PLACE.items()})
_CHECK = object_of(
    layer={"type": "integer", "minimum": 0},
    head=or_null({"type": "integer", "description": "null for the layer's MLP"}),
    score=_SIGNED,
    effect={"type": "number", "description": "by how much the value really falls without it"},
)
_OF_AN_EXPLANATION: dict[str, Json] = {
    "target": _TARGET,
    "unit": {"enum": ["log-odds", "logits"], "description": "what a score of 1 is"},
    "value": {"type": "number", "description": "the target's value in this unit"},
    "latents": array_of(
        _LATENT, "that fired where a candidate is read; they add up to the value, see constant"
    ),
    "heads": array_of(_HEAD, "all attention heads upstream; effects through all paths, which don't add up"),
    "layers": array_of(_LAYER, "all layers upstream; effects through all paths, which don't add up"),
    "tokens": array_of(_TOKEN, "up to the place; places are null for text that is not in the file"),
    "constant": {"type": "number", "description": "value minus latents and other_latents"},
    "other_latents": {"type": "number", "description": "what latents that are not listed add"},
    "constant_of_tokens": {"type": "number", "description": "value minus tokens and unexplained"},
    "unexplained": {"type": "number", "description": "what the method can't account for"},
    "checks": array_of(_CHECK, "parts that were taken out of the model one at a time; with --check only"),
    "method": {"type": "string", "description": "how the scores were computed"},
    "notes": array_of(TEXT, "how far the scores can be trusted"),
}
SCHEMA: Json = {
    "$schema": DIALECT,
    "title": "ace explain --json",
    "description": "all lists are sorted by size, largest first, whatever the sign",
    **object_of(
        tuple(_OF_AN_EXPLANATION),
        version={"const": VERSION},
        ace={"type": "string", "description": "the release that wrote this"},
        model=or_null({"type": "string", "description": "null where none was loaded"}),
        bundle={"description": "what the scores come from, as the engine names it"},
        engine={"type": "object", "description": "model, fingerprint, device, dtype, bundle, layer"},
        path=TEXT,
        error=or_null(
            {"type": "string", "description": "why there is no explanation; then all below is missing"}
        ),
        **_OF_AN_EXPLANATION,
    ),
}
