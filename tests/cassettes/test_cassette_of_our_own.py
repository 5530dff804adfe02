"""The plugin in this project's own tests: an agent of two turns and a tool, from the cassette beside this file."""

from __future__ import annotations

import json
from typing import Any

from openai import DefaultHttpxClient, OpenAI

from antiphon.cassettes import Cassette

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def weather(city: str) -> str:
    """What the world would say; a replay does not ask it."""
    raise AssertionError(f"nobody asks for the weather in {city} while replaying")


def test_an_agent_that_calls_a_tool(cassette: Cassette) -> None:
    tool = cassette.tool(weather)
    http_client = DefaultHttpxClient(transport=cassette.httpx2_transport())
    client = OpenAI(api_key="unused", base_url="https://api.example.com/v1", http_client=http_client)
    messages: list[Any] = [{"role": "user", "content": "What's the weather in Florence?"}]
    with client:
        first = client.chat.completions.create(model="m", messages=messages, tools=[TOOL])
        [call] = first.choices[0].message.tool_calls or []
        assert call.type == "function"
        said = tool(**json.loads(call.function.arguments))
        messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": said}]
        second = client.chat.completions.create(model="m", messages=messages, tools=[TOOL], stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in second if chunk.choices)
    assert text == "It is 40 C in Florence."
