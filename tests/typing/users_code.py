"""What a user may write, and what a type checker must then know; never run, only checked."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import pydantic

from antiphon import (
    Agent,
    Approval,
    FunctionTool,
    Limits,
    MCPServer,
    Model,
    Price,
    RunFailed,
    RunResult,
    Step,
    StopRun,
    ToolContext,
    ToolResult,
    Upstream,
    image,
    models,
    stop_after,
    tool,
)
from antiphon.agent.effects import ToolCall
from antiphon.dialects import Capabilities
from antiphon.events import RunEvent, TextDelta, Usage


@dataclass
class Person:
    name: str


class Point(TypedDict):
    x: int


class City(pydantic.BaseModel):
    name: str


@tool
def add(a: int, b: int = 1) -> int:
    return a + b


@tool(read_only=True, timeout_s=5)
async def look(context: ToolContext[Person], where: str) -> str:
    return context.deps.name + where


def submit(answer: str) -> StopRun[str]:
    return StopRun(answer)


def shot() -> ToolResult:
    return ToolResult(output="[image]", content=[image(b"...")])


def shorten(step: Step) -> None:
    step.items = step.items[-10:]


async def guard(step: Step) -> None:
    assert_type(step.usage, Usage)


async def approve(call: ToolCall) -> bool | str:
    return call.name == "look" or "No."


async def main() -> None:
    assert_type(add(1, b=2), int)
    plain = Agent("m", tools=[add, look, len], before_step=shorten, limits=Limits(max_turns=3))
    assert_type((await plain.run("hi")).output, str)
    typed = Agent("m", base_url="http://localhost:8080/v1", output_type=Person)
    result = await typed.run(["Who is this?", image("person.png")])
    assert_type(result, RunResult[Person])
    assert_type(result.output.name, str)
    any_schema: Agent[Any] = Agent("m", output_type={"type": "object"})
    assert_type(typed.as_tool("who", "Knows people"), FunctionTool[..., Awaitable[Person]])
    try:
        any_schema.run_sync("?", history=result.history)
    except RunFailed as failed:
        assert_type(failed.reason, str)
    async with typed.stream("hi") as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                assert_type(event.text, str)
    assert_type(stream.result.output, Person)
    async for _ in typed.stream("hi").partial():
        pass


async def elsewhere() -> None:
    upstream = Upstream("groq", api_key="k", api="responses", headers={"x-team": "a"})
    model = upstream.model("m", price=Price(input_usd_per_1m=1.0, output_usd_per_1m=2.0))
    assert_type(model, Model)
    assert_type(model.capabilities, Capabilities)
    assert_type(await upstream.models(), list[str])
    assert_type(await models("groq"), list[str])
    many = Agent(
        [model, "mistral/mistral-small-latest", Model("m", upstream="ollama")],
        tools=[add, submit, shot, MCPServer(url="http://localhost:1/mcp")],
        output_type=City,
        limits={"max_turns": 3},
        prices={"m": Price(input_usd_per_1m=1.0, output_usd_per_1m=2.0, cached_usd_per_1m=0.5)},
        before_step=guard,
        stop_when=[stop_after(turns=3), lambda step: step.turn > 5],
        approve=approve,
    )
    async with many:
        result = await many.run("hi", deps=Person("Ada"))
    assert_type(result.output, City)
    assert_type(result.cost_usd, float | None)
    assert_type(result.usage_by_model, dict[str, Usage])
    assert_type(result.approvals, list[Approval])
    await many.run([result.approvals[0].approve(), result.approvals[0].deny("no")], history=result.history)


def without_async() -> None:
    points = Agent("m", output_type=list[Point])
    assert_type(points.run_sync("hi").output, list[Point])
    with points.stream_sync("hi") as stream:
        for event in stream:
            assert_type(event, RunEvent)
    assert_type(stream.result.output, list[Point])


add("1")  # type: ignore[arg-type]  # it is still the function, and its types are checked
