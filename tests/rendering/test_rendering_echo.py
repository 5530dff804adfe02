"""A Response object repeats its request: every required field there, null only where the standard allows it."""

from typing import Any

import pytest
from event_sequences import run

from antiphon.rendering.responses import response_object

# Open Responses 2026-04-24, ResponseResource.
REQUIRED = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
]
NEVER_NULL = [
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "service_tier",
    "truncation",
    "tool_choice",
    "tools",
    "text",
    "store",
    "background",
    "parallel_tool_calls",
    "metadata",
]


def response(**request: Any) -> dict[str, Any]:
    return response_object(run(**request))


def test_all_required_fields_are_there_and_the_sampling_settings_are_numbers() -> None:
    shown = response()
    assert set(REQUIRED) == set(shown)
    assert [name for name in NEVER_NULL if shown[name] is None] == []


def test_null_in_the_request_is_the_default_in_the_response() -> None:
    nothing = dict.fromkeys([*NEVER_NULL, "instructions", "reasoning", "max_output_tokens", "user", "conversation"])
    assert response(**nothing) == response()


@pytest.mark.parametrize(
    "sent",
    [
        {"temperature": 0, "top_p": 0.5, "store": False, "parallel_tool_calls": False, "max_output_tokens": 16},
        {
            "instructions": "Be brief.",
            "metadata": {"a": "b"},
            "user": "u",
            "service_tier": "flex",
            "truncation": "auto",
        },
        {"tool_choice": {"type": "function", "name": "f"}, "previous_response_id": "resp_1", "background": True},
        {"tools": [{"type": "custom", "name": "g", "format": {"type": "text"}}, {"type": "namespace", "tools": []}]},
    ],
)
def test_what_was_sent_is_shown_as_it_was_sent(sent: dict[str, Any]) -> None:
    shown = response(**sent)
    assert {name: shown[name] for name in sent} == sent


def test_a_function_tool_shows_all_its_members() -> None:
    (tool,) = response(tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}])["tools"]
    assert tool == {
        "type": "function",
        "name": "f",
        "parameters": {"type": "object"},
        "description": None,
        "strict": None,
    }


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (None, {"format": {"type": "text"}}),
        ({}, {"format": {"type": "text"}}),
        ({"verbosity": "low"}, {"verbosity": "low", "format": {"type": "text"}}),
        ({"format": {"type": "json_object"}}, {"format": {"type": "json_object"}}),
        (
            {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": None}},
            {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": False, "description": None}},
        ),
    ],
)
def test_the_text_format_is_always_named(sent: dict[str, Any] | None, shown: dict[str, Any]) -> None:
    assert response(text=sent)["text"] == shown


def test_reasoning_shows_effort_and_summary() -> None:
    assert response(reasoning={"effort": "low"})["reasoning"] == {"effort": "low", "summary": None}


def test_a_conversation_is_an_object_however_it_was_sent() -> None:
    assert response(conversation="conv_1")["conversation"] == {"id": "conv_1"}
    assert response(conversation={"id": "conv_1"})["conversation"] == {"id": "conv_1"}
