"""What the compliance suite of Open Responses asks for, and more of it: a stream that folds to what `GET` gives.

The official suite checks shapes; its scenarios are here as rows, each in both profiles, streamed and not. Every event
and every object validates against the documents of OpenAI and of Open Responses.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from asgi_client import ask, events_of
from scripted_upstream import ChatUpstream
from whole_server import whole_app

from antiphon.rendering.fold import fold
from openapi_documents import SPEC, complaint, complaint_about

PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **more}


SCENARIOS: dict[str, dict[str, Any]] = {
    "basic-response": {"input": [message("user", "Say hello.")]},
    "a string": {"input": "Say hello."},
    "assistant-phase": {
        "input": [
            message("assistant", "I should answer.", phase="commentary"),
            message("assistant", "Four.", phase="final_answer"),
            message("user", "Repeat it."),
        ]
    },
    "system-prompt": {"input": [message("system", "Be brief."), message("user", "Say hello.")]},
    "developer-prompt": {"instructions": "Be brief.", "input": [message("developer", "!"), message("user", "Hello.")]},
    "tool-calling": {
        "input": [message("user", "How is the weather?")],
        "tools": [WEATHER],
        "tool_choice": "required",
    },
    "image-input": {
        "input": [
            message(
                "user",
                [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL}],
            )
        ]
    },
    "multi-turn": {
        "input": [message("user", "I am Ada."), message("assistant", "Hello Ada."), message("user", "Who am I?")]
    },
    "reasoning": {
        "input": "What is 15 * 37?",
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    },
    "structured": {
        "input": "An object.",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
    },
    "every setting": {
        "input": "Hello.",
        "metadata": {"a": "b"},
        "temperature": 0,
        "top_p": 0.5,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "parallel_tool_calls": False,
        "stream_options": {"include_obfuscation": False},
        "max_output_tokens": 100,
        "max_tool_calls": 3,
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "truncation": "auto",
        "instructions": "Be brief.",
        "store": True,
        "service_tier": "auto",
        "tools": [WEATHER],
        "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "get_weather"}]},
        "reasoning": None,
        "user": "u",
        "client_metadata": {"x": "y"},
    },
}


def as_documented(profile: str, response: dict[str, Any]) -> dict[str, Any]:
    """The response, with what a document says otherwise than its owner does it."""
    shown = json.loads(json.dumps(response))
    text_format = shown["text"]["format"]
    if profile == "openai":  # OpenAI sends both as null, and Open Responses wants that
        if shown["usage"] is None:
            del shown["usage"]
        if text_format.get("description", "") is None:
            del text_format["description"]
    elif "schema" in text_format:
        text_format["schema"] = None  # Open Responses allows nothing else here, which cannot be meant
    return shown


def complaints(events: list[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        for profile in ("openai", "open-responses"):
            response = event.get("response")
            shown = event if response is None else {**event, "response": as_documented(profile, response)}
            found.append(complaint(profile, shown))
    return [each for each in found if each is not None]


@pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI documents at {SPEC}")
@pytest.mark.parametrize("profile", ["openai", "open-responses"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_is_valid_in_both_documents_and_reads_alike_everywhere(
    scenario: str, profile: str, tmp_path: Path
) -> None:
    upstream = ChatUpstream('{"hello": "there"}')

    async def main() -> None:
        async with whole_app(upstream, tmp_path, profile=profile) as app:
            request = {"model": "m", **SCENARIOS[scenario]}
            streamed = await ask(app, "POST", "/v1/responses", {**request, "stream": True})
            assert streamed.status == 200
            events = events_of(streamed)
            assert complaints(events) == []
            response = events[-1]["response"]
            assert response["status"] == "completed"
            assert response["output"]
            assert fold(events) == (await ask(app, "GET", f"/v1/responses/{response['id']}")).json == response
            whole = (await ask(app, "POST", "/v1/responses", request)).json
            assert complaint_about("open-responses", "ResponseResource", as_documented("open-responses", whole)) is None
            assert complaint_about("openai", "Response", as_documented("openai", whole)) is None
            assert [item["type"] for item in whole["output"]] == [item["type"] for item in response["output"]]

    asyncio.run(main())


def test_raw_reasoning_has_the_names_of_its_profile(tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path, reasoning_events="raw") as app:
            for profile, name in (
                ("openai", "response.reasoning_text.delta"),
                ("open-responses", "response.reasoning.delta"),
            ):
                request = {"model": "m", "input": "hi", "reasoning": {"effort": "low"}, "stream": True}
                reply = await ask(app, "POST", "/v1/responses", request, headers={"antiphon-profile": profile})
                events = events_of(reply)
                assert name in {event["type"] for event in events}
                assert complaint(profile, next(event for event in events if event["type"] == name)) is None
                found = await ask(app, "GET", f"/v1/responses/{events[-1]['response']['id']}")
                assert found.json == events[-1]["response"]  # whoever asks, and with whatever headers

    asyncio.run(main())


def test_an_owner_and_a_header_choose_the_profile(tmp_path: Path) -> None:
    (tmp_path / "antiphon.toml").write_text('[owners.ada]\nprofile = "open-responses"\nreasoning_events = "raw"\n')
    request = {"model": "m", "input": "hi", "reasoning": {"effort": "low"}, "stream": True}

    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path, keys="ada=sk-ada,bob=sk-bob") as app:

            async def delta(key: str, **headers: str) -> str:
                reply = await ask(app, "POST", "/v1/responses", request, key=key, headers=headers)
                return next(event["type"] for event in events_of(reply) if "reasoning" in event["type"])

            assert await delta("sk-bob") == "response.reasoning_summary_part.added"
            assert await delta("sk-ada") == "response.reasoning.delta"
            raw = {"antiphon-reasoning-events": "raw"}
            assert await delta("sk-bob", **raw) == "response.reasoning_text.delta"
            summary = {"antiphon-reasoning-events": "summary"}
            assert await delta("sk-ada", **summary) == "response.reasoning_summary_part.added"
            wrong = await ask(app, "POST", "/v1/responses", request, key="sk-bob", headers={"antiphon-profile": "x"})
            assert (wrong.status, wrong.error["param"]) == (400, "antiphon-profile")

    asyncio.run(main())


# --- compaction ---------------------------------------------------------------------------------


@pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI documents at {SPEC}")
def test_a_compacted_conversation_goes_on_from_its_summary(tmp_path: Path) -> None:
    upstream = ChatUpstream("They agreed on Tuesday.")
    request = {
        "model": "m",
        "prompt_cache_key": "k",
        "input": [message("user", "Launch on Tuesday?"), message("assistant", "Yes, Tuesday.")],
    }

    async def main() -> None:
        async with whole_app(upstream, tmp_path) as app:
            reply = await ask(app, "POST", "/v1/responses/compact", request)
            assert reply.status == 200, reply.body
            assert complaint_about("open-responses", "CompactResource", reply.json) is None
            assert complaint_about("openai", "CompactResource", reply.json) is None
            (compaction,) = reply.json["output"]
            assert compaction["type"] == "compaction"
            assert "Tuesday" not in compaction["encrypted_content"]
            following = [*reply.json["output"], message("user", "When?")]
            assert (await ask(app, "POST", "/v1/responses", {"model": "m", "input": following})).status == 200

    asyncio.run(main())
    summary, question = [sent["content"] for sent in upstream.asked[1]["messages"]]
    assert summary.endswith("They agreed on Tuesday.")
    assert question == "When?"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "hi"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "previous_response_id": "resp_0"}, "previous_response_id"),
    ],
)
def test_a_compaction_that_lacks_something_is_refused(body: dict[str, Any], param: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            reply = await ask(app, "POST", "/v1/responses/compact", body)
            assert (reply.status, reply.error["param"]) == (400, param)

    asyncio.run(main())
