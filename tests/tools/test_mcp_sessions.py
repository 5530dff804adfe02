"""How long a session with an MCP server lives: from its first use to its certain end, whatever happens between."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mcp_server
from antiphon.tools.base import ToolError
from antiphon.tools.mcp import MCPServer
from antiphon.tools.mcp.transports import Http


@pytest.fixture(scope="module")
def http() -> Iterator[tuple[str, mcp_server.Gate]]:
    with mcp_server.serving("http") as running:
        yield running


@pytest.fixture(autouse=True)
def as_before(http: tuple[str, mcp_server.Gate]) -> Iterator[None]:
    yield
    http[1].__init__(http[1].app)  # type: ignore[misc]


def call(server: MCPServer, name: str, arguments: str = "{}", **limits: Any) -> Any:
    return server.call(name, arguments, idempotency_key="k", **limits)


def sent(gate: mcp_server.Gate, method: str) -> int:
    return sum(1 for request in gate.requests if request.endswith(method))


async def none_left() -> None:
    """Nothing of a session is left, apart from who asks."""
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_nothing_is_connected_before_it_is_used(http: tuple[str, mcp_server.Gate]) -> None:
    url, gate = http
    async with MCPServer(url=url):
        pass
    assert gate.requests == []


@pytest.mark.asyncio
async def test_calls_in_parallel_share_one_session_and_one_listing(http: tuple[str, mcp_server.Gate]) -> None:
    url, gate = http
    gate.is_old = True
    async with MCPServer(url=url) as server:
        await server.list_tools()
        await asyncio.gather(*(call(server, "get_user_id", '{"username": "alice"}') for _ in range(5)))
    assert gate.requests.count("POST server/discover") == 1
    assert gate.requests.count("DELETE") == 1
    await none_left()


@pytest.mark.asyncio
async def test_a_listing_that_is_remembered_is_not_asked_for(http: tuple[str, mcp_server.Gate]) -> None:
    url, gate = http
    async with MCPServer(url=url) as server:
        listed = await server.list_tools()
    gate.requests.clear()
    async with MCPServer(url=url) as server:
        server.remember(listed)
        await call(server, "get_user_id", '{"username": "alice"}')
        await call(server, "weigh", '{"grams": 1}')  # which has a schema for its output, too
    assert sent(gate, "tools/list") == 0


@pytest.mark.asyncio
async def test_a_session_that_expired_is_opened_again_and_the_call_is_made_once(
    http: tuple[str, mcp_server.Gate],
) -> None:
    url, gate = http
    gate.is_old = True
    async with MCPServer(url=url) as server:
        first = int((await call(server, "touch", '{"what": "a"}')).output)
        gate.forget = True
        assert int((await call(server, "touch", '{"what": "b"}')).output) == first + 1
    await none_left()


@pytest.mark.asyncio
async def test_a_cancelled_call_leaves_the_session_to_the_others(http: tuple[str, mcp_server.Gate]) -> None:
    url, gate = http
    async with MCPServer(url=url) as server:
        await server.list_tools()
        hanging = asyncio.create_task(call(server, "hang"))
        assert (await call(server, "get_user_id", '{"username": "bob"}')).output == "user_67890"
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert (await call(server, "get_user_id", '{"username": "bob"}')).output == "user_67890"
    assert gate.requests.count("POST server/discover") == 1
    await none_left()


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_a_run_that_is_cancelled_in_a_call_leaves_nothing_behind(transport: Any) -> None:
    async def run(**where: Any) -> None:
        async with MCPServer(**where) as server:
            await server.list_tools()
            reached.set()
            await call(server, "hang")

    with contextlib.ExitStack() as stack:
        where = mcp_server.command()
        if transport != "stdio":
            where = {"url": stack.enter_context(mcp_server.serving(transport))[0]}
        reached = asyncio.Event()
        task = asyncio.create_task(run(**where))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await none_left()


@pytest.mark.asyncio
async def test_closing_while_a_call_is_out_ends_the_call(http: tuple[str, mcp_server.Gate]) -> None:
    url, _ = http
    server = MCPServer(url=url)
    await server.list_tools()
    hanging = asyncio.create_task(call(server, "hang"))
    await call(server, "get_user_id", '{"username": "bob"}')
    await server.close()
    with pytest.raises(ToolError, match="Whether it had an effect is not known"):
        await hanging
    await none_left()


@pytest.mark.asyncio
async def test_a_server_that_hangs_on_its_end_is_left(
    http: tuple[str, mcp_server.Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, gate = http
    gate.is_old, gate.holds_delete = True, threading.Event()
    monkeypatch.setattr(Http, "grace_s", 0.01)
    server = MCPServer(url=url)
    await server.list_tools()
    try:
        await server.close()
        await none_left()
    finally:
        gate.holds_delete.set()  # or its thread would wait for ever


@pytest.mark.asyncio
async def test_a_closed_server_may_be_used_again(http: tuple[str, mcp_server.Gate]) -> None:
    url, _ = http
    server = MCPServer(url=url)
    for _ in range(2):
        assert (await call(server, "get_user_id", '{"username": "bob"}')).output == "user_67890"
        await server.close()


def test_a_server_may_be_used_in_one_event_loop_after_the_other(http: tuple[str, mcp_server.Gate]) -> None:
    url, _ = http
    server = MCPServer(url=url)
    for _ in range(2):
        assert asyncio.run(call(server, "get_user_id", '{"username": "bob"}')).output == "user_67890"


@pytest.mark.asyncio
async def test_an_open_session_costs_nothing_while_nobody_asks(http: tuple[str, mcp_server.Gate]) -> None:
    url, gate = http
    gate.is_old = True
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1

    async with MCPServer(url=url) as server:
        await call(server, "get_user_id", '{"username": "bob"}')
        with contextlib.suppress(ToolError):
            await call(server, "hang", timeout_s=0.05)
        loop = asyncio.get_running_loop()
        schedule, idle = loop.call_soon, loop.create_future()

        def counting(*args: Any, **options: Any) -> Any:
            count()
            return schedule(*args, **options)

        loop.call_later(0.1, idle.set_result, None)
        loop.call_soon = counting  # type: ignore[method-assign]
        await idle
        loop.call_soon = schedule  # type: ignore[method-assign]
    assert turns < 50  # a loop that never rests makes thousands


@pytest.mark.asyncio
async def test_a_process_that_died_between_calls_is_started_again() -> None:
    async with MCPServer(**mcp_server.command()) as server:
        with pytest.raises(ToolError, match="Whether it had an effect is not known"):
            await call(server, "stop")
        assert (await call(server, "get_user_id", '{"username": "bob"}')).output == "user_67890"


@pytest.mark.asyncio
async def test_a_call_that_only_reads_is_made_again_when_the_process_died_in_it(tmp_path: Path) -> None:
    async with MCPServer(**mcp_server.command()) as server:
        flag = tmp_path / "died"
        assert (await call(server, "stop_once", f'{{"flag_file": "{flag}"}}')).output == "still here"
    await none_left()
