"""What breaks in other translators on the way to Chat Completions (R29, R30, R36): here it does not. And what
upstreams refuse (Q36, Q104-Q112), each by its id."""

import re
from typing import Any

import msgspec
import pytest

from antiphon.dialects import OPENAI, ChatRules, Dialect
from antiphon.events import ToolCallStarted
from antiphon.translation import to_chat
from antiphon.wire.responses import CreateResponse, Item, JsonObject, TextOptions, decode_request, input_items

TOOL = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}
USER: Item = {"type": "message", "role": "user", "content": "2 and 3"}
ADD: Item = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"}
NOW: Item = {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"}


def messages(*items: Item) -> list[dict[str, Any]]:
    call = to_chat(CreateResponse(model="m"), list(items), model="up", dialect=OPENAI)
    told: list[dict[str, Any]] = call.body["messages"]
    return told


def answer(call: Item) -> Item:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": "5"}


def test_r29_calls_that_follow_each_other_are_one_message_and_their_outputs_follow_it() -> None:
    told = messages(USER, ADD, NOW, answer(ADD), answer(NOW))
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in told[1]["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize(
    "silent",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "message", "role": "assistant", "content": []},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ],
)
def test_r30_items_without_a_word_to_the_user_are_no_messages(silent: Item) -> None:
    assert messages(USER, silent) == messages(USER)


def test_r36_an_input_that_is_a_string_is_a_user_message() -> None:
    request = decode_request(b'{"model":"m","input":"hi"}')
    told = to_chat(request, input_items(request), model="up", dialect=OPENAI).body["messages"]
    assert told == [{"role": "user", "content": "hi"}]


# --- what upstreams refuse -------------------------------------------------------------------


def sent(*items: Item, rules: ChatRules | None = None, **parameters: Any) -> dict[str, Any]:
    request = CreateResponse(model="m", **parameters)
    return to_chat(request, list(items), model="up", dialect=Dialect(requests=rules or ChatRules())).body


def test_q36_calls_of_the_history_have_no_index() -> None:
    assistant = sent(USER, {**ADD, "index": 0}, answer(ADD))["messages"][1]
    assert assistant["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        *[({name: 0.5}, {name}) for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")],
        *[({name: 7}, {name}) for name in ("seed", "top_k", "min_p", "repetition_penalty")],
        ({"stop": ["x"]}, {"stop"}),
        ({"logit_bias": {"1": 2}}, {"logit_bias"}),
        ({"chat_template_kwargs": {"enable_thinking": False}}, {"chat_template_kwargs"}),
        ({"user": "ada"}, {"user"}),
        ({"top_logprobs": 2}, {"logprobs", "top_logprobs"}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format"}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice"}),
        ({"tools": [TOOL], "parallel_tool_calls": False}, {"parallel_tool_calls"}),
    ],
)
def test_q106_a_parameter_that_most_servers_take_is_sent(asked: dict[str, Any], names: set[str]) -> None:
    request = decode_request(msgspec.json.encode({"model": "m", "input": "hi", **asked}))
    assert names <= set(to_chat(request, input_items(request), model="up", dialect=OPENAI).body)


def test_q106_what_an_upstream_refuses_is_left_out_and_what_it_takes_beyond_is_sent() -> None:
    strict = {**TOOL, "strict": True}
    asked: dict[str, Any] = {"tools": [strict], "temperature": 0.5, "prompt_cache_key": "k"}
    asked["text"] = TextOptions(format=JsonObject())
    plain = sent(USER, **asked)
    rules = ChatRules(
        strict_tools=False,
        include_usage=False,
        response_format="text",
        refuses=frozenset({"temperature"}),
        takes=frozenset({"prompt_cache_key"}),
    )
    changed = sent(USER, **asked, rules=rules)
    assert plain["tools"][0]["function"]["strict"]
    assert "strict" not in changed["tools"][0]["function"]
    assert plain.keys() - changed.keys() == {"temperature", "response_format", "stream_options"}
    assert changed.keys() - plain.keys() == {"prompt_cache_key"}


def test_q108_how_long_a_name_may_be_is_the_upstreams_to_say() -> None:
    long = {**TOOL, "name": "x" * 100}
    [kept] = sent(USER, tools=[long], rules=ChatRules(max_name_length=128))["tools"]
    assert kept["function"]["name"] == long["name"]


@pytest.mark.parametrize("tools", [None, [], [{"type": "computer"}]])
def test_q104_where_there_is_no_tool_nothing_is_said_of_tools(tools: Any) -> None:
    body = sent(USER, tools=tools, tool_choice="auto", parallel_tool_calls=False)
    assert {"tools", "tool_choice", "parallel_tool_calls"}.isdisjoint(body)


def test_q108_a_name_that_is_not_allowed_is_changed_and_found_again() -> None:
    names = ["server.read/file", "x" * 100]
    tools = [{"type": "function", "name": name, "parameters": {}} for name in names]
    call = to_chat(CreateResponse(model="m", tools=tools), [USER], model="up", dialect=OPENAI)
    changed = [tool["function"]["name"] for tool in call.body["tools"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in changed)
    started = [ToolCallStarted(block=name, call_id=name, name=name) for name in changed]
    assert [event.name for event in call.restore(started) if isinstance(event, ToolCallStarted)] == names


@pytest.mark.parametrize(
    "part", [{"type": "input_image", "image_url": "data:,"}, {"type": "input_file", "file_data": "data:,"}]
)
def test_q109_what_a_model_cannot_take_becomes_a_line_of_text(part: dict[str, Any]) -> None:
    item: Item = {"type": "message", "role": "user", "content": [part]}
    [message] = sent(item, rules=ChatRules(images=False, files=False))["messages"]
    assert isinstance(message["content"], str)
    assert message["content"]


def test_q110_a_call_without_an_output_is_closed_and_an_output_without_a_call_dropped() -> None:
    told = messages(USER, ADD, {"type": "message", "role": "user", "content": "and?"}, answer(NOW))
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "user"]


@pytest.mark.parametrize(("policy", "content"), [("omit", {}), ("null", {"content": None}), ("empty", {"content": ""})])
def test_q111_the_content_beside_calls_is_what_the_upstream_wants(policy: Any, content: dict[str, Any]) -> None:
    assistant = sent(USER, ADD, answer(ADD), rules=ChatRules(empty_content=policy))["messages"][1]
    assert {name: value for name, value in assistant.items() if name == "content"} == content


def test_q112_a_field_that_is_no_parameter_of_chat_is_not_sent() -> None:
    request = decode_request(b'{"model":"m","input":"hi","reasoning_split":true,"enable_thinking":false}')
    call = to_chat(request, input_items(request), model="up", dialect=OPENAI)
    assert {"reasoning_split", "enable_thinking"}.isdisjoint(call.body)
    assert [note.quirk for note in call.diagnostics] == ["unknown_parameter"]
