"""A request is checked where it comes in, refused in OpenAI's words, and nothing in it is lost."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from antiphon.wire.responses import MAX_DEPTH, MAX_ITEMS, CreateResponse, decode_request, input_items


def body(**parameters: Any) -> bytes:
    return json.dumps({"model": "m", "input": "hi", **parameters}).encode()


def refused(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(raw)
    return caught.value


def maybe_refused(raw: bytes) -> InvalidRequest | None:
    try:
        decode_request(raw)
    except InvalidRequest as error:
        return error
    return None


MESSAGE = {"role": "user", "content": "hi"}

MALFORMED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "invalid_type"),
    ({"model": 5}, "model", "invalid_type"),
    ({"model": ""}, "model", "string_below_min_length"),
    ({"input": 5}, "input", "invalid_type"),
    ({"input": None}, "input", "missing_required_parameter"),
    ({"input": ["hi"]}, "input[0]", "invalid_type"),
    ({"input": [MESSAGE, None]}, "input[1]", "invalid_type"),
    ({"input": [{}]}, "input[0].type", "missing_required_parameter"),
    ({"input": [{"type": 5}]}, "input[0].type", "invalid_type"),
    ({"input": [{"type": "mesage"}]}, "input[0].type", "invalid_value"),
    ({"input": [{"type": "message", "content": "hi"}]}, "input[0].role", "missing_required_parameter"),
    ({"input": [MESSAGE, {"role": "tool", "content": ""}]}, "input[1].role", "invalid_value"),
    ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
    ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
    (
        {"input": [{"role": "user", "content": [{"text": "a"}]}]},
        "input[0].content[0].type",
        "missing_required_parameter",
    ),
    ({"input": [{"role": "user", "content": [{"type": "smell"}]}]}, "input[0].content[0].type", "invalid_value"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
        "input[0].content[0].text",
        "missing_required_parameter",
    ),
    (
        {"input": [{"type": "function_call", "name": "f", "arguments": ""}]},
        "input[0].call_id",
        "missing_required_parameter",
    ),
    (
        {"input": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": {}}]},
        "input[0].arguments",
        "invalid_type",
    ),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output", "missing_required_parameter"),
    (
        {"input": [{"type": "custom_tool_call", "name": "f", "call_id": "c"}]},
        "input[0].input",
        "missing_required_parameter",
    ),
    ({"input": [{"type": "reasoning", "encrypted_content": 5}]}, "input[0].encrypted_content", "invalid_type"),
    ({"input": [{"type": "item_reference"}]}, "input[0].id", "missing_required_parameter"),
    (
        {"input": [{"type": "additional_tools", "tools": [{"type": "function"}]}]},
        "input[0].tools[0].name",
        "missing_required_parameter",
    ),
    ({"temperature": "warm"}, "temperature", "invalid_type"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value"),
    ({"temperature": True}, "temperature", "invalid_type"),
    ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
    ({"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
    ({"max_output_tokens": 1.5}, "max_output_tokens", "invalid_type"),
    ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"truncation": "none"}, "truncation", "invalid_value"),
    ({"metadata": {"a": 1}}, "metadata", "invalid_type"),
    ({"metadata": {"a": "x" * 513}}, "metadata", "string_above_max_length"),
    ({"metadata": {"a" * 65: "x"}}, "metadata", "string_above_max_length"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", "object_above_max_length"),
    ({"text": {"format": {"type": "yaml"}}}, "text.format.type", "invalid_value"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "missing_required_parameter"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort", "invalid_type"),
    ({"tools": {}}, "tools", "invalid_type"),
    ({"tools": [{"name": "f"}]}, "tools[0].type", "missing_required_parameter"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [{"type": "function", "name": "f", "parameters": "{}"}]}, "tools[0].parameters", "invalid_type"),
    (
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}]},
        "tools[0].tools[0].name",
        "missing_required_parameter",
    ),
    ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    ({"tool_choice": {"name": "f"}}, "tool_choice.type", "missing_required_parameter"),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name", "missing_required_parameter"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": []}}, "tool_choice.mode", "invalid_value"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice", "invalid_value"),
    ({"previous_response_id": "r", "conversation": "c"}, "previous_response_id", "mutually_exclusive_parameters"),
]


@pytest.mark.parametrize(("parameters", "param", "code"), MALFORMED, ids=str)
def test_a_malformed_request_is_refused_by_name(parameters: dict[str, Any], param: str, code: str) -> None:
    error = refused(body(**parameters))
    assert (error.param, error.reason) == (param, code)
    assert param in error.message


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"model": "m",}', "invalid_json"),
        (b'{"model": NaN}', "invalid_json"),
        (b'{"model": 1e999}', "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b'{"model": "\\ud800"}', "invalid_json"),
        (b"[]", "invalid_type"),
        (b"null", "invalid_type"),
        (b"[" * 1_000_000, "nesting_too_deep"),
        (b'{"model":"m","input":"hi","x":' + b"[" * 900 + b"]" * 900 + b"}", "nesting_too_deep"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_body_that_is_no_sound_json_object_is_refused(raw: bytes, code: str) -> None:
    assert refused(raw).reason == code


def test_missing_parameters_are_named() -> None:
    assert refused(b'{"input": "hi"}').param == "model"
    assert refused(b'{"model": "m"}').param == "input"


def test_a_refusal_shows_the_value_and_what_to_do() -> None:
    assert refused(body(temperature=3)).message == "Invalid 'temperature': expected a decimal <= 2, but got 3 instead."
    assert (
        refused(body(stream=5)).message == "Invalid type for 'stream': expected a boolean, but got an integer instead."
    )
    role = refused(body(input=[{"role": "tool", "content": ""}])).message
    assert role == (
        "Invalid value for 'input[0].role': 'tool'. Supported values are: 'user', 'assistant', 'system', 'developer'."
    )
    assert len(refused(body(truncation="x" * 1_000_000)).message) < 250


def test_nesting_is_refused_one_level_past_the_limit() -> None:
    def nested(levels: int) -> bytes:
        return b'{"model":"m","input":"hi","metadata2":' + b"[" * levels + b"]" * levels + b"}"

    decode_request(nested(MAX_DEPTH - 1))
    assert refused(nested(MAX_DEPTH)).reason == "nesting_too_deep"


def test_too_many_items_are_refused() -> None:
    assert refused(body(input=[MESSAGE] * (MAX_ITEMS + 1))).reason == "array_above_max_length"


def test_a_megabyte_of_text_is_accepted() -> None:
    request = decode_request(body(input="x" * 1_000_000))
    assert len(request.raw["input"]) == 1_000_000


def test_every_documented_parameter_is_typed_and_null_means_absent() -> None:
    names = [name for name in CreateResponse.__struct_fields__ if name not in ("raw", "model", "input")]
    assert len(names) == 31 + 2 - 2  # OpenAI's and two of Open Responses, without model and input
    request = decode_request(body(**dict.fromkeys(names)))
    assert all(getattr(request, name) is None for name in names)


def test_raw_is_the_body_as_it_was_sent() -> None:
    sent = {"model": "m", "input": [MESSAGE], "client_metadata": {"a": [1, None]}, "temperature": 0, "tools": []}
    request = decode_request(json.dumps(sent).encode())
    assert request.raw == sent
    assert (request.temperature, request.tools) == (0, [])


def test_a_parameter_named_raw_is_like_any_other_unknown_one() -> None:
    assert decode_request(body(raw=5)).raw["raw"] == 5


def test_a_string_becomes_a_user_message() -> None:
    content = [{"type": "input_text", "text": "hi"}]
    assert input_items(CreateResponse(model="m", input="hi")) == [
        {"type": "message", "role": "user", "content": content}
    ]
    assert input_items(CreateResponse(model="m")) == []


def test_an_item_without_type_is_a_message_or_a_reference() -> None:
    items = input_items(CreateResponse(model="m", input=[MESSAGE, {"id": "msg_1"}, {"type": None, **MESSAGE}]))
    assert [item["type"] for item in items] == ["message", "item_reference", "message"]
    assert items[0] == {**MESSAGE, "type": "message"}


@pytest.mark.parametrize("kind", ["web_search_call", "compaction_trigger", "mcp_approval_request", "acme:telemetry"])
def test_items_of_other_known_kinds_and_extensions_pass_whole(kind: str) -> None:
    item = {"type": kind, "id": "x", "anything": {"a": [None]}}
    assert input_items(decode_request(body(input=[item]))) == [item]


def test_unknown_tools_are_left_to_who_may_serve_them() -> None:
    assert decode_request(body(tools=[{"type": "teleport"}])).tools == [{"type": "teleport"}]


def test_a_chosen_tool_may_be_offered_in_a_namespace_or_by_an_item() -> None:
    choice = {"type": "function", "name": "f"}
    function = {"type": "function", "name": "f", "parameters": {}}
    namespace = {"type": "namespace", "name": "ns", "tools": [function]}
    assert decode_request(body(tools=[namespace], tool_choice=choice)).tool_choice == choice
    item = {"type": "additional_tools", "role": "developer", "tools": [namespace]}
    assert decode_request(body(input=[item], tool_choice=choice)).tool_choice == choice
    assert decode_request(body(previous_response_id="resp_1", tool_choice=choice)).tool_choice == choice


extra_fields = st.dictionaries(st.text(min_size=1).map(lambda name: f"x_{name}"), st.none() | st.integers() | st.text())
items = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "developer"]), "content": st.text()}),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "call_id": st.text(min_size=1), "name": st.text(min_size=1)}
        | {"arguments": st.text()}
    ),
    st.fixed_dictionaries(
        {"type": st.just("reasoning"), "summary": st.just([{"type": "summary_text", "text": "t", "x": 1}])}
    ),
)


@given(st.lists(st.tuples(items, extra_fields).map(lambda pair: {**pair[0], **pair[1]})))
def test_items_keep_every_field_and_their_order(sent: list[dict[str, Any]]) -> None:
    received = input_items(decode_request(body(input=sent)))
    assert [{**item, "type": None} for item in received] == [{**item, "type": None} for item in sent]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(CreateResponse.__struct_fields__), json_values)
def test_whatever_a_parameter_holds_it_is_accepted_or_refused_by_name(name: str, value: object) -> None:
    error = maybe_refused(body(**{name: value}))
    if error is not None:
        assert re.split(r"[.\[]", error.param or "")[0] in (name, "previous_response_id")


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_decoder(raw: bytes) -> None:
    error = maybe_refused(raw)
    assert error is None or error.message
