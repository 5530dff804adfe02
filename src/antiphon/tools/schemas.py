"""JSON Schemas of Python types, and values of those types from JSON. A user's pydantic models are taken too."""

from __future__ import annotations

import functools
from typing import Any

import msgspec


class BadSchema(ValueError):
    """A JSON Schema, or a type that one is to be made of, cannot be used."""


def json_schema(kind: Any) -> dict[str, Any]:
    """The schema of a type that msgspec or pydantic knows; its root is the type itself and no reference to it.

    Raises:
        BadSchema: there is no JSON for such a type.
    """
    definitions: dict[str, Any] = {}

    def of_model(model: Any) -> dict[str, Any]:
        if not _is_model(model):
            raise BadSchema(f"{model!r} has no JSON Schema. Use types that JSON can hold.")
        schema: dict[str, Any] = model.model_json_schema()
        definitions.update(schema.pop("$defs", {}))
        return schema

    try:
        schema = of_model(kind) if _is_model(kind) else msgspec.json.schema(kind, schema_hook=of_model)
    except (TypeError, RecursionError) as error:
        raise BadSchema(f"{kind!r} has no JSON Schema: {error}") from error
    definitions |= schema.pop("$defs", {})
    prefix, _, name = schema.get("$ref", "").rpartition("/")
    if prefix == "#/$defs":
        root = definitions[name]
        if not _refers_to(definitions, schema["$ref"]):
            del definitions[name]
        schema = dict(root)
    whole: dict[str, Any] = _typed(schema | {"$defs": definitions} if definitions else schema)
    return whole


def convert(value: Any, kind: Any) -> Any:
    """A value of this type from decoded JSON; where that does not fit, texts are read as what they spell (``"3"``).

    Raises:
        ValueError: it does not fit; the message names the place.
    """
    if _is_model(kind):
        return kind.model_validate(value)
    try:
        return msgspec.convert(value, kind, dec_hook=_from_json)
    except msgspec.ValidationError as error:
        try:
            return msgspec.convert(value, kind, dec_hook=_from_json, strict=False)
        except msgspec.ValidationError:
            raise error from None


def to_text(value: Any) -> str:
    """What a model reads of a value: a text as it is, anything else as JSON.

    Raises:
        TypeError: there is no JSON for it.
    """
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=_to_json).decode()


@functools.lru_cache(maxsize=64)
def validator(schema: bytes) -> Any:  # a validator of jsonschema_rs, which is imported late
    """What checks values against a schema, given as JSON.

    Raises:
        BadSchema: it is not a JSON Schema.
    """
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(schema), retriever=_never)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise BadSchema(str(error).partition("\n")[0]) from None


def _never(url: str) -> None:
    # A client's schema must not make the server fetch what the client could not.
    raise ValueError(f"{url} is not fetched")


def _typed(node: Any) -> Any:
    """The schema with the type of its enumerations written out, which some upstreams want to see."""
    if isinstance(node, list):
        return [_typed(each) for each in node]
    if not isinstance(node, dict):
        return node
    typed = {key: _typed(value) for key, value in node.items()}
    if isinstance(texts := typed.get("enum"), list) and all(isinstance(each, str) for each in texts):
        typed.setdefault("type", "string")
    return typed


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "model_json_schema")


def _from_json(kind: Any, value: Any) -> Any:
    if _is_model(kind):
        return kind.model_validate(value)
    raise NotImplementedError(f"{kind!r} cannot be read from JSON.")


def _to_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON. Return text, or what JSON can hold.")


def _refers_to(node: Any, reference: str) -> bool:
    if isinstance(node, dict):
        return node.get("$ref") == reference or any(_refers_to(child, reference) for child in node.values())
    return isinstance(node, list) and any(_refers_to(child, reference) for child in node)
