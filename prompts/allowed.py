"""What an answer may be: one of some texts, or JSON of a schema. An engine that honours it can give nothing else.

Owns the two forms and the schema that a task's examples follow. Refuses to know how an engine keeps to them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class Allowed(BaseModel):
    """Either `choices` (the answer is one of these, letter by letter) or `json_schema` (it is JSON of this shape)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: tuple[str, ...] = ()
    json_schema: str = ""  # as JSON text, which is hashable and keeps the order of the keys

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.choices) == bool(self.json_schema):
            raise ValueError("give either choices or a JSON schema")
        if len(set(self.choices)) < len(self.choices) or not all(choice.strip() for choice in self.choices):
            raise ValueError("choices must differ, and none may be empty")
        if self.json_schema:
            json.loads(self.json_schema)  # a ValueError says where it is broken
        return self

    @property
    def schema_object(self) -> dict[str, Any]:
        """The schema as an object; empty for choices."""
        return dict(json.loads(self.json_schema)) if self.json_schema else {}

    @property
    def guided_schema(self) -> dict[str, Any]:
        """The schema with llguidance's word on its form: `{"a": 1, "b": 2}`, as Python's json writes it and as examples
        have it. Without that a model may fill its answer with white space."""
        form = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        return {**self.schema_object, "x-guidance": form}

    @property
    def told(self) -> str:
        """In a few words, for the screen."""
        if self.choices:
            return f"one of {len(self.choices)} answers"
        return f"JSON with {', '.join(self.schema_object.get('properties', {})) or 'any keys'}"


def allowed_for(labels: Sequence[str], outputs: Sequence[str], fields: Sequence[str] = ()) -> Allowed | None:
    """What a task's answers may be: its labels, else JSON objects of the shape of `outputs`; None for free text.

    `fields` are the keys that the task names where no example shows them.
    """
    if labels:
        return Allowed(choices=tuple(dict.fromkeys(labels)))
    shape = _object_schema([_object(text) for text in outputs], fields)
    return Allowed(json_schema=json.dumps(shape, ensure_ascii=False)) if shape else None


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _object_schema(objects: Sequence[dict[str, Any] | None], fields: Sequence[str]) -> dict[str, Any] | None:
    """A schema that every object follows. Keys that some lack may be left out; what nests deeper may be anything."""
    seen = [found for found in objects if found is not None]
    if len(seen) < len(objects) or not (seen or fields):
        return None
    if not seen:
        anything = {"type": ["string", "null"]}
        return {"type": "object", "properties": dict.fromkeys(fields, anything), "additionalProperties": False}
    places: dict[str, list[int]] = {}
    for found in seen:
        for place, key in enumerate(found):
            places.setdefault(key, []).append(place)
    # Engines ask for the keys in the schema's order, so that it had better be the one that examples mostly have.
    keys = sorted(places, key=lambda key: sum(places[key]) / len(places[key]))
    return {
        "type": "object",
        "properties": {key: _schema([found[key] for found in seen if key in found]) for key in keys},
        "required": [key for key in keys if all(key in found for found in seen)],
        "additionalProperties": False,
    }


def _schema(values: Sequence[Any]) -> dict[str, Any]:
    if all(isinstance(value, list) for value in values):
        items = [item for value in values for item in value]
        return {"type": "array", "items": _schema(items)} if items else {"type": "array"}
    if all(isinstance(value, dict) for value in values):
        return _object_schema(values, ()) or {"type": "object"}
    kinds = sorted({_KINDS.get(type(value), "") for value in values})
    if "" in kinds:
        return {}
    return {"type": kinds[0] if len(kinds) == 1 else kinds}
