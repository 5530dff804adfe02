"""One loop: what the machine decides is done, written down before it is shown, and given on as it happens."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from antiphon.agent.acting import Tool
from antiphon.agent.effects import ToolCall
from antiphon.agent.limits import Limits
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.events import (
    ErrorInfo,
    ModelEvent,
    RunEvent,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    TurnFailed,
    TurnStarted,
)
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.wire.responses import decode_request

DOWN: list[list[ModelEvent]] = [
    [TurnFailed(turn=0, error=ErrorInfo(code="upstream_connect_failed", message="down"), retryable=True)]
]


def request(**fields: Any) -> Any:
    return decode_request(msgspec.json.encode({"model": "m", "input": "hi", **fields}))


def runner(
    *providers: ScriptedProvider, store: SqliteStore | None = None, limits: Limits | None = None, **tools: Tool
) -> Runner:
    return Runner(
        store=store or SqliteStore.open(None, clock=FakeClock()),
        resolve=lambda model: [Target(provider, model) for provider in providers],
        clock=FakeClock(),
        ids=CountingIds(),
        limits=limits,
        tools=tools,
    )


def collect(runner: Runner, **fields: Any) -> list[list[RunEvent]]:
    async def run() -> list[list[RunEvent]]:
        return [batch async for batch in runner.run("me", request(**fields))]

    return asyncio.run(run())


def types(batches: Sequence[Sequence[RunEvent]]) -> list[str]:
    return [type(event).__name__ for batch in batches for event in batch]


def test_a_run_is_its_start_its_turns_and_its_end() -> None:
    batches = collect(runner(ScriptedProvider(text_turn("he", "llo"))))
    assert types(batches) == (
        ["RunStarted", "TurnStarted", "TextStarted", "TextDelta", "TextDelta", "TextFinished", "TurnFinished"]
        + ["RunFinished"]
    )


def test_each_batch_is_given_on_as_it_comes_and_the_end_shares_the_last_one() -> None:
    batches = collect(runner(ScriptedProvider(text_turn("a", "b"))))
    assert [len(batch) for batch in batches] == [2, 1, 1, 1, 3]


def test_the_journal_does_not_hold_the_input_a_second_time() -> None:
    (started, *_), *_ = collect(runner(ScriptedProvider(text_turn("hi"))), temperature=0.5)
    assert isinstance(started, RunStarted)
    assert started.request == {"model": "m", "temperature": 0.5}


def test_a_fallback_is_asked_when_the_first_upstream_is_down_and_the_journal_shows_both() -> None:
    batches = collect(runner(ScriptedProvider(DOWN, name="a"), ScriptedProvider(text_turn("hi"), name="b")))
    asked = [event.upstream for batch in batches for event in batch if isinstance(event, TurnStarted)]
    assert asked == ["a", "b"]
    assert isinstance(batches[-1][-1], RunFinished)
    assert batches[-1][-1].status == "completed"


def test_a_failure_of_every_upstream_comes_as_one_batch_so_that_it_can_still_be_an_http_error() -> None:
    batches = collect(runner(ScriptedProvider(DOWN), ScriptedProvider(DOWN)))
    assert len(batches) == 1
    assert isinstance(batches[0][-1], RunFinished)
    assert batches[0][-1].status == "failed"


def test_server_side_tools_run_side_by_side_and_answer_in_the_order_of_the_calls() -> None:
    first_may_end = asyncio.Event()

    async def slow(call: ToolCall) -> str:
        await first_may_end.wait()
        return "slow"

    async def quick(call: ToolCall) -> str:
        first_may_end.set()
        return "quick"

    provider = ScriptedProvider(tool_turn(("c1", "slow", "{}"), ("c2", "quick", "{}")), text_turn("done", turn=1))
    batches = collect(runner(provider, slow=Tool(slow), quick=Tool(quick)))
    events = [event for batch in batches for event in batch]
    assert [event.output for event in events if isinstance(event, ToolCallCompleted)] == ["slow", "quick"]
    assert sum(isinstance(event, TurnStarted) for event in events) == 2


def test_a_result_is_written_down_before_slower_calls_have_theirs() -> None:
    store = SqliteStore.open(None, clock=FakeClock())
    written: list[str] = []

    async def quick(call: ToolCall) -> str:
        return "quick"

    async def slow(call: ToolCall) -> str:
        async with asyncio.timeout(5):
            while "ToolCallCompleted" not in written:
                (left,) = await store.unfinished()
                written[:] = [type(event).__name__ for event in await store.events("me", left.run)]
        return "slow"

    provider = ScriptedProvider(tool_turn(("c1", "quick", "{}"), ("c2", "slow", "{}")), text_turn("done", turn=1))
    collect(runner(provider, store=store, slow=Tool(slow), quick=Tool(quick)))
    assert written[-1] == "ToolCallCompleted"


def test_a_tool_that_raises_is_a_result_and_the_run_goes_on() -> None:
    async def broken(call: ToolCall) -> str:
        raise ValueError("no such city")

    provider = ScriptedProvider(tool_turn(("c1", "weather", "{}")), text_turn("sorry", turn=1))
    batches = collect(runner(provider, weather=Tool(broken)))
    (failed,) = [event for batch in batches for event in batch if isinstance(event, ToolCallFailed)]
    assert "no such city" in failed.output
    assert isinstance(batches[-1][-1], RunFinished)
    assert batches[-1][-1].status == "completed"


@pytest.mark.parametrize(
    ("choice", "after"),
    [
        ("required", "auto"),
        ({"type": "function", "name": "look"}, "auto"),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
        ),
        ("auto", "auto"),
    ],
)
def test_a_model_that_has_called_what_it_had_to_is_not_made_to_call_again(choice: Any, after: Any) -> None:
    async def look(call: ToolCall) -> str:
        return "nothing"

    provider = ScriptedProvider(tool_turn(("c1", "look", "{}")), text_turn("x", turn=1))
    tools = [{"type": "function", "name": "look"}]
    collect(runner(provider, look=Tool(look)), tools=tools, tool_choice=choice)
    assert [call.request.tool_choice for call in provider.calls] == [choice, after]


def test_a_request_limits_the_calls_that_the_server_runs() -> None:
    ran = []

    async def look(call: ToolCall) -> str:
        ran.append(call.call_id)
        return "nothing"

    turn = tool_turn(("c1", "look", "{}"), ("c2", "look", "{}"))
    batches = collect(runner(ScriptedProvider(turn, text_turn("x", turn=1)), look=Tool(look)), max_tool_calls=1)
    assert ran == ["c1"]
    assert types(batches).count("ToolCallFailed") == 1
    assert types(batches)[-1] == "RunFinished"


def test_an_effect_is_durable_before_it_happens() -> None:
    store = SqliteStore.open(None, clock=FakeClock())
    seen: list[str] = []

    async def look(call: ToolCall) -> str:
        (left,) = await store.unfinished()
        seen.extend(type(event).__name__ for event in await store.events("me", left.run))
        return "ok"

    collect(
        runner(ScriptedProvider(tool_turn(("c1", "look", "{}")), text_turn("x", turn=1)), store=store, look=Tool(look))
    )
    assert seen[-1] == ToolCallExecuting.__name__


def test_a_reader_who_leaves_cancels_the_model_call_and_the_run_is_stored_as_cancelled() -> None:
    store = SqliteStore.open(None, clock=FakeClock())
    provider = ScriptedProvider(text_turn("a", "b", "c"))

    async def leave() -> list[RunEvent]:
        batches = runner(provider, store=store).run("me", request())
        async for batch in batches:
            if isinstance(batch[-1], TextDelta):
                break
        await batches.aclose()
        return await store.events("me", "resp_" + "1".rjust(32, "0"))

    *_, closed, finished = asyncio.run(leave())
    assert provider.cancelled == 1
    assert (type(closed).__name__, closed.status) == ("TextFinished", "incomplete")  # type: ignore[union-attr]
    assert isinstance(finished, RunFinished)
    assert finished.status == "cancelled"


def test_a_reader_who_leaves_before_the_run_was_written_down_leaves_it_ended() -> None:
    class SlowStore(SqliteStore):
        async def begin(self, *args: Any, **fields: Any) -> None:
            await super().begin(*args, **fields)
            entered.set()
            await go_on.wait()

    async def leave() -> list[Any]:
        task = asyncio.create_task(anext(runner(ScriptedProvider(text_turn("a")), store=store).run("me", request())))
        await entered.wait()
        task.cancel()
        go_on.set()
        await asyncio.wait([task])
        return await store.unfinished()

    entered, go_on = asyncio.Event(), asyncio.Event()
    store = SlowStore.open(None, clock=FakeClock())
    assert asyncio.run(leave()) == []


def test_a_run_beyond_its_time_fails_and_says_which_limit() -> None:
    batches = collect(runner(ScriptedProvider(text_turn("a", "b")), limits=Limits(timeout_s=-1)))
    finished = batches[-1][-1]
    assert isinstance(finished, RunFinished)
    assert finished.error is not None
    assert (finished.status, finished.error.code) == ("failed", "limit_exceeded")


def test_two_responses_made_from_one_parent_keep_their_own_context() -> None:
    provider = ScriptedProvider(text_turn("one"), text_turn("two"), text_turn("three"), text_turn("four"))
    run = runner(provider)
    parent = collect(run, input="root")[0][0].run  # type: ignore[union-attr]
    left = collect(run, input="left", previous_response_id=parent)[0][0].run  # type: ignore[union-attr]
    collect(run, input="right", previous_response_id=parent)
    collect(run, input="leaf", previous_response_id=left)
    said = [[_text(item) for item in call.items] for call in provider.calls]
    assert said[2] == ["root", "one", "right"]
    assert said[3] == ["root", "one", "left", "two", "leaf"]


def test_a_run_that_is_not_stored_leaves_nothing_behind() -> None:
    store = SqliteStore.open(None, clock=FakeClock())
    batches = collect(runner(ScriptedProvider(text_turn("hi")), store=store), store=False)
    assert isinstance(batches[-1][-1], RunFinished)
    assert asyncio.run(store.unfinished()) == []


def test_what_a_dead_process_left_is_settled_as_interrupted_not_as_completed() -> None:
    store = SqliteStore.open(None, clock=FakeClock())

    async def die_and_recover() -> list[RunEvent]:
        await store.begin(
            "me", RunStarted(run="resp_1", created_at_s=1, model="m", request={}), parent=None, input_items=[]
        )
        await store.append("me", "resp_1", [event for batch in text_turn("a")[:3] for event in batch])
        assert await runner(store=store).recover() == 1
        return await store.events("me", "resp_1")

    finished = asyncio.run(die_and_recover())[-1]
    assert isinstance(finished, RunFinished)
    assert finished.error is not None
    assert (finished.status, finished.error.code) == ("failed", "interrupted")


def _text(item: dict[str, Any]) -> str:
    content = item["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
