"""The events of a run as they happen: two calls side by side, recorded from OpenAI."""

from __future__ import annotations

import asyncio
from pathlib import Path

from antiphon import Agent
from antiphon.cassettes import Player, read
from antiphon.events import TextDelta, ToolCallCompleted, ToolCallStarted
from antiphon.providers.chat import ChatProvider

RECORDING = Path(__file__).parent / "recordings" / "multi_tool_streaming.yaml"


def add(a: int, b: int) -> int:
    """Add two numbers"""
    return a + b


def multiply(a: int, b: int) -> int:
    """Multiply two numbers"""
    return a * b


async def main() -> None:
    """Print what happens while it happens."""
    recorded = ChatProvider("recorded", "https://api.openai.com/v1", Player(read(RECORDING), match="order"))
    agent = Agent("gpt-4o-mini", provider=recorded, tools=[add, multiply])
    async with agent.stream("Add and multiply the number 2 and 3") as stream:
        async for event in stream:
            match event:
                case ToolCallStarted(name=name):
                    print(f"calls {name}")
                case ToolCallCompleted(output=output):
                    print(f"  -> {output}")
                case TextDelta(text=text):
                    print(text, end="", flush=True)
    print(f"\n{stream.result.status}")


if __name__ == "__main__":
    asyncio.run(main())
