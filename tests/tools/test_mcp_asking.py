"""Long listings, and calls that the server does in steps: the parts of the protocol that few servers use."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.server import Server

from antiphon.tools.mcp import asking
from antiphon.tools.mcp.failures import Answered

EMPTY = {"type": "object"}


def talking(question: Callable[[Any], Awaitable[Any]], **handlers: Any) -> Any:
    """What a question gives, asked of a server within this process."""

    async def main() -> Any:
        async with Client(Server("steps", **handlers), cache=None) as client:
            return await question(client.session)

    return asyncio.run(main())


def paged(pages: Callable[[int], str | None]) -> Callable[..., Any]:
    """A listing of one tool a page; ``pages`` gives the cursor after each."""

    async def list_tools(context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        page = int(params.cursor) if params and params.cursor else 0
        tool = types.Tool(name=f"tool_{page}", input_schema=EMPTY)
        return types.ListToolsResult(tools=[tool], next_cursor=pages(page), ttl_ms=0, cache_scope="private")

    return list_tools


def test_a_listing_is_read_to_its_last_page() -> None:
    tools = talking(asking.list_tools, on_list_tools=paged(lambda page: str(page + 1) if page < 4 else None))
    assert [tool["name"] for tool in tools] == ["tool_0", "tool_1", "tool_2", "tool_3", "tool_4"]
    assert tools[0]["input_schema"] == EMPTY


def test_a_listing_that_goes_in_circles_ends() -> None:
    assert len(talking(asking.list_tools, on_list_tools=paged(lambda page: "1"))) == 2


def test_a_listing_without_end_ends() -> None:
    tools = talking(asking.list_tools, on_list_tools=paged(lambda page: str(page + 1)))
    assert len(tools) == asking.MAX_PAGES


def call(session: Any) -> Awaitable[dict[str, Any]]:
    return asking.call_tool(session, name="order", arguments={"note": None}, idempotency_key="k")


def test_a_call_in_steps_is_waited_for_with_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_WAIT_S", (0.0, 0.0))
    seen = []

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> Any:
        seen.append((params.request_state, params.arguments))
        if len(seen) < 3:
            return types.InputRequiredResult(request_state=f"step {len(seen)}")
        return types.CallToolResult(content=[types.TextContent(text="done")])

    assert talking(call, on_call_tool=call_tool)["content"] == [{"type": "text", "text": "done"}]
    assert seen == [(None, {"note": None}), ("step 1", {"note": None}), ("step 2", {"note": None})]


def test_a_call_that_asks_a_person_is_not_finished_and_says_what_it_asks() -> None:
    async def call_tool(context: Any, params: types.CallToolRequestParams) -> Any:
        wanted = types.ElicitRequest(
            params=types.ElicitRequestFormParams(
                message="Which size?", requested_schema={"type": "object", "properties": {}}
            )
        )
        return types.InputRequiredResult(input_requests={"size": wanted}, request_state="s")

    def asked(session: Any) -> Any:
        async def main() -> None:
            with pytest.raises(Answered, match=r"it asks for what cannot be given here .*Which size\?"):
                await call(session)

        return main()

    talking(asked, on_call_tool=call_tool)
