"""Tools that the server runs, as the model sees them: names, turns, approvals."""

import json
from typing import Any

import pytest

from antiphon.dialects import ChatRules, Dialect
from antiphon.events import ToolCallStarted
from antiphon.translation import ChatCall, to_chat
from antiphon.wire.responses import CreateResponse, Item

USER: Item = {"type": "message", "role": "user", "content": "go"}
FILES = {"type": "file_search", "vector_store_ids": ["vs_1"]}


def server(label: str, **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": label, "server_url": f"https://{label}.test", **more}


def listed(label: str, *names: str) -> Item:
    tools = [{"name": name, "description": f"{name} of {label}", "input_schema": {"type": "object"}} for name in names]
    return {"type": "mcp_list_tools", "id": f"mcpl_{label}", "server_label": label, "tools": tools}


def ran(name: str, *, turn: int | None = None, call_id: str = "c1", **more: Any) -> Item:
    private = {"call_id": call_id} | ({} if turn is None else {"turn": turn})
    item = {"type": "mcp_call", "id": f"mcp_{call_id}", "server_label": "a", "name": name, "arguments": "{}"}
    return {**item, "output": "42", "antiphon": private, **more}


def request(name: str, call_id: str = "c1") -> Item:
    asked = {"type": "mcp_approval_request", "id": f"mcpr_{call_id}", "server_label": "a", "name": name}
    return {**asked, "arguments": "{}", "antiphon": {"call_id": call_id, "kind": "mcp"}}


def translate(*items: Item, tools: list[dict[str, Any]] | None = None, **parameters: Any) -> ChatCall:
    asked = CreateResponse(model="m", tools=[server("a"), server("b")] if tools is None else tools, **parameters)
    return to_chat(asked, list(items), model="up", dialect=Dialect(requests=ChatRules()))


def names(call: ChatCall) -> list[str]:
    return [tool["function"]["name"] for tool in call.body.get("tools", [])]


def roles(call: ChatCall) -> list[str]:
    return [message["role"] for message in call.body["messages"]]


def started(call: ChatCall, name: str) -> ToolCallStarted:
    (event,) = call.restore([ToolCallStarted(block="0.0", call_id="c", name=name)])
    assert isinstance(event, ToolCallStarted)
    return event


# --- what is offered -------------------------------------------------------------------------


def test_a_tool_of_a_server_has_the_servers_own_name_where_no_other_tool_has_it() -> None:
    call = translate(listed("a", "ask", "tell"), listed("b", "ask"), USER)
    assert names(call) == ["a__ask", "tell", "b__ask"]
    assert (started(call, "tell").kind, started(call, "tell").namespace) == ("mcp", "a")
    assert (started(call, "b__ask").name, started(call, "b__ask").namespace) == ("ask", "b")


def test_a_function_of_the_client_keeps_its_name_from_a_server() -> None:
    function = {"type": "function", "name": "ask", "parameters": {"type": "object"}}
    call = translate(listed("a", "ask"), USER, tools=[function, server("a")])
    assert names(call) == ["ask", "a__ask"]
    assert started(call, "ask").kind == "function"


def test_only_allowed_tools_of_named_servers_are_offered() -> None:
    items = [listed("a", "ask", "tell"), listed("b", "other"), USER]
    assert names(translate(*items, tools=[server("a", allowed_tools=["tell"])])) == ["tell"]
    assert names(translate(*items, tools=[server("a", allowed_tools={"tool_names": ["ask"]})])) == ["ask"]
    assert names(translate(*items, tools=[])) == []


def test_the_newest_list_of_a_server_counts() -> None:
    assert names(translate(listed("a", "old"), listed("a", "new"), USER)) == ["new"]


def test_a_file_search_is_a_function_under_the_name_that_it_was_given() -> None:
    assert names(translate(USER, tools=[FILES])) == ["file_search"]
    call = translate(USER, tools=[{**FILES, "name": "knowledge_search"}])
    assert names(call) == ["knowledge_search"]
    assert started(call, "knowledge_search").kind == "file_search"


@pytest.mark.parametrize(
    ("choice", "offered", "sent"),
    [
        ({"type": "mcp", "server_label": "a"}, ["ask", "tell"], "required"),
        (
            {"type": "mcp", "server_label": "a", "name": "tell"},
            None,
            {"type": "function", "function": {"name": "tell"}},
        ),
        ({"type": "file_search"}, None, {"type": "function", "function": {"name": "file_search"}}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "a"}]},
            ["ask", "tell"],
            "auto",
        ),
    ],
)
def test_a_choice_may_name_a_server_one_of_its_tools_or_the_search(
    choice: dict[str, Any], offered: list[str] | None, sent: Any
) -> None:
    call = translate(listed("a", "ask", "tell"), USER, tools=[server("a"), FILES], tool_choice=choice)
    assert names(call) == (offered or ["file_search", "ask", "tell"])
    assert call.body["tool_choice"] == sent


# --- what was called -------------------------------------------------------------------------


def test_calls_of_one_turn_are_one_message_and_those_of_two_are_two() -> None:
    one = translate(USER, ran("ask", turn=0, call_id="c1"), ran("ask", turn=0, call_id="c2"))
    two = translate(USER, ran("ask", turn=0, call_id="c1"), ran("ask", turn=1, call_id="c2"))
    assert roles(one) == ["user", "assistant", "tool", "tool"]
    assert roles(two) == ["user", "assistant", "tool", "assistant", "tool"]


def test_what_is_said_after_a_hosted_call_is_another_message() -> None:
    text: Item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]}
    assert roles(translate(USER, ran("ask", turn=0), text)) == ["user", "assistant", "tool", "assistant"]
    assert roles(translate(USER, text, ran("ask", turn=0))) == ["user", "assistant", "tool"]


def test_a_call_keeps_the_id_that_the_model_gave_it() -> None:
    sent = translate(USER, ran("ask", turn=0, call_id="call_7")).body["messages"]
    assert (sent[1]["tool_calls"][0]["id"], sent[2]["tool_call_id"], sent[2]["content"]) == ("call_7", "call_7", "42")


def test_a_failed_call_tells_the_model_the_words_of_the_server() -> None:
    error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": "No such user."}]}
    sent = translate(USER, ran("ask", output=None, error=error, status="failed")).body["messages"]
    assert sent[2]["content"] == "No such user."


def test_a_search_tells_the_model_what_it_told_it_the_first_time() -> None:
    private = {"call_id": "c1", "turn": 0, "name": "find", "arguments": '{"query":"x"}', "output": "found: 128"}
    search = {"type": "file_search_call", "id": "fs_1", "queries": ["x"], "results": None, "antiphon": private}
    sent = translate(USER, search, tools=[{**FILES, "name": "find"}]).body["messages"]
    assert sent[1]["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"query":"x"}'}
    assert sent[2]["content"] == "found: 128"


def test_a_search_that_a_client_sent_back_shows_its_results() -> None:
    results = [{"file_id": "file-1", "text": "128 experts"}]
    search = {"type": "file_search_call", "id": "fs_1", "queries": ["x"], "results": results}
    sent = translate(USER, search, tools=[FILES]).body["messages"]
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"query": "x"}
    assert "128 experts" in sent[2]["content"]


def test_a_model_that_searches_sees_the_markers_it_wrote() -> None:
    cited = {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 12}
    part = {"type": "output_text", "text": "128 experts,. Many.", "annotations": [{**cited, "index": 11}, cited]}
    said: Item = {"type": "message", "role": "assistant", "content": [part]}
    assert translate(USER, said, tools=[FILES]).body["messages"][1]["content"] == (
        "128 experts <|file-1|>, <|file-1|>. Many."
    )
    assert translate(USER, said, tools=[]).body["messages"][1]["content"] == "128 experts,. Many."


# --- approvals -------------------------------------------------------------------------------


def test_a_call_that_waits_for_a_person_is_told_as_that() -> None:
    sent = translate(USER, request("ask")).body["messages"]
    assert "waits for a person's approval" in sent[2]["content"]


def test_an_approved_call_answers_the_one_that_the_model_made() -> None:
    decision: Item = {"type": "mcp_approval_response", "approval_request_id": "mcpr_c1", "approve": True}
    call = translate(USER, request("ask"), decision, ran("ask", approval_request_id="mcpr_c1"))
    assert roles(call) == ["user", "assistant", "tool"]
    assert call.body["messages"][2]["content"] == "42"


def test_an_approved_call_whose_items_a_client_sent_back_does_so_too() -> None:
    bare = [
        {name: value for name, value in item.items() if name != "antiphon"} for item in (request("ask"), ran("ask"))
    ]
    call = translate(USER, bare[0], {**bare[1], "approval_request_id": "mcpr_c1"})
    assert roles(call) == ["user", "assistant", "tool"]


def test_the_model_is_told_that_a_person_changed_its_arguments() -> None:
    changed = ran("ask", approval_request_id="mcpr_c1", arguments='{"b":2}')
    sent = translate(USER, request("ask"), changed).body["messages"]
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == "{}", "what it said stays what it said"
    assert sent[2]["content"] == '[A person changed the arguments of this call to {"b":2}]\n42'
