"""Answers of Anthropic and Gemini say the same, streamed or whole, and nonsense says nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes import Chunk, RecordedResponse
from antiphon.cassettes.wires import Said, said

SSE = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)


def stream(*events: Any) -> RecordedResponse:
    chunks = tuple(Chunk(0.0, b"data: " + json.dumps(event).encode() + b"\n\n") for event in events)
    return RecordedResponse(status=200, headers=SSE, chunks=chunks)


def whole(value: Any, status: int = 200) -> RecordedResponse:
    return RecordedResponse(status=status, headers=JSON, chunks=(Chunk(0.0, json.dumps(value).encode()),))


CALL = Said(
    reasoning="hm",
    text="Hello",
    calls=[("weather", '{"city":"Rome"}')],
    finish_reason="tool_use",
    usage={"input_tokens": 3, "output_tokens": 9},
)


def test_a_message_of_anthropic_streamed() -> None:
    def delta(index: int, **delta: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": delta}

    answer = stream(
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        delta(0, type="thinking_delta", thinking="hm"),
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        delta(1, type="text_delta", text="Hel"),
        delta(1, type="text_delta", text="lo"),
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "name": "weather", "input": {}},
        },
        delta(2, type="input_json_delta", partial_json='{"city":'),
        delta(2, type="input_json_delta", partial_json='"Rome"}'),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )
    assert said("/messages", answer) == CALL


def test_a_message_of_anthropic_whole() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "name": "weather", "input": {"city": "Rome"}},
    ]
    usage = {"input_tokens": 3, "output_tokens": 9}
    answer = {"type": "message", "content": content, "stop_reason": "tool_use", "usage": usage}
    assert said("/messages", whole(answer)) == CALL


def gemini(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, **more}], "usageMetadata": {"n": len(parts)}}


def test_an_answer_of_gemini_streamed_or_as_a_list_or_whole() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "Hello"}, {"functionCall": {"name": "f", "args": {"a": 1}}}]
    expected = Said(reasoning="hm", text="Hello", calls=[("f", '{"a":1}')], finish_reason="STOP", usage={"n": 1})
    events = [*map(gemini, parts[:2]), gemini(parts[2], finishReason="STOP")]
    assert said("streamGenerateContent", stream(*events)) == expected
    assert said("streamGenerateContent", whole(events)) == expected
    expected.usage = {"n": 3}
    assert said("generateContent", whole(gemini(*parts, finishReason="STOP"))) == expected


def test_an_error_and_other_wires_are_left_to_others() -> None:
    assert said("/messages", whole({"type": "error"}, status=400)) is None
    assert said("/embeddings", whole({})) is None


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "index",
                    "delta",
                    "content",
                    "parts",
                    "candidates",
                    "message",
                    "usage",
                    "functionCall",
                    "content_block",
                    "stop_reason",
                    "finishReason",
                    "text",
                    "name",
                ]
            ),
            inner | st.sampled_from(["message_start", "content_block_delta", "content_block_start", "message_delta"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("operation", ["/messages", "streamGenerateContent"])
@given(events=st.lists(values, max_size=4))
def test_no_answer_is_too_odd_to_be_shown(operation: str, events: list[Any]) -> None:
    for answer in (stream(*events), whole(events)):
        found = said(operation, answer)
        assert found is not None
        assert msgspec.convert(msgspec.to_builtins(found), Said) == found
