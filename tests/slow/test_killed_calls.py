"""A server is killed around each call of a five-step run: nothing happens twice that must not, and it ends right.

before      the call is whole, and nothing is written of it
announced   it is written that the call is about to run
effect      the tool has taken effect
undurable   its result is known, and not written
durable     its result is written
next turn   the model is about to be asked with it
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from launched import launch
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

from antiphon.tools.mcp.asking import IDEMPOTENCY_KEY
from mcp_server import on_socket

SERVER = Path(__file__).with_name("server_that_dies.py")
STEPS = 5
POINTS = ("before", "announced", "effect", "undurable", "durable", "next turn")
REPEATABLE = {"plain": False, "idempotent": True, "read_only": True, "asking": False}
UNKNOWN = "outcome of this call is unknown"

FUNCTION = {"type": "function", "name": "", "parameters": {"type": "object", "properties": {}}}
BOX = {"type": "mcp", "server_label": "box"}


class Upstream:
    """A model that calls its only tool so often as the question says, then says that all is done."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        messages = body["messages"]
        self.asked.append(messages)
        given = sum(message["role"] == "tool" for message in messages)
        delta: dict[str, Any] = {"content": "all done"}
        if given < int(text_of(messages[0])):
            function = {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}
            delta = {"tool_calls": [{"index": 0, "id": f"call_{given}", "type": "function", "function": function}]}
        choice = {"index": 0, "delta": delta, "finish_reason": "tool_calls" if "tool_calls" in delta else "stop"}
        chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        await runner.cleanup()


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


class Box:
    """The tools of an MCP server; ``victim`` is a process that is killed by the call numbered ``dies_at``."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.victim: int | None = None
        self.dies_at = -1

    @contextmanager
    def serving(self) -> Iterator[str]:
        server = MCPServer("box", log_level="CRITICAL")
        hints = {
            "plain": ToolAnnotations(),
            "idempotent": ToolAnnotations(idempotent_hint=True),
            "read_only": ToolAnnotations(read_only_hint=True),
        }
        for name, annotations in hints.items():
            server.tool(name=name, annotations=annotations, structured_output=False)(self.step)
        with on_socket(server.streamable_http_app(stateless_http=True)) as url:
            yield f"{url}/mcp"

    def step(self, ctx: Context[Any]) -> str:
        """Takes effect."""
        self.effects.append(dict(ctx.request_context.meta or {})[IDEMPOTENCY_KEY])
        if len(self.effects) - 1 == self.dies_at and self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)
            self.dies_at = -1
        return "done"


class World:
    """The server under test, which dies and is started again, with what it talks to."""

    def __init__(self, data_dir: Path, box: Box, upstream: Upstream, urls: tuple[str, str]) -> None:
        self.box = box
        self.upstream = upstream
        self._data_dir = data_dir
        self._urls = urls
        self.session = aiohttp.ClientSession()

    async def start(self) -> None:
        upstream, box = self._urls
        self.process, url = await launch(sys.executable, str(SERVER), upstream, str(self._data_dir), box)
        self.url = f"{url}/responses"
        self.box.victim = self.process.pid

    async def ask(self, **body: Any) -> dict[str, Any]:
        async with self.session.post(self.url, json={"model": "m", **body}) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def ask_and_die(self, point: str, call: int, **body: Any) -> dict[str, Any]:
        """The response to what was asked in the background, after the server died of it and was started again."""
        died = self._data_dir / "died"
        died.unlink(missing_ok=True)
        self.box.dies_at = len(self.box.effects) + call if (point, self.is_mcp(body)) == ("effect", True) else -1
        where = {"metadata": {"die": f"{point}:{call}"}}
        run = ""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            run = (await self.ask(**body, **where, background=True))["id"]
        await self.process.wait()
        run = run or died.read_text()
        await self.start()
        async with self.session.get(f"{self.url}/{run}?stream=true") as response:
            async for _ in response.content:
                pass
        async with self.session.get(f"{self.url}/{run}") as response:
            answer: dict[str, Any] = await response.json()
            return answer

    def is_mcp(self, body: dict[str, Any]) -> bool:
        return bool(body["tools"][0]["type"] == "mcp")

    def take_effects(self) -> list[str]:
        """The keys of what took effect since the last time."""
        file = self._data_dir / "effects"
        found = [*self.box.effects, *(file.read_text().split() if file.exists() else [])]
        self.box.effects.clear()
        file.unlink(missing_ok=True)
        return found

    async def close(self) -> None:
        self.process.kill()
        await self.process.wait()
        await self.session.close()


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[World]:
    box, upstream = Box(), Upstream()
    with box.serving() as box_url:
        async with upstream.serving() as upstream_url:
            world = World(data_dir, box, upstream, (upstream_url, box_url))
            await world.start()
            try:
                yield world
            finally:
                await world.close()


def effects_of(point: str, *, repeatable: bool) -> int:
    """How often a call takes effect that a server dies of."""
    if point == "announced":
        return 1 if repeatable else 0
    return 2 if repeatable and point in ("effect", "undurable") else 1


def is_unknown(point: str, *, repeatable: bool) -> bool:
    return not repeatable and point in ("announced", "effect", "undurable")


def results(response: dict[str, Any]) -> list[str]:
    """What the client is told of each call."""
    told = []
    for item in response["output"]:
        if item["type"] == "mcp_call":
            told.append(item["output"] if item["error"] is None else item["error"]["content"][0]["text"])
        elif item["type"] == "function_call_output":
            told.append(item["output"])
    return told


def check(world: World, response: dict[str, Any], point: str, call: int, steps: int, *, repeatable: bool) -> None:
    assert response["status"] == "completed", response["error"]
    assert response["output"][-1]["content"][0]["text"] == "all done"
    effects, told = world.take_effects(), results(response)
    keys = list(dict.fromkeys(effects))
    wanted = [1] * steps
    wanted[call] = effects_of(point, repeatable=repeatable)
    assert [effects.count(key) for key in keys] == [count for count in wanted if count]
    unknown = [n for n, words in enumerate(told) if UNKNOWN in words]
    assert len(told) == steps
    assert unknown == ([call] if is_unknown(point, repeatable=repeatable) else [])
    assert [words for n, words in enumerate(told) if n not in unknown] == ["done"] * (steps - len(unknown))
    model_was_told = [text_of(each) for each in world.upstream.asked[-1] if each["role"] == "tool"]
    assert model_was_told == told, "the model and the client are told the same"


def tools_of(kind: str, name: str) -> list[dict[str, Any]]:
    if kind == "mcp":
        return [{**BOX, "allowed_tools": [name], "require_approval": "never"}]
    return [{**FUNCTION, "name": name}]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["plain", "idempotent", "read_only"])
@pytest.mark.parametrize("kind", ["function", "mcp"])
def test_a_run_that_is_killed_around_any_of_its_calls_ends_right(kind: str, name: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            for point in POINTS:
                for call in range(STEPS):
                    world.upstream.asked.clear()
                    tools = tools_of(kind, name)
                    response = await world.ask_and_die(point, call, input=str(STEPS), tools=tools)
                    check(world, response, point, call, STEPS, repeatable=REPEATABLE[name])
                    steps = [sum(each["role"] == "tool" for each in asked) for asked in world.upstream.asked]
                    assert steps == sorted(steps), "a turn that had ended was asked again"
                    assert set(steps) == set(range(STEPS + 1))

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "name"), [("function", "asking"), ("mcp", "plain"), ("mcp", "idempotent")])
def test_a_call_that_a_person_allowed_is_run_as_if_it_had_never_waited(kind: str, name: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            for point in POINTS:
                tools = [FUNCTION | {"name": name}] if kind == "function" else [{**BOX, "allowed_tools": [name]}]
                first = await world.ask(input="1", tools=tools)
                request = first["output"][-1]
                assert request["type"] == "mcp_approval_request"
                assert world.take_effects() == []
                answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
                response = await world.ask_and_die(
                    point, 0, input=[answer], previous_response_id=first["id"], tools=tools
                )
                check(world, response, point, 0, 1, repeatable=REPEATABLE[name])

    asyncio.run(main())
