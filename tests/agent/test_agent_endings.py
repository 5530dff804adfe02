"""How a run ends: by its tools, by conditions, in a circle; and what is seen of it while it goes on."""

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from antiphon import Agent, Limits, RunFailed, StopRun, ToolResult, image, stop_after
from antiphon.dialects import OPENAI
from antiphon.errors import UsageError
from antiphon.events import RunFinished, TextDelta, ToolCallCompleted
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.translation.chat import to_chat

PNG = b"\x89PNG...."


@dataclass
class Person:
    name: str
    age: int


def look(n: int = 0) -> str:
    return "nothing"


def turns(count: int, arguments: str = '{{"n": {0}}}') -> list[Any]:
    return [tool_turn((f"c{n}", "look", arguments.format(n)), turn=n) for n in range(count)]


# --- by tools ------------------------------------------------------------------------------------


def test_a_tool_may_end_the_run_and_its_value_is_the_answer() -> None:
    def submit(answer: str) -> StopRun[str]:
        return StopRun(answer)

    calls = tool_turn(("c1", "submit", '{"answer": "42"}'), ("c2", "look", "{}"))
    result = Agent("m", provider=ScriptedProvider(calls), tools=[submit, look]).run_sync("?")
    assert (result.output, result.status, result.reason) == ("42", "completed", "stopped")
    assert [item["output"] for item in result.items if item["type"] == "function_call_output"] == ["42", "nothing"]


def test_a_tool_may_end_the_run_with_an_answer_of_the_type() -> None:
    def submit(name: str) -> StopRun[Person]:
        return StopRun(Person(name, 36))

    calls = tool_turn(("c1", "submit", '{"name": "Ada"}'))
    result = Agent("m", provider=ScriptedProvider(calls), tools=[submit], output_type=Person).run_sync("?")
    assert result.output == Person("Ada", 36)


# --- by conditions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "made"),
    [({"turns": 2}, 2), ({"call": "look"}, 1), ({"calls": 3}, 3), ({"tokens": 30}, 3), ({"turns": 9, "calls": 2}, 2)],
)
def test_a_run_stops_after_what_was_said(condition: dict[str, Any], made: int) -> None:
    provider = ScriptedProvider(*turns(9))
    result = Agent("m", provider=provider, tools=[look], stop_when=stop_after(**condition)).run_sync("?")
    assert (len(provider.calls), result.reason) == (made, "stopped")


def test_a_run_that_goes_in_a_circle_ends_by_default() -> None:
    provider = ScriptedProvider(*turns(32, "{{}}"))
    result = Agent("m", provider=provider, tools=[look]).run_sync("?")
    assert (len(provider.calls), result.status, result.reason) == (8, "incomplete", "max_repeats")


def test_calls_that_come_to_something_new_are_no_circle() -> None:
    count = 0

    def look() -> int:
        nonlocal count
        count += 1
        return count

    provider = ScriptedProvider(*turns(20, "{{}}"), text_turn("done", turn=20))
    assert Agent("m", provider=provider, tools=[look]).run_sync("?").text == "done"


# --- images from tools ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [image(PNG), ["Look:", image(PNG)], ToolResult(output="[image]", content=[image(PNG)])]
)
def test_a_tool_may_give_images(value: Any) -> None:
    def shot() -> Any:
        return value

    provider = ScriptedProvider(tool_turn(("c1", "shot", "{}")), text_turn("a cat", turn=1))
    result = Agent("m", provider=provider, tools=[shot]).run_sync("?")
    (completed,) = [event for event in result.events if isinstance(event, ToolCallCompleted)]
    assert completed.output.endswith("[image]")
    assert completed.content[-1]["type"] == "input_image"
    (output,) = [item for item in provider.calls[1].items if item["type"] == "function_call_output"]
    assert "image_url" in str(output)


def test_a_list_of_other_things_is_json_as_ever() -> None:
    def rows() -> list[Any]:
        return ["a", {"type": "row"}]

    provider = ScriptedProvider(tool_turn(("c1", "rows", "{}")), text_turn("ok", turn=1))
    result = Agent("m", provider=provider, tools=[rows]).run_sync("?")
    assert [item["output"] for item in result.items if "output" in item] == ['["a",{"type":"row"}]']


# --- while it goes on ----------------------------------------------------------------------------


def test_an_answer_can_be_watched_as_it_grows() -> None:
    provider = ScriptedProvider(text_turn('{"name": "A', 'da", "age": 3', "6}"))

    async def watch() -> tuple[list[Any], Any]:
        stream = Agent("m", provider=provider, output_type=Person).stream("?")
        return [value async for value in stream.partial()], stream.result.output

    seen, output = asyncio.run(watch())
    assert seen == [{"name": "A"}, {"name": "Ada"}, {"name": "Ada", "age": 36}]
    assert output == Person("Ada", 36)


def test_text_can_be_watched_too_and_only_that_of_the_last_turn() -> None:
    narrated = [[], *text_turn("I look.")[1:3], *tool_turn(("c", "look", "{}"))[1:]]
    provider = ScriptedProvider(text_turn("a", "b"))
    assert list(Agent("m", provider=provider).stream_sync("?").partial()) == ["a", "ab"]
    assert narrated  # the shape of a turn that speaks and calls


def test_an_answer_that_was_watched_and_does_not_fit_is_a_failure_with_its_usage() -> None:
    stream = Agent("m", provider=ScriptedProvider(text_turn('{"name": 7}')), output_type=Person).stream_sync("?")
    assert list(stream.partial()) == [{"name": 7}]
    with pytest.raises(RunFailed) as failed:
        _ = stream.result.output
    assert failed.value.result.usage.total_tokens == 11


@pytest.mark.parametrize(
    "text", ['```json\n{"name": "Ada", "age": 36}\n```', '{"name": "Ada", "age": 36,}', '{"name": "Ada", "age": 36']
)
@pytest.mark.parametrize("watched", [False, True])
def test_an_answer_that_is_nearly_right_is_mended(text: str, watched: bool) -> None:
    agent = Agent("m", provider=ScriptedProvider(text_turn(text)), output_type=Person)
    stream = agent.stream_sync("?")
    assert list(stream.partial() if watched else stream)
    assert stream.result.output == Person("Ada", 36)


def test_an_answer_that_was_cut_is_asked_for_again_and_nothing_is_made_up() -> None:
    provider = ScriptedProvider(text_turn('{"name": "Ad'), text_turn('{"name": "Ada", "age": 36}'))
    assert Agent("m", provider=provider, output_type=Person).run_sync("?").output == Person("Ada", 36)


# --- without async -------------------------------------------------------------------------------


def test_a_stream_without_async_gives_the_same_events_from_any_thread() -> None:
    seen: list[str] = []

    def follow() -> None:
        with Agent("m", provider=ScriptedProvider(text_turn("a", "b"))).stream_sync("hi") as stream:
            seen.extend(event.text for event in stream if isinstance(event, TextDelta))
        assert stream.result.text == "ab"
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    thread = threading.Thread(target=follow)
    thread.start()
    thread.join()
    follow()
    assert seen == ["a", "b", "a", "b"]


def test_a_stream_that_is_left_is_cancelled_and_leaves_no_loop_behind() -> None:
    provider = ScriptedProvider(text_turn("a", "b"))
    with Agent("m", provider=provider).stream_sync("hi") as stream:
        for event in stream:
            if isinstance(event, TextDelta):
                break
    assert isinstance(stream.result.events[-1], RunFinished)
    assert (stream.result.status, provider.cancelled) == ("cancelled", 1)
    stream.close()


def test_a_stream_that_is_dropped_in_a_loop_is_cancelled_too() -> None:
    provider = ScriptedProvider(text_turn("a", "b"))
    for event in Agent("m", provider=provider).stream_sync("hi"):
        if isinstance(event, TextDelta):
            break
    assert provider.cancelled == 1


def test_a_stream_is_iterated_once() -> None:
    stream = Agent("m", provider=ScriptedProvider(text_turn("a"))).stream_sync("hi")
    assert list(stream)
    with pytest.raises(UsageError, match="once"):
        list(stream)


def test_a_stream_without_async_says_what_to_do_in_a_running_loop() -> None:
    async def inside() -> None:
        Agent("m", provider=ScriptedProvider()).stream_sync("hi")

    with pytest.raises(UsageError, match=r"stream_sync .* agent\.stream"):
        asyncio.run(inside())


def test_limits_of_repeats_may_be_lifted() -> None:
    provider = ScriptedProvider(*turns(12, "{{}}"), text_turn("done", turn=12))
    assert Agent("m", provider=provider, tools=[look], limits=Limits()).run_sync("?").text == "done"


def test_single_limits_may_be_others_than_the_defaults() -> None:
    agent = Agent("m", provider=ScriptedProvider(), limits={"max_turns": 3})
    assert (agent.limits.max_turns, agent.limits.max_repeats) == (3, 8)
    for wrong in ({"max_turn": 3}, {"max_turns": "many"}):
        with pytest.raises(UsageError, match="max_turn"):
            Agent("m", provider=ScriptedProvider(), limits=wrong)


def test_data_of_a_tool_are_for_those_who_read_the_events_and_not_for_the_model() -> None:
    def find() -> ToolResult:
        return ToolResult(output="3 rows", results=[{"row": 1}, {"row": 2}, {"row": 3}])

    provider = ScriptedProvider(tool_turn(("c1", "find", "{}")), text_turn("ok", turn=1))
    result = Agent("m", provider=provider, tools=[find]).run_sync("?")
    (completed,) = [event for event in result.events if isinstance(event, ToolCallCompleted)]
    assert [each["row"] for each in completed.results] == [1, 2, 3]
    request: Any = provider.calls[1].request
    messages = to_chat(request, provider.calls[1].items, model="m", dialect=OPENAI).body["messages"]
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["3 rows"]
