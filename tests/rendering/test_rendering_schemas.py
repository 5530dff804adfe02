"""What is rendered is what both OpenAPI documents describe: OpenAI's, and the stricter one of Open Responses."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from event_sequences import SEALER, few, plain_requests, requests, runs
from hypothesis import given
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from msgspec.structs import replace
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from antiphon.events import Event
from antiphon.rendering.responses import ResponsesRenderer

SPEC = Path(__file__).parents[3] / "shared" / "spec"
DOCUMENTS = {"openai": "openai-2.3.0.openapi.json", "open-responses": "openresponses-2026-04-24.openapi.json"}

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI documents at {SPEC}")


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


def functions_only(events: list[Event]) -> bool:
    """Open Responses knows no custom tools; ours have the unprefixed names that clients need, and are left out here."""
    return not any(getattr(event, "kind", "function") == "custom" for event in events)


strict = requests.map(
    lambda request: {**request, "profile": "open-responses", "tools": [{"type": "function", "name": "f"}]}
)


@few
@given(runs(plain_requests))
def test_every_event_validates_against_the_document_of_openai(events: list[Event]) -> None:
    for frame in ResponsesRenderer(sealer=SEALER).render(events):
        event = json.loads(frame.data)
        if (response := event.get("response")) is not None:
            # Both are an open set here: our error codes and reasons say more than the twenty that OpenAI lists.
            if response["error"] is not None:
                response["error"]["code"] = "server_error"
            if response["incomplete_details"] is not None:
                response["incomplete_details"]["reason"] = "content_filter"
            if response["usage"] is None:
                del response["usage"]  # null is what OpenAI sends and Open Responses wants; this document has no null
        assert complaint("openai", event) is None


@few
@given(runs(strict).filter(functions_only))
def test_every_event_validates_against_the_document_of_open_responses(events: list[Event]) -> None:
    for frame in ResponsesRenderer().render(events):
        assert complaint("open-responses", json.loads(frame.data)) is None


@few
@given(runs(strict).filter(functions_only))
def test_summaries_in_the_default_profile_are_valid_open_responses_too(events: list[Event]) -> None:
    started = replace(events[0], profile="openai", raw_reasoning=False)
    for frame in ResponsesRenderer().render([started, *events[1:]]):
        assert complaint("open-responses", json.loads(frame.data)) is None


def test_the_check_notices_what_is_wrong() -> None:
    event = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": 1}
    for profile in DOCUMENTS:
        assert complaint(profile, {**event, "sequence_number": 1, "logprobs": []}) is not None
        assert complaint(profile, {"type": "acme:event", "sequence_number": 1}) is not None
