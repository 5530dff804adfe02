"""Chat requests are taken as OpenAI takes them, and refused with the parameter's path."""

import json
from typing import Any

import pytest

from antiphon.errors import InvalidRequest
from antiphon.wire.chat_requests import CreateChatCompletion, decode_chat_request

USER = {"role": "user", "content": "hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def decode(**body: Any) -> CreateChatCompletion:
    return decode_chat_request(json.dumps({"model": "m", "messages": [USER], **body}).encode())


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "s", "name": "n"},
        {"role": "developer", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}]},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "data:,"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}], "vendor": {"kept": True}},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ],
)
def test_a_message_is_taken_and_left_as_it_is(message: dict[str, Any]) -> None:
    assert decode(messages=[message]).messages == [message]


def test_everything_that_was_sent_is_kept_beside_what_was_checked() -> None:
    request = decode(temperature=1, unknown={"a": [None]}, n=2, stop="x")
    assert (request.temperature, request.n, request.stop) == (1, 2, "x")
    assert request.raw == {"model": "m", "messages": [USER], "temperature": 1, "unknown": {"a": [None]}, "n": 2} | {
        "stop": "x"
    }


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [USER] * 20_001}, "messages", "array_above_max_length"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [USER, {"role": "boss", "content": ""}]}, "messages[1].role", "invalid_value"),
        ({"messages": [{"role": 1, "content": ""}]}, "messages[0].role", "invalid_type"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": [{}]}]},
            "messages[0].content[0].type",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:,"}]}]},
            "messages[0].content[0].image_url",
            "invalid_type",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "type": "odd"}]}]},
            "messages[0].tool_calls[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "function", "name": "f", "content": "x"}]},
            "messages[0].role",
            "unsupported_value",
        ),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]},
            "messages[0].function_call",
            "unsupported_value",
        ),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"stop": 1}, "stop", "invalid_type"),
        ({"metadata": {"k": 1}}, "metadata", "invalid_type"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "invalid_type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tool_choice": "perhaps"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function", "missing_required_parameter"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "x"}]}}},
            "tool_choice.allowed_tools.tools[0].type",
            "invalid_value",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(body: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(**body)
    assert (caught.value.param, caught.value.reason) == (param, code)


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b'{"a":' * 5000, b'{"messages": []}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_chat_request(body)
