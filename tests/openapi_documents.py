"""The two OpenAPI documents, where they are there: OpenAI's, and the stricter one of Open Responses."""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

SPEC = Path(__file__).parents[2] / "shared" / "spec"
DOCUMENTS = {"openai": "openai-2.3.0.openapi.json", "open-responses": "openresponses-2026-04-24.openapi.json"}


@functools.cache
def schemas(profile: str) -> tuple[dict[str, str], "Registry[Any]"]:
    """Names of event schemas by the event's type, and the document to find them in."""
    document = json.loads((SPEC / DOCUMENTS[profile]).read_text())
    names = {
        schema["properties"]["type"]["enum"][0]: name
        for name, schema in document["components"]["schemas"].items()
        if not name.startswith("Beta")
        and {"sequence_number", "type"} <= set(schema.get("properties", {}))
        and "enum" in schema["properties"]["type"]
    }
    return names, Registry().with_resource("urn:doc", DRAFT202012.create_resource(document))


@functools.cache
def validator(profile: str, schema: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"urn:doc#/components/schemas/{schema}"}, registry=schemas(profile)[1])


def complaint(profile: str, event: dict[str, Any]) -> str | None:
    name = schemas(profile)[0].get(event["type"])
    if name is None:
        return f"the {profile} document has no event {event['type']}"
    error = best_match(validator(profile, name).iter_errors(event))
    return error and f"{event['type']}: {error.json_path}: {error.message}"


def complaint_about(profile: str, schema: str, value: Any) -> str | None:
    error = best_match(validator(profile, schema).iter_errors(value))
    return error and f"{schema}: {error.json_path}: {error.message}"
