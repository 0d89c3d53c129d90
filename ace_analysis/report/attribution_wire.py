"""Explanations as JSON and back, by the rules of wire.py: what the worker answers and the server reads."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast

from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LatentScore,
    LayerScore,
    PartCheck,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.wire import VERSION, Wire, read_as, span_from_wire, to_wire
from ace_analysis.source.document import TextSpan


def attribution_to_wire(attribution: Attribution) -> Wire:
    """JSON of an explanation."""
    return {"version": VERSION, **_plain(attribution)}


def attribution_from_wire(data: Any) -> Attribution:
    """The explanation that `attribution_to_wire` wrote.

    Raises:
        InputError: what is no such JSON, or was written by another release.
    """
    return read_as("Attribution", data, _attribution)


def _plain(value: Any) -> Any:
    if isinstance(value, TextSpan):
        return to_wire(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[Any, ...]", value)]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value


def _attribution(data: Mapping[str, Any]) -> Attribution:
    numbers = ("constant", "other_latents", "constant_of_tokens", "unexplained")
    return Attribution(
        target=_target(data["target"]),
        unit=str(data["unit"]),
        value=float(data["value"]),
        latents=tuple(_latent(each) for each in data.get("latents", ())),
        heads=tuple(
            HeadScore(int(each["layer"]), int(each["head"]), float(each["score"]))
            for each in data.get("heads", ())
        ),
        layers=tuple(
            LayerScore(int(each["layer"]), float(each["attention"]), float(each["mlp"]))
            for each in data.get("layers", ())
        ),
        tokens=tuple(_token(each) for each in data.get("tokens", ())),
        checks=tuple(_check(each) for each in data.get("checks", ())),
        method=str(data.get("method", "")),
        notes=tuple(str(each) for each in data.get("notes", ())),
        **{name: float(data.get(name, 0.0)) for name in numbers},
    )


def _target(data: Mapping[str, Any]) -> AttributionTarget:
    return AttributionTarget(
        kind=TargetKind(data["kind"]),
        span=span_from_wire(data["span"]),
        text=str(data["text"]),
        description=str(data["description"]),
        probability=float(data["probability"]),
        finding_kind=_optional(str, data.get("finding_kind")),
        threshold=_optional(float, data.get("threshold")),
        alternative=_optional(str, data.get("alternative")),
        alternative_probability=_optional(float, data.get("alternative_probability")),
    )


def _latent(data: Mapping[str, Any]) -> LatentScore:
    return LatentScore(
        latent=int(data["latent"]),
        feature=str(data["feature"]),
        activation=float(data["activation"]),
        threshold=float(data["threshold"]),
        score=float(data["score"]),
        span=span_from_wire(data["span"]),
        label=str(data.get("label", "")),
    )


def _token(data: Mapping[str, Any]) -> TokenScore:
    span = data["span"]
    place = None if span is None else span_from_wire(span)
    return TokenScore(place, str(data["text"]), float(data["score"]))


def _check(data: Mapping[str, Any]) -> PartCheck:
    head = _optional(int, data["head"])
    return PartCheck(int(data["layer"]), head, float(data["score"]), float(data["effect"]))


def _optional(convert: Any, value: Any) -> Any:
    return None if value is None else convert(value)
