"""What type an agent's answer shall have: its schema for the model, and the value from the model's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon.agent.partial import mended
from antiphon.errors import UsageError
from antiphon.tools.schemas import BadSchema, convert, json_schema

# A model answers with a JSON object; a type that is none is the one member of such an object.
_WRAPPED = "value"


class OutputType:
    """The type of an answer: a dataclass, a Struct, a TypedDict, a pydantic model, any other type, or a JSON Schema.

    ``schema`` is what the model is asked for, ``strict`` whether OpenAI's strict mode takes it.

    Raises:
        UsageError: JSON cannot hold such a type.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = None if isinstance(kind, Mapping) else kind
        try:
            schema = dict(kind) if isinstance(kind, Mapping) else json_schema(kind)
        except BadSchema as error:
            raise UsageError(f"output_type cannot be asked for. {error}") from error
        self.name = str(schema.get("title", "answer"))
        self._is_wrapped = self._kind is not None and schema.get("type") != "object"
        if self._is_wrapped:
            definitions = schema.pop("$defs", None)
            schema = {"type": "object", "properties": {_WRAPPED: schema}, "required": [_WRAPPED]}
            schema |= {"$defs": definitions} if definitions else {}
        closed = _closed(schema)
        # A schema by hand means what it says, and is not closed here.
        self.strict = closed == schema if self._kind is None else closed is not None
        self.schema: dict[str, Any] = closed if self.strict else schema

    @property
    def format(self) -> dict[str, Any]:
        """The ``text.format`` of a request."""
        name = "".join(letter if letter.isalnum() else "_" for letter in self.name)[:64]
        return {"type": "json_schema", "name": name, "schema": self.schema, "strict": self.strict}

    def read(self, text: str) -> Any:
        """The value that an answer stands for.

        Raises:
            ValueError: it is not JSON, or not of the type.
        """
        value = _decoded(text)
        if self._is_wrapped:
            if not isinstance(value, dict) or _WRAPPED not in value:
                raise ValueError(f"it is not an object with the member {_WRAPPED!r}")
            value = value[_WRAPPED]
        return value if self._kind is None else convert(value, self._kind)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if (meant := mended(text)) is None:  # what was streamed could not be mended before it was shown
            raise
        return msgspec.json.decode(meant)


def _closed(schema: Any) -> Any:
    """The schema with every object closed, as strict mode wants it; None where an object's members may vary."""
    if isinstance(schema, list):
        items = [_closed(each) for each in schema]
        return None if any(each is None for each in items) and None not in schema else items
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "object" and set(schema.get("properties", ())) != set(schema.get("required", ())):
        return None
    if schema.get("type") == "object" and (schema.get("additionalProperties") or "properties" not in schema):
        return None
    closed = {key: _closed(value) for key, value in schema.items()}
    if any(value is None and schema[key] is not None for key, value in closed.items()):
        return None
    return closed | {"additionalProperties": False} if schema.get("type") == "object" else closed
