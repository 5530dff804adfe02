"""What goes wrong in charmbracelet/fantasy v0.41.2 (F1 to F14) and in OGX of May 2026 (O1 …) goes right here.

Each test is named for what is right, and says in its docstring what was seen there. What concerns MCP servers and the
file search of a server is tested where these are.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, RunFailed, image
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.assembly.chat import ChatAssembler
from antiphon.assembly.responses import ResponsesAssembler
from antiphon.clock import CountingIds, FakeClock
from antiphon.dialects import OPENAI
from antiphon.events import (
    ErrorInfo,
    ModelEvent,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RefusalDelta,
    RunEvent,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallExecuting,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from antiphon.providers.chat import ChatProvider
from antiphon.rendering.fold import fold
from antiphon.rendering.responses import ResponsesRenderer
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.translation.chat import to_chat
from antiphon.transport import HttpRequest
from antiphon.wire.responses import CreateResponse, Item, decode_request


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def piece(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": call_id} if call_id else {})


def assembled(*chunks: dict[str, Any]) -> list[ModelEvent]:
    assembler = ChatAssembler()
    data = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks)
    return assembler.feed(data) + assembler.feed(b"data: [DONE]\n\n") + assembler.finish()


def kinds(events: list[Any]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


def rendered(*turns: list[ModelEvent], **request: Any) -> list[dict[str, Any]]:
    """What a client is sent for a run of these turns."""
    run: list[RunEvent] = [RunStarted(run="resp_1", created_at_s=1, model="m", request={"model": "m", **request})]
    for number, turn in enumerate(turns):
        run += [TurnStarted(turn=number, interaction="i", upstream="u", model="m"), *turn]
    run.append(RunFinished(status="completed", finished_at_s=2))
    return [json.loads(frame.data) for frame in ResponsesRenderer().render(run)]


def outputs(result: Any) -> list[str]:
    return [item["output"] for item in result.items if item["type"] == "function_call_output"]


THOUGHT = [chunk(reasoning_content="Hm", content=None), chunk(reasoning_content=None, content="Hello")]
STOP = chunk("stop")


# --- streams -------------------------------------------------------------------------------------


def test_f1_reasoning_is_one_block_and_is_closed_once_however_often_its_key_comes() -> None:
    """A key that is null counted as reasoning: a second block was opened, never closed, and the reasoning lost."""
    events = assembled(*THOUGHT, chunk("stop", reasoning_content=None))
    assert kinds(events).count("reasoning.started") == kinds(events).count("reasoning.finished") == 1
    assert [event.text for event in events if isinstance(event, ReasoningDelta)] == ["Hm"]


@pytest.mark.parametrize("after", [chunk(content="Hello"), chunk(tool_calls=[piece(0, "{}", "c1", "f")])])
def test_f2_reasoning_is_closed_before_text_or_a_call_begins(after: dict[str, Any]) -> None:
    """Text and calls were given on before the end of the reasoning, in every stream that had any."""
    events = kinds(assembled(chunk(reasoning_content="Hm"), after, STOP))
    assert events.index("reasoning.finished") < min(
        place for place, kind in enumerate(events) if kind in ("text.started", "tool_call.started")
    )


def test_f3_late_pieces_of_a_call_are_kept_and_two_calls_at_one_index_stay_two() -> None:
    """A piece for a call that counted as over was lost, and a second id at the same index joined the first call."""
    interleaved = assembled(
        chunk(tool_calls=[piece(0, '{"a":', "c1", "f")]),
        chunk(tool_calls=[piece(1, '{"b":', "c2", "g")]),
        chunk(tool_calls=[piece(0, "1}")]),
        chunk(tool_calls=[piece(1, "2}")]),
        chunk("tool_calls"),
    )
    assert [e.arguments for e in interleaved if isinstance(e, ToolCallFinished)] == ['{"a":1}', '{"b":2}']
    stacked = assembled(
        chunk(tool_calls=[piece(0, '{"a":1}', "c1", "f")]),
        chunk(tool_calls=[piece(0, '{"b":2}', "c2", "g")]),
        chunk("tool_calls"),
    )
    assert [e.name for e in stacked if isinstance(e, ToolCallStarted)] == ["f", "g"]


def test_f4_a_chunk_after_the_usage_does_not_take_it_away() -> None:
    """The usage was overwritten by every chunk, with zeros by those that had none."""
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}
    turn = assembled(chunk(content="a"), STOP, usage, chunk(content=""))[-1]
    assert isinstance(turn, TurnFinished)
    assert turn.usage is not None
    assert (turn.usage.input_tokens, turn.usage.output_tokens) == (5, 7)


def test_f10_running_totals_are_not_summed() -> None:
    """Cumulative counts were added up over the chunks: 45 tokens of output where there were 22."""
    totals = [{"choices": [], "usage": {"prompt_tokens": 199, "completion_tokens": n}} for n in (3, 20, 22)]
    turn = assembled(chunk(content="a"), *totals, STOP)[-1]
    assert isinstance(turn, TurnFinished)
    assert turn.usage is not None
    assert (turn.usage.output_tokens, turn.usage.total_tokens) == (22, 221)


def test_f9_a_piece_of_arguments_stands_in_one_place_whatever_the_upstream_speaks() -> None:
    """One provider put the fragment into another field than all the others, so that its readers got nothing."""
    chat = assembled(chunk(tool_calls=[piece(0, '{"a"', "c1", "f")]), chunk(tool_calls=[piece(0, ":1}")]), STOP)
    item = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
    answer = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ":1}"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    responses = ResponsesAssembler().feed(b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in answer))
    for events in (chat, responses):
        assert [event.arguments for event in events if isinstance(event, ToolCallDelta)] == ['{"a"', ":1}"]


def test_f11_arguments_are_not_whole_because_they_are_json() -> None:
    """A call was over with the first text that was valid JSON, and what came after it was lost."""
    assembler = ChatAssembler(offered={"f": {"type": "object", "properties": {}}})
    first = {"choices": [{"index": 0, "delta": {"tool_calls": [piece(0, "{}", "c1", "f")]}}]}
    events = assembler.feed(b"data: " + json.dumps(first).encode() + b"\n\n")
    assert kinds(events) == ["tool_call.started", "tool_call.delta"]
    assert "tool_call.finished" in kinds(assembler.feed(b"data: [DONE]\n\n"))


def test_f12_refusals_and_raw_reasoning_of_the_responses_api_are_read() -> None:
    """Their events were ignored."""
    answer = [
        {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "Hm"},
        {"type": "response.refusal.delta", "output_index": 1, "content_index": 0, "delta": "No."},
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    events = ResponsesAssembler().feed(b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in answer))
    assert [event.text for event in events if isinstance(event, ReasoningDelta | RefusalDelta)] == ["Hm", "No."]


# --- the loop ------------------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    return a + b


def run(agent: Agent[Any]) -> Any:
    return agent.run_sync("?")


def streamed(agent: Agent[Any]) -> Any:
    stream = agent.stream_sync("?")
    assert list(stream)
    return stream.result


BOTH_WAYS: list[Callable[[Agent[Any]], Any]] = [run, streamed]


@pytest.mark.parametrize("ask", BOTH_WAYS)
def test_f5_wrong_arguments_are_treated_alike_streamed_and_not(ask: Callable[[Agent[Any]], Any]) -> None:
    """Repair was one hook when streamed and another when not, with less to go by."""
    wrong = tool_turn(("c1", "add", '{"a": "two"}'))
    provider = ScriptedProvider(wrong, tool_turn(("c2", "add", '{"a": 2, "b": 3}'), turn=1), text_turn("5", turn=2))
    result = ask(Agent("m", provider=provider, tools=[add]))
    assert outputs(result)[0].startswith("add was not run")
    assert (outputs(result)[1], result.text) == ("5", "5")


@pytest.mark.parametrize("ask", BOTH_WAYS)
def test_f6_a_tool_that_breaks_is_told_and_takes_no_other_result_away(ask: Callable[[Agent[Any]], Any]) -> None:
    """Streamed, the run failed; not streamed, it ended in silence, and all results of the step were gone."""

    def explode() -> None:
        raise RuntimeError("boom")

    calls = tool_turn(("c1", "explode", "{}"), ("c2", "add", '{"a": 2, "b": 3}'))
    result = ask(Agent("m", provider=ScriptedProvider(calls, text_turn("5", turn=1)), tools=[explode, add]))
    assert outputs(result) == ["The tool failed: RuntimeError: boom", "5"]
    assert result.text == "5"


def test_f7_no_tool_is_run_twice_because_something_was_tried_again() -> None:
    """A tool's own network error ran the whole step again: the model, and tools that had taken effect."""
    ran: list[str] = []

    def charge(amount: int) -> str:
        ran.append(f"charged {amount}")
        raise ConnectionError("the bank is away")

    down: list[list[ModelEvent]] = [
        [TurnFailed(turn=1, error=ErrorInfo(code="upstream_unavailable", message="down"), retryable=True)]
    ]
    provider = ScriptedProvider(tool_turn(("c1", "charge", '{"amount": 1}')), down, text_turn("Sorry.", turn=1))
    result = Agent("m", provider=provider, tools=[charge], clock=FakeClock()).run_sync("?")
    assert ran == ["charged 1"]
    assert (len(provider.calls), result.text) == (3, "Sorry.")


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_f8_what_an_upstream_asks_for_is_waited_whatever_the_case_of_its_header(name: str) -> None:
    """The header was looked up in another map than it was written to, in another case."""

    class Busy:
        status, headers = 429, ((name, "20"),)

        async def chunks(self) -> Any:
            yield b'{"error": {"message": "slow down"}}'

        async def close(self) -> None:
            pass

    class Transport:
        async def send(self, request: HttpRequest) -> Any:
            return Busy()

        async def close(self) -> None:
            pass

    clock = FakeClock()
    agent = Agent("m", provider=ChatProvider("up", "http://up.invalid", Transport()), clock=clock)
    with pytest.raises(RunFailed):
        agent.run_sync("?")
    assert len(clock.slept_s) == 2
    assert all(20 <= slept <= 22 for slept in clock.slept_s)


@pytest.mark.parametrize("text", ["no JSON at all", '{"name": 7}'])
def test_f13_an_answer_that_does_not_fit_is_one_kind_of_failure_and_has_its_usage(text: str) -> None:
    """Two of three modes raised a bare parse error, without what the attempt had used up."""
    agent = Agent("m", provider=ScriptedProvider(text_turn(text), text_turn(text)), output_type=dict[str, str])
    with pytest.raises(RunFailed) as failed:
        agent.run_sync("?")
    assert failed.value.reason == "no_output"
    assert failed.value.result.usage.total_tokens == 22


def test_f14_a_call_with_broken_arguments_keeps_its_place_and_its_output() -> None:
    """Such a call was skipped when the history was sent again, and its output had no call any more."""
    items: list[Item] = [
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": '},
        {"type": "function_call_output", "call_id": "c1", "output": "that was no JSON"},
    ]
    sent = to_chat(request(), items, model="m", dialect=OPENAI)
    called, answered = sent.body["messages"][1:]
    json.loads(called["tool_calls"][0]["function"]["arguments"])
    assert answered["tool_call_id"] == called["tool_calls"][0]["id"]


def test_f14_an_image_from_a_tool_reaches_the_model_or_is_disclosed() -> None:
    """Media in results of tools were dropped without a word."""

    def shot() -> Any:
        return image(b"\x89PNG....")

    provider = ScriptedProvider(tool_turn(("c1", "shot", "{}")), text_turn("a cat", turn=1))
    Agent("m", provider=provider, tools=[shot]).run_sync("?")
    sent = to_chat(request(), provider.calls[1].items, model="m", dialect=OPENAI)
    assert sent.body["messages"][-1]["content"][-1]["type"] == "image_url"
    assert [note.quirk for note in sent.diagnostics] == ["Q103"]


# --- the server's stream -------------------------------------------------------------------------


def request(**fields: Any) -> CreateResponse:
    return decode_request(json.dumps({"model": "m", "input": "hi", **fields}).encode())


def check_order(events: list[dict[str, Any]]) -> None:
    """Numbers without gaps; each item has an index of its own, is announced first, and closed once."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    announced: dict[int, str] = {}
    closed: set[int] = set()
    for event in events:
        index = event.get("output_index")
        if event["type"] == "response.output_item.added":
            assert index not in announced
            announced[index] = event["item"]["id"]
        elif index is not None:
            assert index in announced
            assert index not in closed
            if event["type"] == "response.output_item.done":
                closed.add(index)
            else:
                assert event["item_id"] == announced[index]
    assert closed == announced.keys()
    final = events[-1]["response"]
    assert [item["id"] for item in final["output"]] == [announced[index] for index in sorted(announced)]
    assert fold(events[:-1])["output"] == final["output"]


def short(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_o1_a_text_has_its_end_before_that_of_its_part() -> None:
    """There was no output_text.done at all."""
    events = rendered([event for batch in text_turn("Hello") for event in batch])
    check_order(events)
    assert short(events)[2:8] == [
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
    ]


def test_o2_narration_beside_parallel_calls_is_kept_and_each_item_has_a_place_of_its_own() -> None:
    """The message was never closed, two calls had the index of the message, and the narration was in no output."""
    events = rendered(
        assembled(
            chunk(content="I look."),
            chunk(tool_calls=[piece(0, "{}", "c1", "f"), piece(1, "{}", "c2", "g")]),
            chunk("tool_calls"),
        )
    )
    check_order(events)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert output[0]["content"][0]["text"] == "I look."


def test_o2_the_next_turn_sees_the_narration_of_the_one_before() -> None:
    """It was lost for the model as well."""
    provider = ScriptedProvider(
        [assembled(chunk(content="I look."), chunk(tool_calls=[piece(0, '{"a":1,"b":2}', "c1", "add")]), STOP)],
        text_turn("3", turn=1),
    )
    Agent("m", provider=provider, tools=[add]).run_sync("?")
    assert [item["type"] for item in provider.calls[1].items][1:] == [
        *("message", "function_call", "function_call_output"),
    ]


def test_o3_arguments_are_announced_before_they_are_streamed() -> None:
    """Deltas came before the item they belong to, and under another type than the item's."""
    events = rendered(
        assembled(chunk(tool_calls=[piece(0, '{"a":', "c1", "f")]), chunk(tool_calls=[piece(0, "1}")]), STOP)
    )
    check_order(events)
    assert short(events)[2:7] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
    ]


def test_o4_reasoning_is_an_item_of_its_own_before_the_message_in_stream_and_output() -> None:
    """It was streamed as a part of a message that was not announced, and stood in another order in the end."""
    events = rendered(assembled(*THOUGHT, STOP))
    check_order(events)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"]


def test_o5_calls_of_one_turn_run_side_by_side_and_answer_in_their_order() -> None:
    """Tools ran one after the other."""
    arrived: list[str] = []
    both = asyncio.Event()

    async def meet(name: str) -> str:
        arrived.append(name)
        if len(arrived) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)  # would never come if one waited for the other
        return name

    calls = tool_turn(("c1", "meet", '{"name": "a"}'), ("c2", "meet", '{"name": "b"}'))
    result = Agent("m", provider=ScriptedProvider(calls, text_turn("met", turn=1)), tools=[meet]).run_sync("?")
    assert outputs(result) == ["a", "b"]
    assert kinds([e for e in result.events if isinstance(e, ToolCallExecuting | ToolCallCompleted)]) == [
        *("tool_call.executing", "tool_call.executing", "tool_call.completed", "tool_call.completed"),
    ]


def test_o6_arguments_that_are_no_json_do_not_fail_the_response() -> None:
    """They were parsed outside of any guard: the whole response failed."""
    provider = ScriptedProvider(tool_turn(("c1", "add", "[1, 2")), text_turn("sorry", turn=1))
    result = Agent("m", provider=provider, tools=[add]).run_sync("?")
    assert (result.status, result.text) == ("completed", "sorry")
    assert outputs(result)[0].startswith("add was not run: its arguments are wrong.")


# --- state ---------------------------------------------------------------------------------------


def chained(directory: Path | None, provider: ScriptedProvider, *requests: dict[str, Any]) -> None:
    """Ask for responses that follow each other."""

    async def main() -> None:
        store = SqliteStore.open(directory, clock=FakeClock())

        def resolve(model: str) -> list[Target]:
            return [Target(provider, model)]

        runner = Runner(store=store, resolve=resolve, clock=FakeClock(), ids=CountingIds())
        previous: str | None = None
        for fields in requests:
            asked = request(**fields, **({"previous_response_id": previous} if previous else {}))
            async for batch in runner.run("me", asked):
                if isinstance(batch[0], RunStarted):
                    previous = batch[0].run
        await runner.close()
        await store.close()

    asyncio.run(main())


def test_o7_system_messages_that_were_sent_as_input_stay_in_the_conversation() -> None:
    """All messages of the system role were dropped from what was kept, those of the user's own input among them."""
    provider = ScriptedProvider(text_turn("a"), text_turn("b"))
    rule = {"role": "system", "content": "Speak Portuguese."}
    chained(None, provider, {"input": [rule, {"role": "user", "content": "hi"}]}, {"input": "on"})
    assert [item.get("role") for item in provider.calls[1].items] == ["system", "user", "assistant", "user"]


def test_o8_the_same_words_said_twice_are_said_twice() -> None:
    """A user's message that was equal to the one before was skipped in silence."""
    provider = ScriptedProvider(text_turn("a"), text_turn("b"))
    again = [{"role": "user", "content": "again"}]
    chained(None, provider, {"input": again}, {"input": again})
    assert [item.get("role") for item in provider.calls[1].items] == ["user", "assistant", "user"]


def test_o9_parallel_calls_that_come_back_are_one_turn_of_the_assistant() -> None:
    """Each became an assistant message of its own, which upstreams refuse."""
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"} for n in (1, 2)]
    answers = [{"type": "function_call_output", "call_id": f"c{n}", "output": str(n)} for n in (1, 2)]
    items: list[Item] = [{"type": "message", "role": "user", "content": "hi"}, *calls, *answers]
    messages = to_chat(request(), items, model="m", dialect=OPENAI).body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]


def test_o10_a_long_conversation_is_kept_once_and_not_again_with_each_response(tmp_path: Path) -> None:
    """Each response stored the whole history before it: n responses took the square of n."""
    count = 12
    provider = ScriptedProvider(*(text_turn("a") for _ in range(count)))
    chained(tmp_path, provider, *({"input": f"message {number}"} for number in range(count)))
    assert len(provider.calls[-1].items) == 2 * count - 1
    (database,) = tmp_path.glob("*.db")
    connection = sqlite3.connect(database)
    try:
        (rows,) = connection.execute("SELECT count(*) FROM items").fetchone()
    finally:
        connection.close()
    assert rows == 2 * count


def test_o11_a_hidden_thought_is_finished_like_any_other() -> None:
    """Reasoning that is only opaque parts had neither an item nor an end."""
    sealed = {"type": "reasoning.encrypted", "data": "x", "index": 0}
    events = assembled(chunk(reasoning_details=[sealed]), chunk(content="Hello"), STOP)
    (start,) = [event for event in events if isinstance(event, ReasoningStarted)]
    (end,) = [event for event in events if isinstance(event, ReasoningFinished)]
    assert (start.block, end.details) == (end.block, [sealed])
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hello"]
