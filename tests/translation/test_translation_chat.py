"""The body of the chat request: parameters, recorded bodies, real clients."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon.dialects import OPENAI, ChatRules, Dialect
from antiphon.events import ToolCallStarted
from antiphon.translation import ChatCall, to_chat
from antiphon.wire.responses import CreateResponse, decode_request, input_items

SHARED = Path(__file__).parents[3] / "shared"


def translate(rules: ChatRules | None = None, **parameters: Any) -> ChatCall:
    body = json.dumps({"model": "m", "input": "hi", **parameters}).encode()
    request = decode_request(body)
    return to_chat(request, input_items(request), model="up", dialect=Dialect(requests=rules or ChatRules()))


MINIMAL = {
    "model": "up",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_only_what_the_client_set_is_sent() -> None:
    call = translate()
    assert call.body == MINIMAL
    assert call.diagnostics == []
    assert translate(rules=ChatRules(include_usage=False)).body.keys() == MINIMAL.keys() - {"stream_options"}


STRICT = {"name": "n", "schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"presence_penalty": 1, "frequency_penalty": -1}, {"presence_penalty": 1, "frequency_penalty": -1}),
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", **STRICT}}},
            {"response_format": {"type": "json_schema", "json_schema": STRICT}},
        ),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"stop": ["END"], "seed": 7, "user": "u"}, {"stop": ["END"], "seed": 7, "user": "u"}),
        ({"stop": [], "tools": [], "metadata": {"a": "b"}, "store": False, "client_metadata": {"a": "b"}}, {}),
    ],
)  # fmt: skip
def test_parameters_become_those_of_chat(parameters: dict[str, Any], sent: dict[str, Any]) -> None:
    call = translate(**parameters)
    assert call.body == {**MINIMAL, **sent}
    assert call.diagnostics == []


@pytest.mark.parametrize(
    ("parameters", "quirk"),
    [
        ({"text": {"verbosity": "low"}}, "Q106"),
        ({"wild": 1}, "unknown_parameter"),
    ],
)
def test_a_parameter_that_is_not_sent_is_disclosed(parameters: dict[str, Any], quirk: str) -> None:
    call = translate(**parameters)
    assert call.body == MINIMAL
    assert [diagnostic.quirk for diagnostic in call.diagnostics] == [quirk]


def test_numbers_are_sent_as_they_were_written() -> None:
    assert json.dumps(translate(temperature=0, top_p=1.0).body).count("0.0") == 0
    assert '"top_p": 1.0' in json.dumps(translate(temperature=0, top_p=1.0).body)


def test_only_parallel_false_is_worth_a_word() -> None:
    rules = ChatRules(refuses=frozenset({"parallel_tool_calls"}))
    tools = [{"type": "function", "name": "f", "parameters": {}}]
    assert translate(rules, tools=tools, parallel_tool_calls=True).diagnostics == []
    assert len(translate(rules, tools=tools, parallel_tool_calls=False).diagnostics) == 1


def test_an_upstream_that_takes_more_gets_more() -> None:
    rules = ChatRules(max_tokens_key="max_completion_tokens", takes=frozenset({"verbosity", "prompt_cache_key"}))
    body = translate(rules, max_output_tokens=5, text={"verbosity": "low"}, prompt_cache_key="k").body
    assert body == {**MINIMAL, "max_completion_tokens": 5, "verbosity": "low", "prompt_cache_key": "k"}


@pytest.mark.parametrize(
    ("most", "wanted", "sent", "told"),
    [
        ("json_object", "json_schema", {"type": "json_object"}, True),
        ("json_object", "json_object", {"type": "json_object"}, False),
        ("text", "json_schema", None, True),
        ("text", "json_object", None, True),
        ("text", "text", None, False),
    ],
)
def test_a_format_that_cannot_be_enforced_is_told_to_the_model(most: Any, wanted: str, sent: Any, told: bool) -> None:
    text_format = {"type": wanted, **(STRICT if wanted == "json_schema" else {})}
    call = translate(ChatRules(response_format=most), text={"format": text_format}, instructions="Be brief.")
    assert call.body.get("response_format") == sent
    system = call.body["messages"][0]["content"]
    assert ("one JSON object" in system, '{"type":"object"}' in system) == (told, told and wanted == "json_schema")
    assert [diagnostic.quirk for diagnostic in call.diagnostics] == ["Q106"] * told


def test_rules_are_those_of_the_dialect() -> None:
    item = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    dialect = Dialect(requests=ChatRules(call_ids="alphanumeric_9"))
    call = to_chat(CreateResponse(model="m"), [item], model="up", dialect=dialect)
    assert len(call.body["messages"][0]["tool_calls"][0]["id"]) == 9


# --- recorded bodies -------------------------------------------------------------------------


def recorded_bodies(name: str) -> list[dict[str, Any]]:
    path = SHARED / "corpus" / "seeds" / name
    if not path.exists():
        pytest.skip(f"the recording {path} is not there")
    interactions = yaml.safe_load(path.read_text())["interactions"]
    return [json.loads(interaction["request"]["body"]) for interaction in interactions]


def as_responses_request(chat: dict[str, Any]) -> dict[str, Any]:
    """What a Responses client would have sent to say the same."""
    system, *rest = chat["messages"]
    items: list[dict[str, Any]] = []
    for message in rest:
        if message["role"] == "tool":
            items.append(
                {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            )
            continue
        if "content" in message:
            items.append({"role": message["role"], "content": message["content"]})
        for call in message.get("tool_calls", []):
            items.append({"type": "function_call", "call_id": call["id"], **call["function"]})
    return {
        "model": chat["model"],
        "instructions": system["content"],
        "input": items,
        "tools": [{"type": "function", **tool["function"]} for tool in chat["tools"]],
        "tool_choice": chat["tool_choice"],
        "max_output_tokens": chat.get("max_tokens") or chat.get("max_completion_tokens"),
        "stream": True,
    }


@pytest.mark.parametrize(
    ("recording", "rules"),
    [
        ("multi_tool_streaming.yaml", ChatRules()),
        ("from_diff/Common_tool_streaming.yaml", ChatRules(max_tokens_key="max_completion_tokens")),
    ],
)
def test_a_request_that_says_the_same_as_a_recorded_one_is_the_recorded_one(recording: str, rules: ChatRules) -> None:
    for chat in recorded_bodies(recording):
        request = decode_request(json.dumps(as_responses_request(chat)).encode())
        call = to_chat(request, input_items(request), model=chat["model"], dialect=Dialect(requests=rules))
        assert call.body == chat
        assert call.diagnostics == []


# --- what Codex sends ------------------------------------------------------------------------


def codex_requests(value: Any) -> Iterator[dict[str, Any]]:
    """Every request inside a capture; those of a WebSocket are JSON text."""
    if isinstance(value, str) and value.startswith("{") and '"input"' in value:
        value = json.loads(value)
    if isinstance(value, dict) and "model" in value and "input" in value:
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from codex_requests(inner)


def captures() -> list[Path]:
    return sorted((SHARED / "codex").glob("*.json"))


@pytest.mark.skipif(not captures(), reason=f"no captured requests in {SHARED / 'codex'}")
@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
def test_codex_is_understood(path: Path) -> None:
    requests = list(codex_requests(json.loads(path.read_text())))
    assert requests
    for sent in requests:
        request = decode_request(json.dumps(sent).encode())
        assert request.raw == sent
        call = to_chat(request, input_items(request), model="up", dialect=OPENAI)
        assert {diagnostic.quirk for diagnostic in call.diagnostics} <= {"R25", "Q71", "Q106"}
        asked = [item for item in input_items(request) if item["type"] == "function_call"]
        made = [made for message in call.body["messages"] for made in message.get("tool_calls", [])]
        assert [item["call_id"] for item in asked] == [made["id"] for made in made]


@pytest.mark.skipif(not captures(), reason=f"no captured requests in {SHARED / 'codex'}")
def test_codex_gets_its_freeform_tool_in_its_namespace_back() -> None:
    sent = json.loads((SHARED / "codex" / "codex_request_gpt6_responses_lite.json").read_text())
    request = decode_request(json.dumps(sent).encode())
    call = to_chat(request, input_items(request), model="up", dialect=OPENAI)
    assert "functions__exec" in call.offered
    restored = call.restore([ToolCallStarted(block="0.0", call_id="c", name="functions__exec")])
    assert restored == [ToolCallStarted(block="0.0", call_id="c", name="exec", kind="custom", namespace="functions")]


def test_q106_a_tier_that_was_asked_for_and_cannot_be_sent_is_disclosed() -> None:
    assert [each.quirk for each in translate(service_tier="flex").diagnostics] == ["Q106"]
    assert translate(service_tier="auto").diagnostics == []
    assert translate(prompt_cache_key="k", user="u", safety_identifier="s").diagnostics == []
