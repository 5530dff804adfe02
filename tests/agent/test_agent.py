"""The agent as its users see it: what they give, what comes back, and what a model can make go wrong."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from antiphon import Agent, Limits, RunFailed, Step, ToolContext, ToolError, image, tool
from antiphon.agent.models import Upstream
from antiphon.agent.output import OutputType
from antiphon.cassettes import Difference, Player, read
from antiphon.clock import FakeClock
from antiphon.dialects import OPENAI
from antiphon.errors import InvalidRequest, UsageError
from antiphon.events import (
    ErrorInfo,
    RefusalDelta,
    RefusalFinished,
    RefusalStarted,
    RunFinished,
    TextDelta,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
)
from antiphon.providers.chat import ChatProvider
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.tools.base import ToolResult
from antiphon.translation.chat import to_chat

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers

    Args:
        a: first number
        b: second number
    """
    return a + b


def outputs(result: Any) -> list[str]:
    return [item["output"] for item in result.items if item["type"] == "function_call_output"]


# --- a run ---------------------------------------------------------------------------------------


def test_an_agent_calls_its_tools_and_answers() -> None:
    provider = ScriptedProvider(tool_turn(("c1", "add", '{"a": 2, "b": 3}')), text_turn("It is ", "5.", turn=1))
    result = Agent("m", provider=provider, tools=[add], instructions="Be brief.").run_sync("2 + 3?")
    assert (result.output, result.text, result.status) == ("It is 5.", "It is 5.", "completed")
    assert outputs(result) == ["5"]
    assert (result.usage.input_tokens, result.usage.output_tokens) == (20, 3)
    assert provider.calls[0].request.instructions == "Be brief."  # type: ignore[union-attr]


def test_a_stream_gives_the_events_of_the_journal_and_then_the_same_result() -> None:
    async def follow() -> None:
        stream = Agent("m", provider=ScriptedProvider(text_turn("a", "b"))).stream("hi")
        events = [event async for event in stream]
        assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "b"]
        assert events == stream.result.events
        assert stream.result.text == "ab"

    asyncio.run(follow())


def test_history_continues_a_conversation_with_calls_and_answers() -> None:
    provider = ScriptedProvider(
        tool_turn(("c1", "add", '{"a": 2, "b": 3}')), text_turn("5", turn=1), text_turn("It was 5.")
    )
    agent = Agent("m", provider=provider, tools=[add])
    first = agent.run_sync("2 + 3?")
    assert agent.run_sync("What was it?", history=first.history).text == "It was 5."
    kinds = [item["type"] for item in provider.calls[-1].items]
    assert kinds == ["message", "function_call", "function_call_output", "message", "message"]


def test_texts_and_images_beside_each_other_are_one_message() -> None:
    provider = ScriptedProvider(text_turn("a cat"))
    Agent("m", provider=provider).run_sync(["What is this?", image(b"\x89PNG....")])
    (message,) = provider.calls[0].items
    assert [part["type"] for part in message["content"]] == ["input_text", "input_image"]
    assert message["content"][1]["image_url"].startswith("data:image/png;base64,iVBOR")


def test_run_sync_inside_of_a_running_loop_says_what_to_do_instead() -> None:
    async def inside() -> None:
        Agent("m", provider=ScriptedProvider()).run_sync("hi")

    with pytest.raises(UsageError, match=r"Await agent\.run"):
        asyncio.run(inside())


def test_a_failed_run_raises_and_its_result_can_be_gone_on_from() -> None:
    down = [[TurnFailed(turn=1, error=ErrorInfo(code="unavailable", message="overloaded"), retryable=False)]]
    provider = ScriptedProvider(tool_turn(("c1", "add", '{"a": 2, "b": 3}')), down, text_turn("5"))
    agent = Agent("m", provider=provider, tools=[add])
    with pytest.raises(RunFailed, match="overloaded") as failed:
        agent.run_sync("2 + 3?")
    assert failed.value.reason == "unavailable"
    assert agent.run_sync("Again.", history=failed.value.result.history).text == "5"
    assert [item["type"] for item in provider.calls[-1].items][1:3] == ["function_call", "function_call_output"]


def test_a_wrong_setting_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InvalidRequest, match="temperature"):
        Agent("m", provider=ScriptedProvider(), settings={"temperature": 7})


def test_what_an_agent_says_itself_is_no_setting() -> None:
    with pytest.raises(UsageError, match="max_tool_calls, stream"):
        Agent("m", provider=ScriptedProvider(), settings={"stream": True, "max_tool_calls": 2})


def test_a_history_may_be_kept_as_json_and_one_that_is_none_is_refused() -> None:
    agent = Agent("m", provider=ScriptedProvider(text_turn("a"), text_turn("b")))
    history = agent.run_sync("hi").history
    assert agent.run_sync("on", history=json.loads(json.dumps(history))).text == "b"
    with pytest.raises(InvalidRequest, match=r"history\[0\]"):
        agent.run_sync("on", history=[{"type": "message"}])


def test_runs_side_by_side_share_connections_and_the_last_one_closes_them() -> None:
    class Closing(ScriptedProvider):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    opened: list[Closing] = []

    class Scripted(Upstream):
        def _connect(self) -> Closing:
            opened.append(Closing(text_turn("a"), text_turn("b"), text_turn("c")))
            return opened[-1]

    agent = Agent(Scripted("http://localhost:1").model("m"))

    async def main() -> None:
        await asyncio.gather(agent.run("1"), agent.run("2"))
        assert [each.closed for each in opened] == [1]
        async with agent:
            await agent.run("3")
            await agent.run("4")
            assert [each.closed for each in opened] == [1, 0]

    asyncio.run(main())
    agent.run_sync("5")
    assert [(len(each.calls), each.closed) for each in opened] == [(2, 1), (2, 1), (1, 1)]


def test_the_key_of_the_environment_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    agent = Agent("m", base_url="http://localhost:1/v1", clock=FakeClock())
    with pytest.raises(RunFailed, match="localhost"):
        agent.run_sync("hi")
    assert "sk-of-openai" not in str(vars(agent.models[0].upstream))


# --- tools ---------------------------------------------------------------------------------------


def test_wrong_arguments_are_told_to_the_model_which_may_try_again() -> None:
    provider = ScriptedProvider(
        tool_turn(("c1", "add", '{"a": "two"}')),
        tool_turn(("c2", "add", '{"a": 2, "b": 3}'), turn=1),
        text_turn("5", turn=2),
    )
    result = Agent("m", provider=provider, tools=[add]).run_sync("2 + 3?")
    assert outputs(result)[0].startswith("add was not run: its arguments are wrong.")
    assert outputs(result)[1] == "5"


def test_a_tool_that_nobody_has_is_answered_with_those_there_are() -> None:
    provider = ScriptedProvider(tool_turn(("c1", "sub", "{}"), ("c2", "add", '{"a":1,"b":1}')), text_turn("2", turn=1))
    result = Agent("m", provider=provider, tools=[add]).run_sync("?")
    assert outputs(result) == ["There is no tool 'sub'. There are: add.", "2"]


def test_tools_are_given_the_run_s_context_and_the_user_s_own_things() -> None:
    seen: list[ToolContext[dict[str, str]]] = []

    async def whoami(context: ToolContext[dict[str, str]]) -> str:
        seen.append(context)
        return context.deps["user"]

    agent = Agent(
        "m", provider=ScriptedProvider(tool_turn(("c1", "whoami", "{}")), text_turn("", turn=1)), tools=[whoami]
    )
    result = agent.run_sync("Who am I?", deps={"user": "Ada"})
    assert outputs(result) == ["Ada"]
    assert (seen[0].run, seen[0].call_id, seen[0].idempotency_key) == (result.run, "c1", f"{result.run}/0.0")
    assert agent.tools["whoami"].parameters == {"type": "object", "properties": {}, "required": []}


def test_a_tool_error_is_told_in_its_own_words_and_runs_no_tool_twice() -> None:
    calls: list[int] = []

    def charge() -> None:
        calls.append(1)
        raise ToolError("The card is expired.")

    result = Agent(
        "m", provider=ScriptedProvider(tool_turn(("c1", "charge", "{}")), text_turn("Sorry.", turn=1)), tools=[charge]
    ).run_sync("Charge it.")
    assert (outputs(result), len(calls)) == (["The card is expired."], 1)


def approving(answer: bool | str) -> tuple[list[str], Any]:
    ran: list[str] = []

    @tool(needs_approval=True)
    def delete(name: str) -> str:
        ran.append(name)
        return "deleted"

    async def approve(call: Any) -> bool | str:
        return answer

    provider = ScriptedProvider(tool_turn(("c1", "delete", '{"name": "x"}')), text_turn("done", turn=1))
    result = Agent("m", provider=provider, tools=[delete], approve=approve).run_sync("Delete x.")
    return ran, outputs(result)


def test_a_tool_that_needs_approval_runs_when_somebody_agrees() -> None:
    assert approving(True) == (["x"], ["deleted"])


def test_a_denial_is_told_to_the_model_with_its_reason_and_nothing_runs() -> None:
    ran, told = approving("It is the only copy.")
    assert (ran, told) == ([], ["This call was not run: it was denied. It is the only copy."])


def test_what_the_one_who_approves_raises_is_the_cause_of_the_failure_and_nothing_runs() -> None:
    async def approve(call: Any) -> bool:
        raise OSError("the terminal is gone")

    made = tool(needs_approval=True, name="add")(lambda: pytest.fail("ran"))
    agent = Agent("m", provider=ScriptedProvider(tool_turn(("c1", "add", "{}"))), tools=[made], approve=approve)
    with pytest.raises(RunFailed) as failed:
        agent.run_sync("?")
    assert isinstance(failed.value.__cause__, OSError)
    # It can still be decided on.
    assert [item["type"] for item in failed.value.result.history][-1] == "mcp_approval_request"


def test_approvals_stand_in_the_journal() -> None:
    async def approve(call: Any) -> bool:
        return True

    made = tool(needs_approval=True, name="add")(lambda: "ok")
    provider = ScriptedProvider(tool_turn(("c1", "add", "{}")), text_turn("done", turn=1))
    result = Agent("m", provider=provider, tools=[made], approve=approve).run_sync("?")
    kinds = [type(event).__name__ for event in result.events]
    first = kinds.index("ApprovalRequested")
    assert kinds[first : first + 4] == [
        *("ApprovalRequested", "ApprovalDecided", "ToolCallExecuting", "ToolCallCompleted")
    ]


def test_without_anybody_to_approve_a_run_ends_with_its_calls_waiting_and_goes_on_from_their_decisions() -> None:
    ran: list[str] = []

    @tool(needs_approval=True)
    def delete(name: str) -> str:
        ran.append(name)
        return "deleted"

    @tool
    def look() -> str:
        return "a file"

    asked = tool_turn(("c1", "delete", '{"name": "x"}'), ("c2", "look", "{}"))
    first = Agent("m", provider=ScriptedProvider(asked), tools=[delete, look]).run_sync("Delete x.")
    (approval,) = first.approvals
    assert (approval.name, approval.arguments, ran) == ("delete", '{"name": "x"}', [])
    history = json.loads(json.dumps(first.history))  # as it may have been kept
    later = Agent("m", provider=ScriptedProvider(text_turn("Gone.")), tools=[delete, look])
    second = later.run_sync([approval.approve()], history=history)
    assert (second.text, ran, second.approvals) == ("Gone.", ["x"], [])
    assert outputs(second) == ["deleted", "a file"]


def test_a_denial_and_changed_arguments_are_decisions_too() -> None:
    ran: list[str] = []

    @tool(needs_approval=True)
    def delete(name: str) -> str:
        ran.append(name)
        return "deleted"

    asked = tool_turn(("c1", "delete", '{"name": "x"}'), ("c2", "delete", '{"name": "y"}'))
    first = Agent("m", provider=ScriptedProvider(asked), tools=[delete]).run_sync("Delete both.")
    x, y = first.approvals
    provider = ScriptedProvider(text_turn("Done."))
    said = [x.deny("Keep it."), y.approve(arguments='{"name": "z"}')]
    second = Agent("m", provider=provider, tools=[delete]).run_sync(said, history=first.history)
    assert ran == ["z"]
    assert sorted(outputs(second)) == ["This call was not run: it was denied. Keep it.", "deleted"]


class Box:
    """A server of tools, without a network."""

    label = "box"

    def __init__(self) -> None:
        self.definition = {"type": "mcp", "server_label": "box", "require_approval": "never"}
        self.closed = 0

    async def list_tools(self) -> list[dict[str, Any]]:
        return [{"name": "read", "description": "Reads.", "input_schema": {"type": "object"}, "annotations": None}]

    def remember(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self.remembered = [tool["name"] for tool in tools]

    async def call(self, name: str, arguments: str, *, idempotency_key: str) -> ToolResult:
        return ToolResult(output=f"{name} {arguments}")

    async def close(self) -> None:
        self.closed += 1


def test_a_server_of_tools_is_a_tool_of_an_agent_and_is_kept_as_long_as_the_agent() -> None:
    async def run() -> list[Any]:
        box = Box()
        scripts = [tool_turn(("c1", "read", "{}"), server="box"), text_turn("so", turn=1), text_turn("again")]
        async with Agent("m", provider=ScriptedProvider(*scripts), tools=[box]) as agent:
            first = await agent.run("?")
            await agent.run("?", history=first.history)
            closed = box.closed
        return [[item["type"] for item in first.items], first.items[1]["output"], closed, box.closed]

    assert asyncio.run(run()) == [["mcp_list_tools", "mcp_call", "message"], "read {}", 0, 1]


def test_an_agent_is_a_tool_of_another_one() -> None:
    poet = Agent("p", provider=ScriptedProvider(text_turn("Roses.")))
    provider = ScriptedProvider(tool_turn(("c1", "poet", '{"task": "a poem"}')), text_turn("Here: Roses.", turn=1))
    result = Agent("m", provider=provider, tools=[poet.as_tool("poet", "Writes poems")]).run_sync("A poem, please.")
    assert (outputs(result), result.text) == (["Roses."], "Here: Roses.")


def test_an_agent_that_stops_before_it_is_done_says_so_to_the_other_one() -> None:
    poet = Agent("p", provider=ScriptedProvider(text_turn("Ros", finish_reason="length")))
    provider = ScriptedProvider(tool_turn(("c1", "poet", '{"task": "a poem"}')), text_turn("Sorry.", turn=1))
    result = Agent("m", provider=provider, tools=[poet.as_tool("poet", "Writes poems")]).run_sync("A poem, please.")
    assert outputs(result) == ["poet stopped before it was done (max_output_tokens). It said: Ros"]


# --- structured output ---------------------------------------------------------------------------


@dataclass
class Person:
    name: str
    age: Annotated[int, msgspec.Meta(ge=0)]


def test_an_answer_has_the_type_that_was_asked_for() -> None:
    provider = ScriptedProvider(text_turn('{"name": "Ada", ', '"age": 36}'))
    assert Agent("m", provider=provider, output_type=Person).run_sync("Who?").output == Person("Ada", 36)
    wanted = provider.calls[0].request.text.format  # type: ignore[union-attr]
    assert (wanted.name, wanted.strict, wanted.schema["additionalProperties"]) == ("Person", True, False)


def test_an_answer_of_another_type_is_asked_again_and_not_shown() -> None:
    provider = ScriptedProvider(text_turn('{"name": "Ada", "age": -1}'), text_turn('{"name": "Ada", "age": 36}'))
    result = Agent("m", provider=provider, output_type=Person).run_sync("Who?")
    assert (result.output.age, len(provider.calls)) == (36, 2)
    assert result.usage.input_tokens == 20


def test_an_answer_that_stays_wrong_is_a_failure_and_never_a_value() -> None:
    provider = ScriptedProvider(text_turn("Ada"), text_turn("Ada, 36"))
    with pytest.raises(RunFailed, match="does not have the type") as failed:
        Agent("m", provider=provider, output_type=Person).run_sync("Who?")
    assert failed.value.result.text == "Ada, 36"
    assert failed.value.result.usage.input_tokens == 20


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (Literal["yes", "no"], '{"value": "yes"}', "yes"),
        ({"type": "object", "properties": {"x": {"type": "integer"}}}, '{"x": 1}', {"x": 1}),
    ],
)
def test_any_type_may_be_asked_for(kind: Any, text: str, value: Any) -> None:
    agent: Agent[Any] = Agent("m", provider=ScriptedProvider(text_turn(text)), output_type=kind)
    assert agent.run_sync("?").output == value


@dataclass
class Note:
    words: list[str]
    by: str = ""


@pytest.mark.parametrize(
    ("kind", "strict"),
    [
        *((Person, True), (list[Person], True), (Note, False), (dict[str, int], False)),
        ({"type": "object", "properties": {}, "required": [], "additionalProperties": False}, True),
        ({"type": "object", "properties": {}, "required": []}, False),
    ],
)
def test_the_strict_mode_is_asked_for_where_it_can_hold_the_type_and_a_schema_by_hand_stays(
    kind: Any, strict: bool
) -> None:
    wanted = OutputType(kind)
    assert wanted.strict is strict
    assert not isinstance(kind, dict) or wanted.schema == kind


def test_a_refusal_is_no_answer_of_the_type() -> None:
    refusal: Any = [[], [RefusalStarted(block="0.0"), RefusalDelta(block="0.0", text="No.")]]
    refusal.append([RefusalFinished(block="0.0"), TurnFinished(turn=0, finish_reason="stop")])
    with pytest.raises(RunFailed, match="refused: No") as failed:
        Agent("m", provider=ScriptedProvider(refusal), output_type=Person).run_sync("Who?")
    assert failed.value.reason == "refusal"
    assert Agent("m", provider=ScriptedProvider(refusal)).run_sync("Who?").refusal == "No."


def test_a_pydantic_model_is_an_output_type_and_its_own_checks_hold() -> None:
    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def is_even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("it is odd")
            return value

    good, bad = ScriptedProvider(text_turn('{"number": 2}')), ScriptedProvider(text_turn('{"number": 3}'))
    assert Agent("m", provider=good, output_type=Even).run_sync("?").output == Even(number=2)
    with pytest.raises(RunFailed, match="it is odd"):
        Agent("m", provider=bad, output_type=Even).run_sync("?")


# --- steps, limits, leaving ----------------------------------------------------------------------


def test_a_hook_may_change_model_instructions_and_tools_of_each_step() -> None:
    def second_step(step: Step) -> None:
        if step.turn == 1:
            step.model, step.instructions, step.tools = "small", f"Sum up {step.called} for {step.deps}.", []

    provider = ScriptedProvider(tool_turn(("c1", "add", '{"a": 2, "b": 3}')), text_turn("5", turn=1))
    Agent("big", provider=provider, tools=[add], before_step=second_step).run_sync("2 + 3?", deps="Ada")
    first, second = provider.calls
    assert (first.model, second.model) == ("big", "small")
    assert second.request.instructions == "Sum up ['add'] for Ada."  # type: ignore[union-attr]
    assert second.request.tool_choice == "none"  # type: ignore[union-attr]


def test_what_a_hook_raises_ends_the_run_and_is_the_cause_of_its_failure() -> None:
    def broken(step: Step) -> None:
        raise KeyError("no such key")

    with pytest.raises(RunFailed) as failed:
        Agent("m", provider=ScriptedProvider(), before_step=broken).run_sync("hi")
    assert isinstance(failed.value.__cause__, KeyError)


def test_a_stop_condition_ends_the_run_before_the_next_step() -> None:
    provider = ScriptedProvider(tool_turn(("c1", "add", '{"a": 2, "b": 3}')))
    agent = Agent("m", provider=provider, tools=[add], stop_when=lambda step: "add" in step.called)
    result = agent.run_sync("2 + 3?")
    assert (result.status, result.reason, outputs(result)) == ("completed", "stopped", ["5"])


def test_a_forced_tool_is_forced_once() -> None:
    provider = ScriptedProvider(tool_turn(("c1", "add", '{"a": 2, "b": 3}')), text_turn("5", turn=1))
    Agent("m", provider=provider, tools=[add], settings={"tool_choice": "required"}).run_sync("2 + 3?")
    assert [call.request.tool_choice for call in provider.calls] == ["required", "auto"]


@pytest.mark.parametrize("limit", ["max_turns", "max_total_tokens"])
def test_a_model_that_never_stops_calling_is_stopped(limit: str) -> None:
    turns = [tool_turn((f"c{n}", "add", '{"a": 2, "b": 3}'), turn=n) for n in range(9)]
    limits = Limits(**{limit: 3 if limit == "max_turns" else 25})
    result = Agent("m", provider=ScriptedProvider(*turns), tools=[add], limits=limits).run_sync("Go on.")
    assert (result.status, result.reason, len(outputs(result))) == ("incomplete", limit, 3)


def leave_at(kind: type, *scripts: Any, tools: Sequence[Any] = ()) -> Any:
    """The result of a run that is left after the first event of a kind."""

    async def leave() -> Any:
        async with Agent("m", provider=ScriptedProvider(*scripts), tools=tools).stream("hi") as stream:
            async for event in stream:
                if isinstance(event, kind):
                    break
        return stream.result

    return asyncio.run(leave())


@pytest.mark.parametrize("kind", [TextDelta, ToolCallStarted, ToolCallFinished, ToolCallCompleted])
def test_a_run_that_is_left_anywhere_leaves_a_transcript_that_can_be_continued(kind: type) -> None:
    calls = tool_turn(("c1", "add", '{"a": 2, "b": 3}'), ("c2", "add", '{"a": 2, "b": 3}'))
    script = text_turn("a", "b") if kind is TextDelta else calls
    result = leave_at(kind, script, text_turn("c", turn=1), tools=[add])
    assert result.status == "cancelled"
    assert isinstance(result.events[-1], RunFinished)
    request = Agent("m", provider=ScriptedProvider())._request(result.history)
    messages = to_chat(request, result.history, model="m", dialect=OPENAI, upstream="u").body["messages"]
    called = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert called == answered


def test_leaving_cancels_a_tool_that_is_running_and_its_call_has_an_answer() -> None:
    cancelled: list[bool] = []

    async def main() -> Any:
        running = asyncio.Event()

        async def wait() -> str:
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)
            return "never"

        stream = Agent("m", provider=ScriptedProvider(tool_turn(("c1", "wait", "{}"))), tools=[wait]).stream("hi")

        async def consume() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(consume())
        await running.wait()
        task.cancel()
        await asyncio.wait([task])
        return stream.result

    result = asyncio.run(main())
    assert cancelled == [True]
    (failed,) = [event for event in result.events if isinstance(event, ToolCallFailed)]
    assert [item["type"] for item in result.history] == ["message", "function_call", "function_call_output"]
    assert failed.error.code == "tool_call_abandoned"


# --- recorded conversations ----------------------------------------------------------------------


def recorded(name: str, model: str, instructions: str, question: str, *tools: Any) -> tuple[str, list[set[str]]]:
    """The answer of an agent over a recording, and how its requests differ from the recorded ones."""
    found: list[set[str]] = []

    def note(_: int, differences: Sequence[Difference]) -> None:
        found.append({str(each) for each in differences})

    player = Player(read(RECORDINGS / name), match="order", on_difference=note, name=name)
    provider = ChatProvider("recorded", "https://recorded.invalid/v1", player)
    settings = {"max_output_tokens": 4000, "tool_choice": "auto"}
    agent = Agent(model, provider=provider, instructions=instructions, tools=tools, settings=settings)
    return agent.run_sync(question).text, found


def test_the_recorded_weather_conversation_gives_the_recorded_answer() -> None:
    @tool
    def weather(location: Annotated[str, "the city"]) -> str:
        """Get weather information for a location"""
        return "40 C"

    text, differences = recorded(
        "from_diff/Common_tool_streaming.yaml",
        "openai/gpt-oss-20b",
        "You are a helpful assistant",
        "What's the weather in Florence,Italy?",
        weather,
    )
    assert text == "The current temperature in Florence, Italy, is **40 °C**."
    limit = {"$.max_completion_tokens: recorded 4000, sent nothing", "$.max_tokens: recorded nothing, sent 4000"}
    assert differences == [limit, limit]


def test_recorded_parallel_calls_give_the_recorded_answer_with_the_very_requests() -> None:
    @tool
    def multiply(a: Annotated[int, "first number"], b: Annotated[int, "second number"]) -> int:
        """Multiply two numbers"""
        return a * b

    text, differences = recorded(
        "multi_tool_streaming.yaml",
        "gpt-4o-mini",
        "You are a helpful assistant. Always use both add and multiply at the same time.",
        "Add and multiply the number 2 and 3",
        add,
        multiply,
    )
    assert (text, differences) == ("The sum of 2 and 3 is 5, and the product of 2 and 3 is 6.", [])
