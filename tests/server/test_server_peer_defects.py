"""What other servers of the API were seen to do wrong around tools, done right. Named by what is right."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from mcp_workflows import Served, calling, calls, dev, kinds, served, spoken, streamed, tools_over

import mcp_server
from antiphon.tools.mcp import MCPServer

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
CLOCK = {**WEATHER, "name": "clock"}
TEXT = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
TEXT_DONE = [*TEXT, "output_item.done"]
ALICE = ("get_user_id", '{"username": "alice"}')


def stream(server: Served, *tools: dict[str, Any], said: Any = "?", **fields: Any) -> list[Any]:
    asked = server.client.responses.create(model="m", input=said, tools=[*tools], stream=True, **fields)  # type: ignore[call-overload]
    events = list(asked)
    assert [event.sequence_number for event in events] == list(range(len(events))), "no number is left out"
    return events


def output(events: list[Any]) -> list[Any]:
    """The items of the response; they are those of the stream, in its order."""
    items = events[-1].response.output
    done = [event for event in events if event.type == "response.output_item.done"]
    added = [event for event in events if event.type == "response.output_item.added"]
    assert [event.output_index for event in added] == list(range(len(items)))
    assert [event.item.id for event in added] == [item.id for item in items]
    by_index = {event.output_index: event.item for event in done}
    assert [by_index[index] for index in range(len(items))] == items
    return list(items)


# --- the streaming loop ----------------------------------------------------------------------


def test_a_text_is_said_to_be_done_before_its_part_and_its_item(tmp_path: Path) -> None:
    with served(tmp_path, [streamed({"content": "Hello"}, {"content": " there"})]) as server:
        events = stream(server)
    assert kinds(events) == ["created", "in_progress", *TEXT_DONE, "completed"]


def test_narration_beside_parallel_calls_is_kept_in_the_output_and_for_the_next_turn(tmp_path: Path) -> None:
    turn = streamed({"content": "Let me look."}, *calls(("weather", "{}"), ("clock", "{}")), finish="tool_calls")
    with served(tmp_path, [turn, spoken("Sunny, noon.")]) as server:
        events = stream(server, WEATHER, CLOCK)
        items = output(events)
        outputs = [{"type": "function_call_output", "call_id": item.call_id, "output": "ok"} for item in items[1:]]
        stream(server, WEATHER, CLOCK, said=outputs, previous_response_id=events[-1].response.id)
    assert [item.type for item in items] == ["message", "function_call", "function_call"]
    [assistant] = [message for message in server.sent[1]["messages"] if message["role"] == "assistant"]
    assert "Let me look." in json.dumps(assistant)
    assert [call["function"]["name"] for call in assistant["tool_calls"]] == ["weather", "clock"]


def test_a_call_of_a_server_is_announced_before_its_arguments_and_never_as_a_function(tmp_path: Path) -> None:
    with tools_over("http") as toml, served(tmp_path, [calling(ALICE), spoken("ok")], toml=toml) as server:
        events = stream(server, dev())
    items = output(events)
    names = [event.type for event in events]
    assert not [name for name in names if "function_call" in name]
    items_of = [getattr(getattr(event, "item", None), "type", None) for event in events]
    announced = items_of.index("mcp_call")
    assert announced < names.index("response.mcp_call_arguments.delta")
    progress = [event for event in events if ".mcp_" in event.type]
    assert {event.item_id for event in progress} == {items[0].id, items[1].id}
    assert {event.output_index for event in progress} == {0, 1}


def test_the_citations_of_a_search_are_taken_out_of_the_text_as_it_streams(tmp_path: Path) -> None:
    search = {"type": "file_search", "vector_store_ids": []}
    with served(tmp_path, [calling(("file_search", '{"query": "experts"}')), spoken("never")]) as server:
        file = server.client.files.create(file=("notes.txt", b"maverick has 128 experts"), purpose="assistants")
        store = server.client.vector_stores.create()
        server.client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, poll_interval_ms=20)
    search["vector_store_ids"] = [store.id]
    said = streamed({"content": "It has 128 <|fi"}, {"content": f"le-{file.id.removeprefix('file-')}|>."})
    with served(tmp_path, [calling(("file_search", '{"query": "experts"}')), said]) as server:
        events = stream(server, search)
    items = output(events)
    assert [item.type for item in items] == ["file_search_call", "message"]
    assert not [event.type for event in events if "function_call" in event.type]
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == items[1].content[0].text == "It has 128."
    assert [each.file_id for each in items[1].content[0].annotations] == [file.id]


def test_reasoning_is_an_item_of_its_own_before_the_text(tmp_path: Path) -> None:
    with served(tmp_path, [streamed({"reasoning_content": "Hm."}, {"content": "Yes."})]) as server:
        events = stream(server)
    assert [item.type for item in output(events)] == ["reasoning", "message"]
    added = [event.type for event in events].index("response.output_item.added")
    first = next(n for n, event in enumerate(events) if "delta" in event.type or "part" in event.type)
    assert added < first


# --- what users of servers with MCP tools complained of --------------------------------------


@contextmanager
def counted() -> Iterator[tuple[str, mcp_server.Gate]]:
    """The configuration of a server of tools, and what is asked of it."""
    with mcp_server.serving("http") as (url, gate):
        yield f"[mcp_servers.dev]\nurl = {url!r}\nallow_private = true\n", gate


def test_a_chain_goes_on_from_responses_with_items_of_servers(tmp_path: Path) -> None:
    turns = [calling(ALICE), spoken("user_12345"), spoken("As I said.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = stream(server, dev())[-1].response
        second = stream(server, dev(), said="Again?", previous_response_id=first.id)[-1].response
    assert second.output_text == "As I said."
    told = [message["content"] for message in server.sent[2]["messages"] if message["role"] == "tool"]
    assert told == ["user_12345"]


def test_tools_are_listed_once_and_not_before_each_call(tmp_path: Path) -> None:
    turns = [calling(ALICE, ALICE), calling(ALICE), spoken("ok"), calling(ALICE), spoken("ok")]
    with counted() as (toml, gate), served(tmp_path, turns, toml=toml) as server:
        first = stream(server, dev())[-1].response
        stream(server, dev(), said="Again?", previous_response_id=first.id)
    assert [asked for asked in gate.requests if asked.endswith("tools/list")] == ["POST tools/list"]
    assert len([asked for asked in gate.requests if asked.endswith("tools/call")]) == 4


def test_nothing_turns_round_after_a_call() -> None:
    async def main(url: str) -> int:
        server = MCPServer(url=url)
        await server.list_tools()
        await server.call(*ALICE, idempotency_key="k")
        await server.close()
        loop, turns = asyncio.get_running_loop(), 0
        selector = loop._selector  # type: ignore[attr-defined]
        select = selector.select

        def counting(timeout: float | None = None) -> Any:
            nonlocal turns
            turns += 1
            return select(timeout)

        selector.select = counting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        return turns

    with mcp_server.serving("http") as (url, _):
        assert asyncio.run(main(url)) < 50


def test_what_a_server_answers_to_a_wrong_token_is_told_and_is_no_error_of_ours(tmp_path: Path) -> None:
    with counted() as (toml, gate), served(tmp_path, [spoken("never")], toml=toml) as server:
        gate.token = "right"
        with pytest.raises(openai.APIStatusError) as refused:
            stream(server, dev(authorization="token-of-a-client"))
    assert refused.value.status_code == 424
    assert "401 Unauthorized: No user has" in str(refused.value), "the server's own words"
    assert "token-of-a-client" not in str(refused.value)


@pytest.mark.parametrize(
    ("required", "waits"),
    [
        ("never", False),
        ("always", True),
        (None, True),
        ({"never": {"tool_names": ["get_user_id"]}}, False),
        ({"never": {"tool_names": ["get_user_permissions"]}}, True),
        ({"always": {"tool_names": ["get_user_id"]}}, True),
        ({"always": {"tool_names": ["get_user_permissions"]}}, False),
    ],
)
def test_every_form_of_require_approval_is_held_to(required: Any, waits: bool, tmp_path: Path) -> None:
    with tools_over("http") as toml, served(tmp_path, [calling(ALICE), spoken("ok")], toml=toml) as server:
        events = stream(server, dev(require_approval=required))
    wanted = ["mcp_approval_request"] if waits else ["mcp_call", "message"]
    assert [item.type for item in output(events)] == ["mcp_list_tools", *wanted]
