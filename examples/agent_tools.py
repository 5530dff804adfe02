"""An agent with a tool. The model is a recording of llama.cpp, so this needs no key and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from antiphon import Agent, tool
from antiphon.cassettes import Player, read
from antiphon.providers.chat import ChatProvider

RECORDING = Path(__file__).parent / "recordings" / "from_diff" / "Common_tool_streaming.yaml"


@tool(read_only=True)
def weather(location: Annotated[str, "the city"]) -> str:
    """Get weather information for a location"""
    return "40 C"


def main() -> None:
    """Ask for the weather."""
    recorded = ChatProvider("recorded", "http://localhost:8080/v1", Player(read(RECORDING), match="order"))
    # With a model of yours: Agent("gpt-oss-20b", base_url="http://localhost:8080/v1", ...)
    agent = Agent(
        "openai/gpt-oss-20b",
        provider=recorded,
        instructions="You are a helpful assistant",
        tools=[weather],
    )
    result = agent.run_sync("What's the weather in Florence,Italy?")
    print(result.output)
    print(result.usage.total_tokens, "tokens in", sum(item["type"] == "function_call" for item in result.items), "call")


if __name__ == "__main__":
    main()
