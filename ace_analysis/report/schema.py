"""Pieces of JSON schemas that several outputs share."""

from typing import Any

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
LINE: Json = {"type": "integer", "minimum": 1, "description": "counted from 1"}
COLUMN: Json = {"type": "integer", "minimum": 0, "description": "code points, counted from 0"}
END_COLUMN: Json = {**COLUMN, "description": "just behind the last code point"}
NUMBER: Json = {"type": "number"}
TEXT: Json = {"type": "string"}


def object_of(optional: tuple[str, ...] = (), /, **properties: Json) -> Json:
    """An object in which all but the optional properties have to be there."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def array_of(items: Json, description: str) -> Json:
    return {"type": "array", "items": items, "description": description}


def or_null(schema: Json) -> Json:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}
