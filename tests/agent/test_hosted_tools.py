"""Tools that the server runs: servers are asked what they have, their calls are run, a person is asked first."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from antiphon.agent.hosted import HostedTools
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import InvalidRequest
from antiphon.events import (
    ModelEvent,
    RunEvent,
    RunFinished,
    RunStarted,
    TextFinished,
    ToolListStarted,
)
from antiphon.rendering.responses import ResponsesRenderer, response_object
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.tools.base import ToolError, ToolResult
from antiphon.wire.hosted import FileSearchTool, McpTool
from antiphon.wire.responses import decode_request

TOOLS = [
    {"name": "read", "description": "Reads.", "input_schema": {}, "annotations": {"readOnlyHint": True}},
    {"name": "write", "description": "Writes.", "input_schema": {}, "annotations": None},
]


class FakeServer:
    """An MCP server that remembers what it was asked."""

    def __init__(self) -> None:
        self.listed = self.closed = 0
        self.called: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str] | None] = []
        self.gate: asyncio.Event | None = None

    def connect(self, tool: McpTool) -> Any:
        self.label = tool.server_label
        self.headers.append(tool.headers)
        return self

    async def list_tools(self) -> list[dict[str, Any]]:
        self.listed += 1
        return TOOLS

    def remember(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self.remembered = [tool["name"] for tool in tools]

    async def call(self, name: str, arguments: str, *, idempotency_key: str) -> ToolResult:
        self.called.append((name, arguments, idempotency_key))
        if name == "broken":
            raise ToolError("It is broken.")
        image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
        text = {"type": "input_text", "text": "42"}
        return ToolResult(output="42", content=[text, image] if name == "write" else [])

    async def close(self) -> None:
        self.closed += 1


class World:
    """A runner, its model's script and its server."""

    def __init__(self, *scripts: list[list[ModelEvent]], store: SqliteStore | None = None, used_ids: int = 0) -> None:
        self.server = FakeServer()
        self.provider = ScriptedProvider(*scripts)
        self.store = store or SqliteStore.open(None, clock=FakeClock())
        ids = CountingIds()
        for _ in range(used_ids):
            ids.new("used")
        self.runner = Runner(
            store=self.store,
            resolve=lambda model: [Target(self.provider, model)],
            clock=FakeClock(),
            ids=ids,
            host=self._host,
        )

    def _host(self, owner: str, tools: Sequence[dict[str, Any]], items: Sequence[dict[str, Any]]) -> HostedTools:
        return HostedTools(tools, items, connect=self.server.connect, search=self._search)

    async def _search(self, tool: FileSearchTool, queries: Sequence[str]) -> ToolResult:
        found = [{"file_id": "file-1", "filename": "a.txt", "score": 0.5, "text": "t", "attributes": {}}]
        return ToolResult(output=f"found for {queries}", results=found)

    async def ask(self, **fields: Any) -> list[RunEvent]:
        body = msgspec.json.encode({"model": "m", "input": "hi", "tools": [mcp()], **fields})
        return [event async for batch in self.runner.run("me", decode_request(body)) for event in batch]


def mcp(**fields: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "box", "server_url": "https://box.test/mcp", **fields}


def calls(*names: str, turn: int = 0, kind: Any = "mcp", arguments: str = '{"q": "x"}') -> list[list[ModelEvent]]:
    """A turn in which the model calls tools of the server ``box``."""
    made = ((f"c{turn}{n}", name, arguments) for n, name in enumerate(names))
    return tool_turn(*made, turn=turn, server="box" if kind == "mcp" else None, kind=kind)


def output(events: list[RunEvent]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = response_object(events)["output"]
    return items


def types(events: list[RunEvent]) -> list[str]:
    return [item["type"] for item in output(events)]


def test_a_server_is_asked_for_its_tools_and_runs_the_calls_of_the_model() -> None:
    world = World(calls("read"), text_turn("It is 42.", turn=1))
    events = asyncio.run(world.ask(tools=[mcp(require_approval="never")]))
    listed, call, _ = output(events)
    assert types(events) == ["mcp_list_tools", "mcp_call", "message"]
    assert listed["tools"] == TOOLS
    assert (call["server_label"], call["name"], call["output"], call["status"]) == ("box", "read", "42", "completed")
    assert (world.server.listed, world.server.closed) == (1, 1)


def test_the_list_of_a_server_is_taken_from_the_response_before_and_asked_again_for_other_tools() -> None:
    async def run() -> list[int]:
        world = World(text_turn("a"), text_turn("b"), text_turn("c"), text_turn("d"))
        listed = []
        first = response_object(await world.ask())["id"]
        second = response_object(await world.ask(previous_response_id=first))["id"]
        listed.append(world.server.listed)
        await world.ask(previous_response_id=second, tools=[mcp(server_url="https://other.test")])
        listed.append(world.server.listed)
        await world.ask(previous_response_id=second, tools=[mcp(allowed_tools=["read"])])
        return [*listed, world.server.listed]

    assert asyncio.run(run()) == [1, 2, 3]


def test_a_call_waits_for_a_person_by_default_and_shows_all_of_it() -> None:
    world = World(calls("write"))
    events = asyncio.run(world.ask())
    request = output(events)[-1]
    assert types(events) == ["mcp_list_tools", "mcp_approval_request"]
    assert (request["server_label"], request["name"], request["arguments"]) == ("box", "write", '{"q": "x"}')
    assert response_object(events)["status"] == "completed"
    assert world.server.called == []


async def decided(world: World, *, arguments: str | None = None, **decision: Any) -> list[RunEvent]:
    """Ask, and go on with a decision on what was asked for."""
    first = response_object(await world.ask())
    request = next(item for item in first["output"] if item["type"] == "mcp_approval_request")
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], **decision}
    if arguments is not None:
        answer["arguments"] = arguments
    return await world.ask(input=[answer], previous_response_id=first["id"])


def test_an_approved_call_is_run_as_it_was_shown_and_the_model_goes_on_from_it() -> None:
    world = World(calls("write"), text_turn("Written."))
    events = asyncio.run(decided(world, approve=True))
    call, message = output(events)
    assert (call["name"], call["arguments"], call["output"]) == ("write", '{"q": "x"}', "42")
    assert call["approval_request_id"].startswith("mcpr")
    assert message["content"][0]["text"] == "Written."
    ((_, _, key),) = world.server.called
    assert world.server.remembered == ["read", "write"]
    assert key.startswith("resp_")
    assert not key.startswith(response_object(events)["id"]), "the key is that of the call that was shown"


def test_a_denied_call_is_not_run_and_the_model_is_told_why() -> None:
    world = World(calls("write"), text_turn("Well."))
    events = asyncio.run(decided(world, approve=False, reason="Not today."))
    assert world.server.called == []
    call = output(events)[0]
    assert call["status"] == "failed"
    assert "Not today." in call["error"]["content"][0]["text"]


def test_a_person_may_change_the_arguments_before_a_call_is_run() -> None:
    world = World(calls("write"), text_turn("Written."))
    events = asyncio.run(decided(world, approve=True, arguments='{"q": "y"}'))
    assert [arguments for _, arguments, _ in world.server.called] == ['{"q": "y"}']
    assert output(events)[0]["arguments"] == '{"q": "y"}'


def test_nothing_of_a_batch_runs_before_the_decision_and_all_of_it_after() -> None:
    async def run() -> tuple[list[Any], list[str], list[str]]:
        world = World(calls("read", "write"), text_turn("Done."))
        tools = [mcp(require_approval={"never": {"tool_names": ["read"]}})]
        first = response_object(await world.ask(tools=tools))
        before = [*world.server.called]
        request = next(item for item in first["output"] if item["type"] == "mcp_approval_request")
        answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
        events = await world.ask(input=[answer], previous_response_id=first["id"], tools=tools)
        return before, [name for name, _, _ in world.server.called], types(events)

    before, ran, shown = asyncio.run(run())
    assert before == []
    assert sorted(ran) == ["read", "write"]
    assert shown == ["mcp_call", "mcp_call", "message"]


@pytest.mark.parametrize("required", [{"never": {"read_only": True}}, {"always": {"tool_names": ["write"]}}])
def test_filters_say_which_tools_need_an_approval(required: dict[str, Any]) -> None:
    world = World(calls("read"), text_turn("It is 42.", turn=1))
    asyncio.run(world.ask(tools=[mcp(require_approval=required)]))
    assert [name for name, _, _ in world.server.called] == ["read"]
    world = World(calls("write"))
    asyncio.run(world.ask(tools=[mcp(require_approval=required)]))
    assert world.server.called == []


def test_decisions_about_nothing_or_about_a_part_of_a_batch_are_refused() -> None:
    async def run() -> list[str]:
        world = World(calls("write", "write"))
        first = response_object(await world.ask())
        requests = [item["id"] for item in first["output"] if item["type"] == "mcp_approval_request"]
        said = []
        for wrong in ("mcpr_none", requests[0]):
            answer = {"type": "mcp_approval_response", "approval_request_id": wrong, "approve": True}
            with pytest.raises(InvalidRequest) as refused:
                await world.ask(input=[answer], previous_response_id=first["id"])
            said.append(refused.value.message)
        return said

    unknown, partial = asyncio.run(run())
    assert "No approval request found with id 'mcpr_none'" in unknown
    assert "must be decided with them" in partial


def test_a_decision_survives_a_restart() -> None:
    async def run() -> list[tuple[str, str, str]]:
        world = World(calls("write"))
        first = response_object(await world.ask())
        request = first["output"][-1]
        later = World(text_turn("Written."), store=world.store, used_ids=50)
        answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
        await later.ask(input=[answer], previous_response_id=first["id"])
        return later.server.called

    ((name, arguments, _),) = asyncio.run(run())
    assert (name, arguments) == ("write", '{"q": "x"}')


def test_an_image_of_a_tool_is_seen_by_the_model_and_its_text_by_the_client() -> None:
    world = World(calls("write"), text_turn("A picture.", turn=1))
    events = asyncio.run(world.ask(tools=[mcp(require_approval="never")]))
    assert output(events)[1]["output"] == "42"
    seen = world.provider.calls[1].items[-1]
    assert [part["type"] for part in seen["antiphon"]["content"]] == ["input_text", "input_image"]


def test_a_tool_that_fails_is_a_failed_item_with_the_servers_words() -> None:
    world = World(calls("broken"), text_turn("Sorry.", turn=1))
    call = output(asyncio.run(world.ask(tools=[mcp(require_approval="never")])))[1]
    assert (call["status"], call["output"]) == ("failed", None)
    assert call["error"]["content"][0]["text"] == "It is broken."


def test_a_tool_that_nobody_has_is_answered_and_one_of_the_clients_is_left_to_it() -> None:
    lost = tool_turn(("c1", "lose", "{}"), ("c2", "look", "{}"))
    look = {"type": "function", "name": "look", "parameters": {}}
    world = World(lost)
    events = asyncio.run(world.ask(tools=[mcp(require_approval="never"), look]))
    assert types(events) == ["mcp_list_tools", "function_call", "function_call", "function_call_output"]
    assert output(events)[-1]["output"] == "There is no tool 'lose'. There are: read, write."
    assert response_object(events)["status"] == "completed"


def test_what_the_model_says_beside_its_calls_is_kept() -> None:
    told = text_turn("Let me look.")[:-1] + [[TextFinished(block="0.0")]]
    asked = [[replace(event, block="0.1") if hasattr(event, "block") else event for event in b] for b in calls("read")]
    world = World([*told, *asked[1:]], text_turn("It is 42.", turn=1))
    events = asyncio.run(world.ask(tools=[mcp(require_approval="never")]))
    assert types(events) == ["mcp_list_tools", "message", "mcp_call", "message"]
    seen = [item["type"] for item in world.provider.calls[1].items]
    assert seen == ["message", "mcp_list_tools", "message", "mcp_call"]


def test_secrets_of_a_server_reach_it_and_no_journal() -> None:
    async def run() -> tuple[Any, list[RunEvent]]:
        world = World(text_turn("hi"))
        secret = mcp(headers={"x-key": "s3cret"}, authorization="t0ken")
        events = await world.ask(tools=[secret])
        return world.server.headers, await world.runner.events("me", response_object(events)["id"])

    headers, events = asyncio.run(run())
    assert headers == [{"x-key": "s3cret"}]
    assert b"s3cret" not in msgspec.json.encode(events)
    assert b"t0ken" not in msgspec.json.encode(events)


def test_a_file_search_shows_its_queries_and_its_results_to_those_who_ask_for_them() -> None:
    tools = [{"type": "file_search", "vector_store_ids": ["vs_1"]}]
    shown: list[Any] = []
    for include in ([], ["file_search_call.results"]):
        world = World(
            calls("file_search", kind="file_search", arguments='{"query": "maverick"}'), text_turn("128", turn=1)
        )
        events = asyncio.run(world.ask(tools=tools, include=include))
        call = output(events)[0]
        assert (call["type"], call["queries"], call["status"]) == ("file_search_call", ["maverick"], "completed")
        shown.append(call["results"] and call["results"][0]["file_id"])
    assert shown == [None, "file-1"]
    streamed = [frame.type for frame in ResponsesRenderer().render(events)]
    progress = [kind.rpartition(".")[2] for kind in streamed if "file_search_call" in kind]
    assert progress == ["in_progress", "searching", "completed"]


def test_a_list_that_was_under_way_when_the_process_died_is_asked_for_again_and_announced_once() -> None:
    async def run() -> list[RunEvent]:
        world = World(text_turn("hi"))
        request = {"model": "m", "tools": [mcp()], "background": True}
        started = RunStarted(run="resp_1", created_at_s=0, model="m", request=request)
        await world.store.begin("me", started, parent=None, input_items=[])
        await world.store.append("me", "resp_1", [ToolListStarted(block="list.box", server="box", source="s")])
        await world.runner.recover()
        return [event async for batch in world.runner.follow("me", "resp_1") for event in batch]

    events = asyncio.run(run())
    assert isinstance(events[-1], RunFinished)
    assert types(events) == ["mcp_list_tools", "message"]
