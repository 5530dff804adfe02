"""Requests for upstreams that speak the Responses API themselves: what is sent, and what stays here."""

from typing import Any

import msgspec
import pytest

from antiphon.dialects import Dialect
from antiphon.dialects.requests import ChatRules
from antiphon.events import ToolCallDelta, ToolCallFinished, ToolCallStarted
from antiphon.translation.call import ChatCall
from antiphon.translation.chat import to_chat
from antiphon.translation.responses import to_responses
from antiphon.wire.chat_requests import decode_chat_request
from antiphon.wire.items import PRIVATE
from antiphon.wire.responses import Item, decode_request, input_items

FULL = Dialect(requests=ChatRules(responses="full", takes=frozenset({"verbosity", "service_tier"})))
PATCH = {"type": "custom", "name": "patch", "description": "Edit.", "format": {"type": "text"}}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_9",
    "summary": [{"type": "summary_text", "text": "Hm"}],
    "encrypted_content": "x",
}


def translated(*items: Item, dialect: Dialect = FULL, **request: Any) -> ChatCall:
    decoded = decode_request(msgspec.json.encode({"model": "m", "input": "hi", **request}))
    return to_responses(decoded, [*items] or input_items(decoded), model="up", dialect=dialect, upstream="up")


def user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def said(text: str) -> Item:
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(call_id: str, **fields: Any) -> Item:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": "look", "arguments": "{}", **fields}


def output(call_id: str, of: Any = "out") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": of}


def thought(upstream: str = "up", **detail: Any) -> Item:
    return {**THOUGHT, PRIVATE: {"details": [{**THOUGHT, **detail}], "upstream": upstream}}


def kinds(sent: ChatCall) -> list[str]:
    return [item["type"] for item in sent.body["input"]]


def quirks(sent: ChatCall) -> list[str]:
    return [note.quirk for note in sent.diagnostics]


def test_a_request_is_streamed_and_kept_by_nobody() -> None:
    sent = translated(instructions="Be brief.", max_output_tokens=99, temperature=0)
    assert sent.body == {
        "model": "up",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "temperature": 0,
        "max_output_tokens": 99,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.",
        "stream": True,
        "store": False,
    }
    assert sent.diagnostics == []


def test_items_go_as_items_in_their_order_and_without_our_ids() -> None:
    sent = translated(
        user("a"), thought(), said("I look."), call("c1"), call("c2"), output("c1"), output("c2"), user("b")
    )
    assert kinds(sent) == [
        *("message", "reasoning", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "message"),
    ]
    assert not any("id" in item for item in sent.body["input"])
    assert sent.body["input"][2]["content"] == [{"type": "output_text", "text": "I look.", "annotations": []}]


def test_sealed_reasoning_goes_back_to_who_sealed_it_before_what_it_led_to() -> None:
    sent = translated(
        user("a"), thought(), call("c1"), thought(encrypted_content="y"), call("c2"), output("c1"), output("c2")
    )
    assert kinds(sent)[1:5] == ["reasoning", "function_call", "reasoning", "function_call"]
    assert sent.body["input"][1] == {"type": "reasoning", "summary": THOUGHT["summary"], "encrypted_content": "x"}
    assert sent.body["input"][3]["encrypted_content"] == "y"


def test_sealed_reasoning_goes_to_nobody_else() -> None:
    sent = translated(user("a"), thought("other"), said("b"), user("c"))
    assert kinds(sent) == ["message"] * 3
    assert quirks(sent) == ["Q72"]


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    sent = translated(user("a"), thought(), call("c1", status="incomplete"), user("b"))
    assert kinds(sent) == ["message", "message"]
    assert set(quirks(sent)) == {"Q25", "R30"}


def test_a_call_without_an_output_is_closed_and_an_output_without_a_call_dropped() -> None:
    sent = translated(user("a"), call("c1"), output("c9"), user("b"))
    assert kinds(sent) == ["message", "function_call", "function_call_output", "message"]
    assert "interrupted" in sent.body["input"][2]["output"]
    assert quirks(sent) == ["Q110", "Q110"]


def test_images_stay_images_in_messages_and_in_outputs_where_the_upstream_takes_them() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
    message = {**user("what?"), "content": [{"type": "input_text", "text": "what?"}, image]}
    items = [message, call("c1"), output("c1", [image])]
    full, plain = translated(*items), translated(*items, dialect=Dialect())
    assert full.body["input"][0]["content"][1] == image
    assert full.body["input"][2]["output"] == [image]
    assert kinds(plain)[-2:] == ["function_call_output", "message"]
    assert plain.body["input"][-1]["content"][-1] == image
    assert quirks(plain) == ["Q103"]


def test_freeform_tools_are_native_where_they_are_taken_and_functions_elsewhere() -> None:
    past = [
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]
    choice = {"type": "custom", "name": "patch"}
    full = translated(user("a"), *past, tools=[PATCH, LOOK], tool_choice=choice)
    assert full.body["tools"][0] == PATCH
    assert full.body["tool_choice"] == choice
    assert full.body["input"][1:] == past
    plain = translated(user("a"), *past, tools=[PATCH, LOOK], dialect=Dialect())
    assert [tool["type"] for tool in plain.body["tools"]] == ["function", "function"]
    assert kinds(plain)[1:] == ["function_call", "function_call_output"]
    events = [
        ToolCallStarted(block="0.0", call_id="c", name="patch"),
        ToolCallDelta(block="0.0", arguments='{"input":"x"}'),
        ToolCallFinished(block="0.0", arguments='{"input":"x"}'),
    ]
    restored = plain.restore([*events])
    assert isinstance(restored[0], ToolCallStarted)
    assert restored[0].kind == "custom"


def test_a_function_is_not_made_strict_by_being_silent_about_it() -> None:
    assert translated(tools=[LOOK]).body["tools"] == [{**LOOK, "strict": False}]
    assert translated(tools=[{**LOOK, "strict": True}]).body["tools"][0]["strict"]


def test_tools_in_namespaces_are_flattened_and_come_back() -> None:
    sent = translated(tools=[{"type": "namespace", "name": "ns", "tools": [LOOK]}])
    assert [tool["name"] for tool in sent.body["tools"]] == ["ns__look"]
    (event,) = sent.restore([ToolCallStarted(block="0.0", call_id="c", name="ns__look")])
    assert isinstance(event, ToolCallStarted)
    assert (event.namespace, event.name) == ("ns", "look")


REASONING = {"reasoning": {"effort": "low", "summary": "auto"}}
TEXT = {"text": {"format": {"type": "json_object"}, "verbosity": "low"}}
TIER = {"service_tier": "flex"}
INCLUDED = ["message.output_text.logprobs", "reasoning.encrypted_content"]
CHOICE = {"parallel_tool_calls": False, "tool_choice": "required"}


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (REASONING, REASONING),
        (TEXT, TEXT),
        ({"top_logprobs": 2}, {"top_logprobs": 2, "include": INCLUDED}),
        (TIER, TIER),
        ({**CHOICE, "tools": [LOOK]}, CHOICE),
    ],
    ids=["reasoning", "text", "logprobs", "tier", "calls"],
)
def test_parameters_are_sent_in_the_form_of_this_api(request_: dict[str, Any], sent: dict[str, Any]) -> None:
    asked = translated(**request_)
    assert {name: asked.body[name] for name in sent} == sent
    assert asked.diagnostics == []


def test_a_schema_for_the_answer_is_a_format_of_its_text() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": False}
    assert translated(text={"format": form}).body["text"] == {"format": form}


@pytest.mark.parametrize("name", ["presence_penalty", "seed", "made_up"])
def test_what_this_api_does_not_have_is_left_out_and_told(name: str) -> None:
    asked = translated(**{name: 1})
    assert name not in asked.body
    assert len(asked.diagnostics) == 1


def test_what_was_learned_to_be_refused_is_not_sent() -> None:
    refuses = frozenset({"include", "reasoning_effort", "temperature"})
    asked = translated(dialect=Dialect(requests=ChatRules(refuses=refuses)), reasoning={"effort": "low"}, temperature=1)
    assert asked.body.keys() == {"model", "input", "stream", "store"}
    assert quirks(asked) == ["Q106"]
    assert asked.diagnostics[0].seen == "temperature 1, reasoning_effort low"


def test_a_chat_request_becomes_items_too() -> None:
    called = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [image]},
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "c1", "content": "out"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": LOOK["parameters"]}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "max_completion_tokens": 9, "reasoning_effort": "low", "n": 2, "stop": ["x"],
    }  # fmt: skip
    sent = to_responses(decode_chat_request(msgspec.json.encode(body)), [], model="up", dialect=FULL)
    assert kinds(sent) == ["message", "message", "function_call", "function_call_output"]
    assert sent.body["input"][1]["content"] == [
        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}
    ]
    assert sent.body["tool_choice"] == {"type": "function", "name": "look"}
    assert sent.body["text"] == {"format": {"type": "json_schema", "name": "n", "schema": {}}}
    assert (sent.body["max_output_tokens"], sent.body["reasoning"]) == (9, {"effort": "low"})
    assert [note.seen for note in sent.diagnostics] == ["n 2, stop ['x']"]


def test_what_was_sealed_over_this_api_is_not_sent_over_the_other_one() -> None:
    rules = Dialect(requests=ChatRules(echo_reasoning="allow", echo_details=True))
    request = decode_request(b'{"model":"m","input":"hi"}')
    sent = to_chat(request, [user("a"), thought(), said("b")], model="up", dialect=rules, upstream="up")
    assert "reasoning_details" not in sent.body["messages"][1]
    assert "Q72" in [note.quirk for note in sent.diagnostics]
