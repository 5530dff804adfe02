"""MCP tools over HTTP: errors, servers that are not there, lists that are known, and decisions of clients who store."""

import json
from pathlib import Path
from typing import Any

import mcp_workflows
import openai
import pytest
from mcp_workflows import Served, calling, dev, served, spoken, tools_over


def ask(server: Served, said: Any, *tools: dict[str, Any], **fields: Any) -> Any:
    return server.client.responses.create(model="gpt-4o", input=said, tools=[*tools] or [dev()], **fields)


def test_a_tool_that_fails_is_a_failed_item_with_the_servers_words(tmp_path: Path) -> None:
    turns = [calling(("fail", '{"words": "The disk is full."}')), spoken("Sorry.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        response = ask(server, "?", dev(allowed_tools=["fail"]))
    call = response.output[1]
    assert (response.status, call.status, call.output) == ("completed", "failed", None)
    assert call.error.content[0]["text"] == "The disk is full."


def test_arguments_that_do_not_fit_are_told_to_the_model_and_the_run_goes_on(tmp_path: Path) -> None:
    turns = [calling(("get_user_id", '{"username": 7}')), spoken("Let me see.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        response = ask(server, "?")
    assert response.output[1].status == "failed"
    assert "arguments are wrong" in str(response.output[1].error)
    assert response.output_text == "Let me see."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_server_that_is_not_there_is_a_424_before_anything_is_shown(streamed: bool, tmp_path: Path) -> None:
    toml = "[mcp_servers.dev]\nurl = 'http://127.0.0.1:9/mcp'\nallow_private = true\n"
    with served(tmp_path, [spoken("never")], toml=toml) as server, pytest.raises(openai.APIStatusError) as refused:
        ask(server, "?", stream=streamed)
    assert refused.value.status_code == 424
    assert "dev" in str(refused.value)


def test_a_url_that_leads_into_this_network_is_refused_by_name(tmp_path: Path) -> None:
    tool = dev(server_url="http://127.0.0.1:9/mcp")
    with served(tmp_path, [spoken("never")]) as server, pytest.raises(openai.BadRequestError, match=r"127\.0\.0\.1"):
        ask(server, "?", tool)


def test_a_list_is_asked_for_once_along_a_chain(tmp_path: Path) -> None:
    turns = [spoken("one"), calling(("get_user_id", '{"username": "bob"}')), spoken("two")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = ask(server, "?")
        second = ask(server, "!", previous_response_id=first.id)
    assert [item.type for item in first.output] == ["mcp_list_tools", "message"]
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert second.output[0].output == "user_67890"


def test_tools_of_one_name_at_two_servers_are_told_apart(tmp_path: Path) -> None:
    tools = [dev(allowed_tools=["get_user_id"]), dev(server_label="other", allowed_tools=["get_user_id"])]
    with tools_over("http") as toml:
        both = toml + toml.replace("mcp_servers.dev", "mcp_servers.other")
        with served(tmp_path, [spoken("one")], toml=both) as server:
            ask(server, "?", *tools)
        names = offered(server)
    assert len(set(names)) == len(names) == 2
    (tmp_path / "again").mkdir()
    turns = [calling((names[1], '{"username": "alice"}')), spoken("done")]
    with tools_over("http") as toml:
        both = toml + toml.replace("mcp_servers.dev", "mcp_servers.other")
        with served(tmp_path / "again", turns, toml=both) as server:
            response = ask(server, "?", *tools)
    call = next(item for item in response.output if item.type == "mcp_call")
    assert (call.server_label, call.name, call.output) == ("other", "get_user_id", "user_12345")


def offered(server: Served) -> list[str]:
    """The names of the tools that the model was sent: a scripted turn has none, so all of them differ."""
    [found] = [line for line in server.sent if "tools" in line]
    return [tool["function"]["name"] for tool in found["tools"]]


def test_a_picture_of_a_tool_reaches_the_model_and_its_text_the_client(tmp_path: Path) -> None:
    turns = [calling(("draw", "{}")), spoken("A dot.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        response = ask(server, "?", dev(allowed_tools=["draw"]))
    assert response.output[1].output.startswith("A dot.")
    assert "data:image/png;base64," in json.dumps(server.sent[1]["messages"])


# --- approvals -------------------------------------------------------------------------------

ASKING = dev(require_approval="always")
CHARLIE = ("get_user_id", '{"username": "charlie"}')


def approved(request: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True, **fields}


def test_a_person_may_change_the_arguments(tmp_path: Path) -> None:
    turns = [calling(CHARLIE), spoken("Done.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = ask(server, "?", ASKING)
        decision = approved(first.output[-1], arguments='{"username": "bob"}')
        second = ask(server, [decision], ASKING, previous_response_id=first.id)
    call = second.output[0]
    assert (call.arguments, call.output) == ('{"username": "bob"}', "user_67890")


def test_a_client_that_keeps_the_items_itself_can_decide(tmp_path: Path) -> None:
    turns = [calling(CHARLIE), spoken("Done.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = ask(server, "?", ASKING, store=False)
        items = [item.model_dump(exclude_none=True) for item in first.output]
        said = [{"role": "user", "content": "?"}, *items, approved(first.output[-1])]
        second = ask(server, said, ASKING, store=False)
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert second.output[0].output == "user_11111"


def test_a_decision_is_taken_once(tmp_path: Path) -> None:
    turns = [calling(CHARLIE), spoken("Done."), spoken("never")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = ask(server, "?", ASKING)
        second = ask(server, [approved(first.output[-1])], ASKING, previous_response_id=first.id)
        with pytest.raises(openai.BadRequestError, match="decided before"):
            ask(server, [approved(first.output[-1])], ASKING, previous_response_id=second.id)


def test_a_conversation_lists_what_a_server_did(tmp_path: Path) -> None:
    turns = [calling(CHARLIE), spoken("Done.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        conversation = server.client.conversations.create()
        ask(server, "?", conversation=conversation.id)
        items = list(server.client.conversations.items.list(conversation.id, order="asc"))
    assert [item.type for item in items] == ["message", "mcp_list_tools", "mcp_call", "message"]
    assert getattr(items[2], "output", None) == "user_11111"
    assert [tool.name for tool in getattr(items[1], "tools", [])] == mcp_workflows.WORKFLOW
