"""What a user may write, and what a type checker must then know; never run, only checked."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, assert_type

from antiphon import Agent, FunctionTool, Limits, RunFailed, RunResult, Step, ToolContext, image, tool
from antiphon.events import TextDelta


@dataclass
class Person:
    name: str


@tool
def add(a: int, b: int = 1) -> int:
    return a + b


@tool(read_only=True, timeout_s=5)
async def look(context: ToolContext[Person], where: str) -> str:
    return context.deps.name + where


def shorten(step: Step) -> None:
    step.items = step.items[-10:]


async def main() -> None:
    assert_type(add(1, b=2), int)
    plain = Agent("m", tools=[add, look, len], before_step=shorten, limits=Limits(max_turns=3))
    assert_type((await plain.run("hi")).output, str)
    typed = Agent("m", base_url="http://localhost:8080/v1", output_type=Person)
    result = await typed.run(["Who is this?", image("person.png")])
    assert_type(result, RunResult[Person])
    assert_type(result.output.name, str)
    any_schema: Agent[Any] = Agent("m", output_type={"type": "object"})
    assert_type(typed.as_tool("who", "Knows people"), FunctionTool[..., Awaitable[str]])
    try:
        any_schema.run_sync("?", history=result.history)
    except RunFailed as failed:
        assert_type(failed.reason, str)
    async with typed.stream("hi") as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                assert_type(event.text, str)
    assert_type(stream.result.output, Person)


add("1")  # type: ignore[arg-type]  # it is still the function, and its types are checked
