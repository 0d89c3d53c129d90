"""Arguments of commands: JSON of any kind from outside, checked before anything is done with it."""

from collections.abc import Mapping
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams


def uri_of(command: str, value: object) -> str:
    if not isinstance(value, str):
        raise JsonRpcInvalidParams(f"{command}: expected the address of a document, got {value!r}")
    return value


def position_of(command: str, value: object) -> types.Position:
    """A position as in the specification, counted in the encoding that was agreed on."""
    line, character = _field(value, "line"), _field(value, "character")
    if not _is_count(line) or not _is_count(character):
        raise JsonRpcInvalidParams(f"{command}: expected {{line, character}}, got {value!r}")
    return types.Position(line=line, character=character)


def range_of(command: str, value: object) -> types.Range:
    return types.Range(
        start=position_of(command, _field(value, "start")), end=position_of(command, _field(value, "end"))
    )


def values_of(command: str, value: object) -> dict[str, Any]:
    """Values by name that somebody else checks; null stands for none."""
    given = {} if value is None else value
    if not isinstance(given, Mapping):
        raise JsonRpcInvalidParams(f"{command}: expected options by name, got {value!r}")
    return dict(given)


def options_of(command: str, value: object, **defaults: Any) -> dict[str, Any]:
    """Options by name, each of its default's type; null stands for none."""
    given = values_of(command, value)
    for name, option in given.items():
        if name not in defaults:
            raise JsonRpcInvalidParams(f"{command}: expected one of {', '.join(defaults)}, got {name!r}")
        if type(option) is not type(defaults[name]):
            expected = type(defaults[name]).__name__
            raise JsonRpcInvalidParams(f"{command}: {name}: expected {expected}, got {option!r}")
    return {**defaults, **given}


def _field(value: object, name: str) -> Any:
    """From plain JSON, or from what it was structured to."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
