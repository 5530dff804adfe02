"""A server over an upstream that speaks the Responses API itself, through the real SDK."""

import json
from pathlib import Path
from typing import Any

import pytest
from chat_upstream import Served, answer, served

THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm"}],
    "encrypted_content": "x",
}
MESSAGE = {"type": "message", "id": "m_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}


def streamed(*output: dict[str, Any]) -> bytes:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {"id": "resp_up", "model": "up"}}]
    for index, item in enumerate(output):
        events += [
            {
                "type": "response.output_item.added",
                "output_index": index,
                "item": {**item, "content": [], "summary": []},
            },
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
    whole = {"id": "resp_up", "status": "completed", "model": "up", "output": output, "usage": USAGE}
    events.append({"type": "response.completed", "response": whole})
    return answer(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))


@pytest.fixture
def over(tmp_path: Path) -> Any:
    with served(tmp_path, upstream_api="responses") as open_server:
        yield open_server


def test_a_conversation_over_such_an_upstream_keeps_its_reasoning_for_it(over: Served) -> None:
    over.upstream.answers += [streamed(THOUGHT, CALL), streamed(MESSAGE)]
    tool: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
    first = over.client.responses.create(model="m", input="look", tools=[tool])
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    output: Any = [{"type": "function_call_output", "call_id": "c1", "output": "seen"}]
    second = over.client.responses.create(model="m", input=output, tools=[tool], previous_response_id=first.id)
    assert second.output_text == "hi"
    assert [asked.target for asked in over.upstream.asked] == ["/v1/responses", "/v1/responses"]
    sent = over.upstream.asked[1].json
    assert (sent["store"], "previous_response_id" in sent) == (False, False)
    assert [item["type"] for item in sent["input"]] == ["message", "reasoning", "function_call", "function_call_output"]
    assert sent["input"][1]["encrypted_content"] == "x"


def test_a_stream_of_such_an_upstream_has_all_events(over: Served) -> None:
    over.upstream.answers.append(streamed(THOUGHT, MESSAGE))
    with over.client.responses.stream(model="m", input="hi") as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == "hi"
    assert final.usage is not None
    assert final.usage.total_tokens == 8
    assert "response.reasoning_summary_text.delta" in types


SEARCH = {"type": "web_search_call", "id": "ws_up", "status": "completed", "action": {"type": "search", "query": "x"}}


def test_a_tool_of_the_upstreams_is_offered_to_it_shown_and_handed_back(tmp_path: Path) -> None:
    toml = tmp_path / "antiphon.toml"
    whole = 'match.host = "127.0.0.1"\nrequests.responses = "full"\nreason = "A test."\nsources = ["Q1"]'
    toml.write_text(f'[[dialects]]\nid = "whole"\n{whole}\nsince = 2026-11-29\n')
    with served(tmp_path, upstream_api="responses", toml=toml) as over:
        _check_a_tool_of_the_upstreams(over)


def _check_a_tool_of_the_upstreams(over: Served) -> None:
    over.upstream.answers += [streamed(SEARCH, MESSAGE), streamed(MESSAGE)]
    search: Any = {"type": "web_search", "search_context_size": "low"}
    asked: Any = {"tools": [search], "include": ["web_search_call.action.sources"]}
    with over.client.responses.stream(model="m", input="look it up", **asked) as stream:
        types = [event.type for event in stream]
        first = stream.get_final_response()
    assert [item.type for item in first.output] == ["web_search_call", "message"]
    assert types.count("response.output_item.done") == 2
    sent = over.upstream.asked[0].json
    assert (sent["tools"], sent["include"][0]) == ([search], asked["include"][0])
    over.client.responses.create(model="m", input="go on", previous_response_id=first.id, tools=[search])
    seen = over.upstream.asked[1].json["input"]
    assert [item["type"] for item in seen] == ["message", "web_search_call", "message", "message"]
    assert seen[1] == SEARCH


@pytest.mark.parametrize("stream", [False, True])
def test_chat_completions_are_answered_by_such_an_upstream_too(over: Served, stream: bool) -> None:
    over.upstream.answers.append(streamed(MESSAGE))
    messages: Any = [{"role": "user", "content": "hi"}]
    if stream:
        chunks = over.client.chat.completions.create(model="m", messages=messages, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    else:
        text = over.client.chat.completions.create(model="m", messages=messages).choices[0].message.content or ""
    assert text == "hi"
    assert over.upstream.asked[0].json["input"] == [{"type": "message", "role": "user", "content": "hi"}]
