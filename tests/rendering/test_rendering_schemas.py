"""What is rendered is what both OpenAPI documents describe: OpenAI's, and the stricter one of Open Responses."""

import json

import pytest
from event_sequences import SEALER, few, plain_requests, requests, runs
from hypothesis import given
from msgspec.structs import replace

from antiphon.events import Event
from antiphon.rendering.responses import ResponsesRenderer
from openapi_documents import DOCUMENTS, SPEC, complaint

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI documents at {SPEC}")


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
@given(runs(strict, hosted=False).filter(functions_only))
def test_every_event_validates_against_the_document_of_open_responses(events: list[Event]) -> None:
    for frame in ResponsesRenderer().render(events):
        assert complaint("open-responses", json.loads(frame.data)) is None


@few
@given(runs(strict, hosted=False).filter(functions_only))
def test_summaries_in_the_default_profile_are_valid_open_responses_too(events: list[Event]) -> None:
    started = replace(events[0], profile="openai", raw_reasoning=False)
    for frame in ResponsesRenderer().render([started, *events[1:]]):
        assert complaint("open-responses", json.loads(frame.data)) is None


def test_the_check_notices_what_is_wrong() -> None:
    event = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": 1}
    for profile in DOCUMENTS:
        assert complaint(profile, {**event, "sequence_number": 1, "logprobs": []}) is not None
        assert complaint(profile, {"type": "acme:event", "sequence_number": 1}) is not None
