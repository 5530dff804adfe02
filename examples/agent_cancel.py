"""A run that is left while a tool runs, and a conversation that goes on all the same. The model is a script."""

from __future__ import annotations

import asyncio

from antiphon import Agent
from antiphon.events import ToolCallExecuting
from antiphon.testing import ScriptedProvider, text_turn, tool_turn


async def download() -> str:
    """Download everything."""
    await asyncio.Event().wait()  # for ever
    return "done"


async def main() -> None:
    """Leave a run, and go on from where it was."""
    script = ScriptedProvider(tool_turn(("c1", "download", "{}")), text_turn("Very well, I let it be."))
    agent = Agent("scripted", provider=script, tools=[download])
    async with agent.stream("Download everything.") as stream:
        async for event in stream:
            if isinstance(event, ToolCallExecuting):
                break
    print(stream.result.status)
    for item in stream.result.history[1:]:
        print(item["type"], item.get("output", ""))
    result = await agent.run("Never mind.", history=stream.result.history)
    print(result.output)


if __name__ == "__main__":
    asyncio.run(main())
