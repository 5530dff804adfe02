"""A chat request in the form its upstream takes: as little as needed is changed, and nothing silently."""

import json
from typing import Any

import pytest

from antiphon.dialects import ChatRules, Dialect
from antiphon.events import ToolCallFinished, ToolCallStarted
from antiphon.translation.call import ChatCall
from antiphon.translation.chat_requests import chat_to_chat
from antiphon.wire.chat_requests import decode_chat_request

USER = {"role": "user", "content": "hi"}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def translate(rules: ChatRules | None = None, /, **body: Any) -> ChatCall:
    request = decode_chat_request(json.dumps({"model": "alias", "messages": [USER], **body}).encode())
    return chat_to_chat(request, [], model="m", dialect=Dialect(requests=rules or ChatRules()), upstream="up")


def told(call: ChatCall) -> dict[str, str]:
    return {each.quirk: each.seen for each in call.diagnostics}


def call(id_: str, name: str = "f", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def called(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*calls], **fields}


def output(id_: str, content: Any = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def test_what_every_upstream_takes_goes_there_as_it_was_written() -> None:
    sent = {"temperature": 0, "top_p": 1, "seed": 7, "stop": ["a"], "logit_bias": {"5": 1}, "logprobs": True, "n": 2}
    made = translate(**sent, user="u", reasoning_effort="low")
    assert made.body == {"model": "m", "messages": [USER], **sent, "user": "u", "reasoning_effort": "low", **STREAMED}
    assert made.diagnostics == []


def test_what_is_ours_or_means_nothing_does_not_go_upstream() -> None:
    made = translate(
        store=True, metadata={"k": "v"}, stream=False, n=1, modalities=["text"], tools=[], service_tier="auto"
    )
    assert made.body == {"model": "m", "messages": [USER], **STREAMED}
    assert made.diagnostics == []


def test_what_is_left_out_and_matters_is_disclosed() -> None:
    made = translate(ChatRules(refuses=frozenset({"seed"})), seed=7, prediction={"type": "content"}, vendor_x=1)
    assert made.body == {"model": "m", "messages": [USER], **STREAMED}
    assert told(made) == {"Q106": "seed 7, prediction {'type': 'content'}", "unknown_parameter": "vendor_x"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("taken", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_tokens_goes_under_the_name_that_is_taken(name: str, taken: Any) -> None:
    body = translate(ChatRules(max_tokens_key=taken), **{name: 5}).body
    assert {key: value for key, value in body.items() if key.startswith("max")} == {taken: 5}


def test_of_two_limits_the_newer_one_goes() -> None:
    assert translate(max_tokens=5, max_completion_tokens=6).body["max_tokens"] == 6


def test_messages_keep_names_and_parts_of_unknown_types() -> None:
    video = {"type": "video_url", "video_url": {"url": "data:,"}}
    messages = [{"role": "user", "name": "ada", "content": [{"type": "text", "text": "look"}, video]}]
    assert translate(messages=messages).body["messages"] == messages


def test_parts_of_plain_text_become_a_string_but_marked_ones_stay() -> None:
    plain = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    marked = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    sent = [{"role": "user", "content": plain}, {"role": "user", "content": marked}]
    assert [each["content"] for each in translate(messages=sent).body["messages"]] == ["a\nb", marked]


def test_roles_are_those_of_the_upstream() -> None:
    messages = [{"role": "developer", "content": "a"}, {"role": "system", "content": "b"}, USER]
    assert translate(messages=messages).body["messages"] == [{"role": "system", "content": "a\n\nb"}, USER]


def test_assistants_that_follow_each_other_stay_apart_and_empty_ones_stay() -> None:
    messages = [USER, *({"role": "assistant", "content": text} for text in ("a", "", "b"))]
    assert translate(messages=messages).body["messages"] == messages


def test_tool_messages_follow_their_calls_in_order_and_a_missing_one_is_closed() -> None:
    messages = [called(call("a"), call("b"), call("c")), output("c", "C"), USER, output("a", "A")]
    made = translate(messages=messages)
    assert [(each["role"], each.get("content")) for each in made.body["messages"]] == [
        ("assistant", None),
        ("tool", "A"),
        ("tool", "[The call was interrupted: there is no output.]"),
        ("tool", "C"),
        ("user", "hi"),
    ]
    assert told(made) == {"Q110": "call b of f"}


def test_call_ids_are_mapped_alike_in_calls_and_outputs() -> None:
    made = translate(ChatRules(call_ids="alphanumeric_9"), messages=[called(call("call_1")), output("call_1")])
    asked, answered = made.body["messages"]
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert len(answered["tool_call_id"]) == 9


def test_what_an_upstream_put_on_a_call_goes_back_with_it() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    made = translate(messages=[called(call("a", **signed)), output("a")])
    assert made.body["messages"][0]["tool_calls"] == [call("a", **signed)]


def test_an_image_in_a_tool_message_moves_to_a_user_message() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}
    made = translate(messages=[called(call("a")), output("a", [{"type": "text", "text": "see"}, image])])
    _, told_, shown = made.body["messages"]
    assert (told_["content"], shown["role"], shown["content"][1]) == ("see", "user", image)


def test_images_and_files_become_a_word_where_they_cannot_be_seen() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "x"}},
    ]
    made = translate(ChatRules(images=False, files=False), messages=[{"role": "user", "content": parts}])
    assert made.body["messages"][0]["content"] == (
        "[image omitted: this model cannot read it]\n[file a.pdf omitted: this model cannot read it]"
    )
    assert "Q109" in told(made)


@pytest.mark.parametrize(
    ("echo", "shown"), [("forbid", {}), ("allow", {"reasoning": "Hm."}), ("require", {"reasoning": "Hm."})]
)
def test_reasoning_goes_back_under_its_own_name_where_it_is_taken(echo: Any, shown: dict[str, str]) -> None:
    made = translate(ChatRules(echo_reasoning=echo), messages=[called(call("a"), reasoning="Hm."), output("a")])
    message = made.body["messages"][0]
    assert {name: value for name, value in message.items() if name.startswith("reasoning")} == shown
    assert ("Q71" in told(made)) is (echo == "forbid")


def test_tools_and_choices_are_mapped_to_names_upstreams_take_and_back() -> None:
    tools = [
        {"type": "function", "function": {"name": "a.b", "description": "d", "parameters": {"type": "object"}}},
        {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": GRAMMAR}}},
    ]
    made = translate(tools=tools, tool_choice={"type": "function", "function": {"name": "a.b"}})
    ours, patch = (tool["function"] for tool in made.body["tools"])
    assert ours == {"name": "a_b", "description": "d", "parameters": {"type": "object"}}
    assert "start: /x/" in patch["description"]
    assert made.body["tool_choice"] == {"type": "function", "function": {"name": "a_b"}}
    started, _, finished = made.restore(
        [
            ToolCallStarted(block="0.0", call_id="c", name="patch"),
            ToolCallFinished(block="0.0", arguments='{"input":"x"}'),
        ]
    )
    assert (started.kind, finished.arguments) == ("custom", "x")  # type: ignore[union-attr]


GRAMMAR = {"syntax": "lark", "definition": "start: /x/"}


def test_a_choice_of_allowed_tools_takes_the_others_away() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}
    made = translate(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["b"]
    assert made.body["tool_choice"] == "required"


def test_a_format_is_enforced_or_told() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    assert translate(response_format=wanted).body["response_format"] == wanted
    made = translate(ChatRules(response_format="text"), response_format=wanted)
    assert '{"type":"object"}' in made.body["messages"][0]["content"]
    assert "response_format" not in made.body


def test_a_flag_that_is_off_may_be_left_out_silently() -> None:
    assert translate(ChatRules(refuses=frozenset({"logprobs"})), logprobs=False).diagnostics == []


def test_what_an_assistant_refused_is_its_text() -> None:
    parts = [{"type": "text", "text": "Well, "}, {"type": "refusal", "refusal": "no."}]
    messages = [USER, {"role": "assistant", "content": parts}, {"role": "assistant", "refusal": "No."}]
    sent = translate(messages=messages).body["messages"]
    assert [each["content"] for each in sent] == ["hi", "Well, no.", "No."]
