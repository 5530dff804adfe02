"""The main job on recorded conversations: recorded bytes in, Responses events out, and back again with the outputs."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.cassettes import Difference, Player, read
from antiphon.clock import CountingIds, FakeClock
from antiphon.providers.chat import ChatProvider
from antiphon.rendering.responses import ResponsesRenderer
from antiphon.store.sqlite import SqliteStore
from antiphon.wire.responses import decode_request

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"


def tool(name: str, description: str, **parameters: tuple[str, str]) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": text} for key, (kind, text) in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "name": name, "description": description, "parameters": schema, "strict": False}


class Played(NamedTuple):
    """One conversation had again: the events of each response, and how each request differed from the recorded one."""

    responses: list[list[dict[str, Any]]]
    differences: list[set[str]]


def play(recording: str, question: str, instructions: str, tools: list[Any], outputs: dict[str, str]) -> Played:
    """Have the conversation, answering the calls of each response with ``outputs`` by tool name."""
    differences: list[set[str]] = []

    def note(_: int, found: Iterable[Difference]) -> None:
        differences.append({str(each) for each in found})

    player = Player(read(RECORDINGS / recording), match="order", on_difference=note, name=recording)
    provider = ChatProvider("recorded", "https://recorded.invalid/v1", player)
    runner = Runner(
        store=SqliteStore.open(None, clock=FakeClock()),
        resolve=lambda model: [Target(provider, model)],
        clock=FakeClock(),
        ids=CountingIds(),
    )
    model = json.loads(next(iter(read(RECORDINGS / recording))).request.body)["model"]  # type: ignore[union-attr]
    settings = {"model": model, "instructions": instructions, "tools": tools, "tool_choice": "auto"}
    settings["max_output_tokens"] = 4000

    async def ask(**more: Any) -> list[dict[str, Any]]:
        request = decode_request(msgspec.json.encode({**settings, **more}))
        renderer = ResponsesRenderer()
        return [json.loads(frame.data) async for batch in runner.run("me", request) for frame in renderer.render(batch)]

    async def converse() -> list[list[dict[str, Any]]]:
        responses = [await ask(input=question)]
        calls = [item for item in responses[0][-1]["response"]["output"] if item["type"] == "function_call"]
        answers = [
            {"type": "function_call_output", "call_id": call["call_id"], "output": outputs[call["name"]]}
            for call in calls
        ]
        previous = responses[0][-1]["response"]["id"]
        return [*responses, await ask(input=answers, previous_response_id=previous)]

    return Played(asyncio.run(converse()), differences)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of a stream's events without their prefix, runs of equal deltas as one."""
    names = [event["type"].removeprefix("response.") for event in events]
    return [name for before, name in zip(["", *names], names, strict=False) if name != before or "delta" not in name]


TEXT = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
THOUGHTS = ["output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"]
THOUGHTS += ["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"]
CALL = ["output_item.added", "function_call_arguments.delta"]
CALL_DONE = ["function_call_arguments.done", "output_item.done"]
START = ["created", "in_progress"]


@pytest.fixture(scope="module")
def numbers() -> Played:
    sides = {"a": ("integer", "first number"), "b": ("integer", "second number")}
    return play(
        "multi_tool_streaming.yaml",
        "Add and multiply the number 2 and 3",
        "You are a helpful assistant. Always use both add and multiply at the same time.",
        [tool("add", "Add two numbers", **sides), tool("multiply", "Multiply two numbers", **sides)],
        {"add": "5", "multiply": "6"},
    )


@pytest.fixture(scope="module")
def weather() -> Played:
    return play(
        "from_diff/Common_tool_streaming.yaml",
        "What's the weather in Florence,Italy?",
        "You are a helpful assistant",
        [tool("weather", "Get weather information for a location", location=("string", "the city"))],
        {"weather": "40 C"},
    )


def test_parallel_calls_stream_in_the_reference_order(numbers: Played) -> None:
    first, second = numbers.responses
    assert kinds(first) == [*START, *CALL, *CALL, *CALL_DONE, *CALL_DONE, "completed"]
    assert kinds(second) == [*START, *TEXT, "output_item.done", "completed"]


def test_reasoning_comes_before_the_call_and_before_the_text(weather: Played) -> None:
    first, second = weather.responses
    assert kinds(first) == [*START, *THOUGHTS, *CALL, *CALL_DONE, "completed"]
    assert kinds(second) == [*START, *THOUGHTS, *TEXT, "output_item.done", "completed"]


def test_sequence_numbers_have_no_gap(numbers: Played, weather: Played) -> None:
    for events in numbers.responses + weather.responses:
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_the_answers_are_the_recorded_ones(numbers: Played, weather: Played) -> None:
    calls = [(item["name"], item["arguments"]) for item in numbers.responses[0][-1]["response"]["output"]]
    assert calls == [("add", '{"a": 2, "b": 3}'), ("multiply", '{"a": 2, "b": 3}')]
    said = [played.responses[1][-1]["response"]["output"][-1]["content"][0]["text"] for played in (numbers, weather)]
    assert said == [
        "The sum of 2 and 3 is 5, and the product of 2 and 3 is 6.",
        "The current temperature in Florence, Italy, is **40 °C**.",
    ]


def test_todays_requests_differ_from_the_recorded_ones_only_in_what_is_known(numbers: Played, weather: Played) -> None:
    """Whoever changes the translation sees here what changes on the wire."""
    assert numbers.differences == []
    # The recorded client had settings for OpenAI's own models; for an unknown upstream the older name is the safe one.
    limit = {"$.max_completion_tokens: recorded 4000, sent nothing", "$.max_tokens: recorded nothing, sent 4000"}
    assert weather.differences == [limit, limit]
