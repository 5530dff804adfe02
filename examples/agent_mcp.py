"""Tools of an MCP server, one of which waits for a person. The model is a script; the server is real."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from antiphon import Agent, MCPServer
from antiphon.testing import ScriptedProvider, text_turn, tool_turn

PEOPLE = Path(__file__).parent / "servers" / "people.py"

SCRIPT = ScriptedProvider(
    tool_turn(("c1", "find_desk", '{"name": "Ada"}'), server="people"),
    tool_turn(("c2", "move", '{"name": "Ada", "desk": "1.41"}'), server="people", turn=1),
    text_turn("Ada has moved from desk 3.14 to desk 1.41."),
)


async def main() -> None:
    """Find a desk, ask before it is changed, and change it."""
    people = MCPServer(
        command=sys.executable,
        args=[str(PEOPLE)],
        name="people",
        require_approval={"never": {"read_only": True}},  # what only reads needs nobody
    )
    async with Agent("scripted", provider=SCRIPT, tools=[people]) as agent:
        first = await agent.run("Move Ada to desk 1.41.")
        (waiting,) = first.approvals
        print("waits:", waiting.server, waiting.name, waiting.arguments)
        second = await agent.run([waiting.approve()], history=first.history)
    for item in (*first.items, *second.items):
        if item["type"] == "mcp_call":
            print(item["name"], "->", item["output"])
    print(second.output)


if __name__ == "__main__":
    asyncio.run(main())
