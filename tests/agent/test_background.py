"""Runs in the background: done without a reader, read as far as they are durable, resumed from their journal."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.agent.acting import Tool
from antiphon.agent.effects import ToolCall, ToolPolicy
from antiphon.agent.loop import OnInterruption, Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import InvalidRequest, ModelNotFound, NotFound
from antiphon.events import (
    ModelEvent,
    RunEvent,
    RunFinished,
    RunStarted,
    TextDelta,
    TextFinished,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from antiphon.providers.base import ModelCall
from antiphon.rendering.responses import ResponsesRenderer, response_object, sse
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.wire.responses import decode_request

STEPS = 4


def request(**fields: Any) -> Any:
    return decode_request(msgspec.json.encode({"model": "m", "input": "hi", "background": True, **fields}))


class Steps(ScriptedProvider):
    """Calls the tool ``step`` as long as it has not answered `STEPS` times, then speaks; knows what it was asked.

    After ``stop_at`` batches in all it says nothing more, until `go_on` is set.
    """

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__(name="steps")
        self.asked: list[int] = []  # how many answers of tools the model had seen, for each call
        self.go_on = asyncio.Event()
        self.waits = asyncio.Event()
        self._left = stop_at

    async def stream(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        self.calls.append(call)
        answers = [item for item in call.items if item["type"] == "function_call_output"]
        self.asked.append(len(answers))
        batches = text_turn("all ", "done", turn=call.turn)
        if len(answers) < STEPS:
            batches = tool_turn((f"call_{call.turn}", "step", f'{{"n":{len(answers)}}}'), turn=call.turn)
        done = False
        try:
            for batch in batches:
                if self._left is not None:
                    if not self._left:
                        self.waits.set()
                        await self.go_on.wait()
                        self._left = 1_000
                    self._left -= 1
                yield batch
            done = True
        finally:
            self.cancelled += not done


class Process:
    """What one process has: a runner over a store that outlives it."""

    def __init__(
        self,
        store: SqliteStore,
        *,
        on_interruption: OnInterruption = "retry",
        stop_at: int | None = None,
        **options: Any,
    ) -> None:
        self.store = store
        self.provider = options.pop("provider", None) or Steps(stop_at)
        self.ran: list[ToolCall] = []
        policy = options.pop("policy", ToolPolicy())
        model = options.pop("model", "m")
        ids = CountingIds()
        for _ in range(options.pop("ids_used", 0)):
            ids.new("used")

        def resolve(asked: str) -> list[Target]:
            if asked != model:
                raise ModelNotFound(asked)
            return [Target(self.provider, asked)]

        self.runner = Runner(
            store=store,
            resolve=resolve,
            clock=FakeClock(),
            ids=ids,
            tools={"step": Tool(options.pop("tool", None) or self._step, policy)},
            on_interruption=on_interruption,
            **options,
        )

    async def _step(self, call: ToolCall) -> str:
        self.ran.append(call)
        return f"{call.arguments} is done"

    async def start(self, **fields: Any) -> str:
        return (await self.runner.start("me", request(**fields))).run

    async def end(self, run: str) -> list[RunEvent]:
        """The journal of the run, once it has an end."""
        async with asyncio.timeout(10):
            return [event async for batch in self.runner.follow("me", run) for event in batch]


def scenario(test: Callable[[SqliteStore], Awaitable[None]]) -> Callable[[], None]:
    async def body() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        try:
            await test(store)
        finally:
            await store.close()

    def run() -> None:
        asyncio.run(body())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def rendered(events: Sequence[RunEvent]) -> bytes:
    return sse(ResponsesRenderer().render(events))


def status(events: Sequence[RunEvent]) -> str:
    assert isinstance(events[-1], RunFinished)
    return events[-1].status


def error_code(events: Sequence[RunEvent]) -> str | None:
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    return finished.error.code if finished.error else None


# --- going --------------------------------------------------------------------------------------


@scenario
async def test_a_background_run_ends_without_a_reader_and_its_reader_sees_what_is_stored(store: SqliteStore) -> None:
    process = Process(store)
    run = await process.start()
    seen = await process.end(run)
    assert seen == await store.events("me", run)
    assert (status(seen), process.provider.asked) == ("completed", list(range(STEPS + 1)))
    assert await store.unfinished() == []


@scenario
async def test_a_run_is_queued_until_its_first_turn_and_durable_from_the_start(store: SqliteStore) -> None:
    process = Process(store, max_background_runs=1, stop_at=0)
    first, second = await process.start(), await process.start()
    await process.provider.waits.wait()
    queued = await store.events("me", second)
    assert response_object(queued)["status"] == "queued"
    assert len(process.provider.calls) == 1
    process.provider.go_on.set()
    assert status(await process.end(first)) == status(await process.end(second)) == "completed"


@scenario
async def test_a_reader_gets_events_while_the_run_goes_and_only_such_as_are_durable(store: SqliteStore) -> None:
    process = Process(store, stop_at=2)
    run = await process.start()
    seen: list[RunEvent] = []
    async with asyncio.timeout(10):
        async for batch in process.runner.follow("me", run):
            seen += batch
            assert seen == (await store.events("me", run))[: len(seen)]
            if any(isinstance(event, TurnStarted) for event in seen):
                process.provider.go_on.set()
    assert status(seen) == "completed"


@scenario
async def test_readers_who_come_at_different_times_see_the_same(store: SqliteStore) -> None:
    process = Process(store, stop_at=7)
    run = await process.start()
    early = asyncio.create_task(process.end(run))
    await process.provider.waits.wait()
    late = asyncio.create_task(process.end(run))
    await asyncio.sleep(0)
    process.provider.go_on.set()
    assert rendered(await early) == rendered(await late) == rendered(await process.end(run))


@scenario
async def test_a_run_that_is_not_stored_cannot_go_in_the_background(store: SqliteStore) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await Process(store).start(store=False)
    assert caught.value.param == "background"


@scenario
async def test_what_cannot_begin_leaves_nothing_behind(store: SqliteStore) -> None:
    with pytest.raises(NotFound):
        await Process(store).start(previous_response_id="resp_nowhere")
    assert await store.unfinished() == []


def test_a_caller_who_leaves_while_the_run_is_written_down_leaves_it_going() -> None:
    class SlowStore(SqliteStore):
        async def begin(self, *args: Any, **fields: Any) -> None:
            entered.set()
            await go_on.wait()
            await super().begin(*args, **fields)

    async def main() -> list[RunEvent]:
        store = SlowStore.open(None, clock=FakeClock())
        process = Process(store)
        starting = asyncio.create_task(process.start())
        await entered.wait()
        starting.cancel()
        await asyncio.wait((starting,))
        go_on.set()
        return await process.end("resp_" + "1".rjust(32, "0"))

    entered, go_on = asyncio.Event(), asyncio.Event()
    assert status(asyncio.run(main())) == "completed"


# --- cancelling ---------------------------------------------------------------------------------


@scenario
async def test_a_cancel_reaches_the_upstream_and_is_the_same_each_time(store: SqliteStore) -> None:
    process = Process(store, stop_at=2)
    run = await process.start()
    await process.provider.waits.wait()
    both = await asyncio.gather(process.runner.cancel("me", run), process.runner.cancel("me", run))
    assert process.provider.cancelled == 1
    assert both[0] == both[1] == await process.runner.cancel("me", run) == await process.end(run)
    assert status(both[0]) == "cancelled"


@scenario
async def test_a_run_whose_turn_has_not_come_is_cancelled_without_a_call(store: SqliteStore) -> None:
    process = Process(store, max_background_runs=1, stop_at=0)
    first, second = await process.start(), await process.start()
    reader = asyncio.create_task(process.end(second))
    await process.provider.waits.wait()
    assert status(await process.runner.cancel("me", second)) == status(await reader) == "cancelled"
    process.provider.go_on.set()
    assert status(await process.end(first)) == "completed"
    assert process.provider.asked == list(range(STEPS + 1))


@scenario
async def test_a_run_that_is_cancelled_while_a_tool_runs_can_be_continued(store: SqliteStore) -> None:
    running = asyncio.Event()

    async def hang(call: ToolCall) -> str:
        running.set()
        await asyncio.Event().wait()
        return ""

    process = Process(store, tool=hang)
    run = await process.start()
    await running.wait()
    assert status(await process.runner.cancel("me", run)) == "cancelled"
    said = [item["type"] for item in await store.history("me", run)]
    assert said == ["message", "function_call", "function_call_output"]


@scenario
async def test_a_run_that_has_ended_is_not_cancelled_and_keeps_its_end(store: SqliteStore) -> None:
    process = Process(store)
    run = await process.start()
    ended = await process.end(run)
    assert await process.runner.cancel("me", run) == ended


@scenario
async def test_a_run_in_the_foreground_cannot_be_cancelled_and_nobody_elses_either(store: SqliteStore) -> None:
    process = Process(store)
    batches = [batch async for batch in process.runner.run("me", request(background=False))]
    assert isinstance(batches[0][0], RunStarted)
    with pytest.raises(InvalidRequest, match="Cannot cancel a synchronous response"):
        await process.runner.cancel("me", batches[0][0].run)
    run = await process.start()
    with pytest.raises(NotFound):
        await process.runner.cancel("you", run)
    with pytest.raises(NotFound):
        await anext(process.runner.follow("you", run))
    with pytest.raises(NotFound):
        await process.runner.delete("you", run)
    assert status(await process.end(run)) == "completed"


@scenario
async def test_a_run_that_is_deleted_while_it_goes_is_cancelled_first(store: SqliteStore) -> None:
    process = Process(store, stop_at=2)
    run = await process.start()
    await process.provider.waits.wait()
    await process.runner.delete("me", run)
    assert process.provider.cancelled == 1
    with pytest.raises(NotFound):
        await store.events("me", run)


# --- a process ends, and another goes on ----------------------------------------------------------


@scenario
async def test_a_process_that_is_closed_leaves_its_runs_to_the_next_one(store: SqliteStore) -> None:
    first = Process(store, stop_at=6)
    run = await first.start()
    await first.provider.waits.wait()
    await first.runner.close()
    assert [left.run for left in await store.unfinished()] == [run]
    before = await store.events("me", run)

    second = Process(store, ids_used=50)
    second.runner.begin_recovery()
    after = await second.end(run)
    assert after[: len(before)] == before
    assert rendered(after).startswith(rendered(before))
    assert (first.provider.asked, second.provider.asked) == ([0, 1], [1, 2, 3, 4])
    assert status(after) == "completed"
    assert len(first.ran + second.ran) == STEPS


@scenario
async def test_what_was_cut_is_shown_as_incomplete_and_no_model_sees_it(store: SqliteStore) -> None:
    await begun(store, [turn_started(), *flat(text_turn("the whole ", "truth")[:3])])
    process = Process(store, provider=ScriptedProvider(text_turn("42", turn=1)))
    process.runner.begin_recovery()
    events = await process.end("resp_1")
    first, second = response_object(events)["output"]
    assert (first["status"], first["content"][0]["text"]) == ("incomplete", "the whole ")
    assert (second["status"], second["content"][0]["text"]) == ("completed", "42")
    assert [item["role"] for item in process.provider.calls[0].items] == ["user"]
    history = [item["content"][0].get("text") for item in await store.history("me", "resp_1")]
    assert history == ["hi", "42"]


@scenario
async def test_a_call_that_was_whole_before_its_turn_was_cut_is_not_left_without_an_answer(store: SqliteStore) -> None:
    *_, last = tool_turn(("c1", "step", "{}"))
    whole = [*flat(tool_turn(("c1", "step", "{}"))[:-1]), last[0]]
    await begun(store, [turn_started(), *whole])
    process = Process(store)
    process.runner.begin_recovery()
    assert status(await process.end("resp_1")) == "completed"
    calls = [item["call_id"] for item in await store.history("me", "resp_1") if item["type"] == "function_call"]
    assert calls == ["call_1", "call_2", "call_3", "call_4"]
    assert [call.call_id for call in process.ran] == calls


@pytest.mark.parametrize(("setting", "profile"), [("fail", "openai"), ("retry", "open-responses")])
def test_a_turn_that_was_partly_seen_can_fail_its_run(setting: OnInterruption, profile: str) -> None:
    @scenario
    async def run(store: SqliteStore) -> None:
        await begun(store, [turn_started(), *flat(text_turn("half")[:3])], profile=profile)
        process = Process(store, on_interruption=setting)
        process.runner.begin_recovery()
        events = await process.end("resp_1")
        assert (status(events), error_code(events)) == ("failed", "interrupted")
        assert process.provider.calls == []
        assert isinstance(events[-3], TextFinished)

    run()


@pytest.mark.parametrize(("policy", "runs"), [({}, 0), ({"idempotent": True}, 1), ({"read_only": True}, 1)])
def test_a_tool_that_was_running_runs_again_only_if_that_does_no_harm(policy: dict[str, bool], runs: int) -> None:
    @scenario
    async def run(store: SqliteStore) -> None:
        calls = flat(tool_turn(("c1", "step", '{"n":0}')))
        await begun(store, [turn_started(), *calls, ToolCallExecuting(block="0.0")])
        process = Process(store, policy=ToolPolicy(**policy))
        process.runner.begin_recovery()
        events = await process.end("resp_1")
        first = next(event for event in events if isinstance(event, ToolCallCompleted | ToolCallFailed))
        assert ("unknown" in first.output) == (not runs)
        assert [call.idempotency_key for call in process.ran].count("resp_1/0.0") == runs
        assert (status(events), process.provider.asked) == ("completed", [1, 2, 3, 4])

    run()


@scenario
async def test_a_run_whose_model_is_gone_fails_and_says_so(store: SqliteStore) -> None:
    await begun(store, [])
    process = Process(store, model="another")
    assert await process.runner.recover() == 1
    events = await process.end("resp_1")
    assert (status(events), error_code(events)) == ("failed", "model_not_found")


@scenario
async def test_what_went_in_the_foreground_is_failed_and_nothing_is_asked_again(store: SqliteStore) -> None:
    responses = RunStarted(run="resp_1", created_at_s=1, model="m", request={"model": "m"})
    chat = RunStarted(run="chatcmpl_1", created_at_s=1, model="m", request={"background": True}, api="chat")
    for started in (responses, chat):
        await store.begin("me", started, parent=None, input_items=[])
    process = Process(store)
    assert await process.runner.recover() == 2
    assert error_code(await store.events("me", "resp_1")) == "interrupted"
    assert error_code(await store.events("me", "chatcmpl_1", api="chat")) == "interrupted"
    assert process.provider.calls == []


@scenario
async def test_a_run_in_a_conversation_goes_on_with_what_that_held_and_is_added_to_it(store: SqliteStore) -> None:
    said = {"id": "msg_1", "type": "message", "role": "user", "content": "before"}
    await store.conversations.create("me", "conv_1", metadata={}, items=[said])
    first = Process(store, stop_at=0)
    run = await first.start(conversation="conv_1")
    await first.provider.waits.wait()
    await first.runner.close()
    second = Process(store, ids_used=50)
    second.runner.begin_recovery()
    assert status(await second.end(run)) == "completed"
    assert second.provider.calls[0].items == first.provider.calls[0].items
    assert second.provider.calls[0].items[0]["content"] == "before"
    held = (await store.conversations.history("me", "conv_1")).items
    assert [item["type"] for item in held[:3]] == ["message", "message", "function_call"]


@scenario
async def test_runs_that_end_are_told_of_and_those_that_are_left_are_not(store: SqliteStore) -> None:
    told: list[Sequence[RunEvent]] = []
    process = Process(store, stop_at=0, on_ended=told.append)
    ends, _ = await process.start(), await process.start()
    await process.provider.waits.wait()
    await process.runner.cancel("me", ends)
    await process.runner.close()
    assert [status(events) for events in told] == ["cancelled"]


@scenario
async def test_a_reader_of_a_run_that_is_not_taken_up_yet_waits_for_it(store: SqliteStore) -> None:
    await begun(store, [turn_started()])
    process = Process(store)
    process.runner.begin_recovery()
    seen = [event async for batch in process.runner.follow("me", "resp_1") for event in batch]
    assert status(seen) == "completed"


@scenario
async def test_a_run_is_cancelled_before_it_was_taken_up(store: SqliteStore) -> None:
    await begun(store, [turn_started()])
    process = Process(store, stop_at=0)
    process.runner.begin_recovery()
    assert status(await process.runner.cancel("me", "resp_1")) == "cancelled"


# --- for any journal, cut anywhere ----------------------------------------------------------------


def turn_started(turn: int = 0) -> TurnStarted:
    return TurnStarted(turn=turn, interaction="int_0", upstream="steps", model="m")


def flat(batches: Sequence[Sequence[Any]]) -> list[Any]:
    return [event for batch in batches for event in batch]


async def begun(store: SqliteStore, events: Sequence[RunEvent], *, profile: str = "openai") -> None:
    """What a process that died has left of a run: its start and these events."""
    fields = {"model": "m", "background": True}
    started = RunStarted(run="resp_1", created_at_s=1, model="m", request=fields, profile=profile)
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    await store.begin("me", started, parent=None, input_items=[asked])
    await store.append("me", "resp_1", events)


@st.composite
def commits(draw: st.DrawFn, events: list[RunEvent]) -> list[list[RunEvent]]:
    """Some beginning of a journal, in any commits; never the whole."""
    left = events[: draw(st.integers(1, len(events) - 1))]
    pieces = [left[:1]]
    while sum(map(len, pieces)) < len(left):
        done = sum(map(len, pieces))
        pieces.append(left[done : done + draw(st.integers(1, len(left) - done))])
    return pieces


def whole_journal() -> list[RunEvent]:
    async def main() -> list[RunEvent]:
        process = Process(SqliteStore.open(None, clock=FakeClock()))
        return await process.end(await process.start())

    return asyncio.run(main())


@given(data=st.data(), policy=st.sampled_from([ToolPolicy(), ToolPolicy(idempotent=True)]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_goes_on_from_whatever_was_committed(data: st.DataObject, policy: ToolPolicy) -> None:
    """For any split of commits and any two points of death: it ends right, and nothing that stands changes."""
    journal = data.draw(commits(WHOLE))
    again = data.draw(st.integers(0, 30))

    async def main() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        started = journal[0][0]
        assert isinstance(started, RunStarted)
        asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
        await store.begin("me", started, parent=None, input_items=[asked])
        for commit in journal[1:]:
            await store.append("me", started.run, commit)
        first = Process(store, policy=policy, stop_at=again, ids_used=50)
        await die(first, started.run)
        seen = await store.events("me", started.run)
        second = Process(store, policy=policy, ids_used=90)
        second.runner.begin_recovery()
        events = await second.end(started.run)
        await store.close()
        check(flat(journal), seen, events, first, second, policy)

    asyncio.run(main())


async def die(process: Process, run: str) -> None:
    """Go on with the run until its upstream says nothing more, and stop there as a dead process does."""
    process.runner.begin_recovery()
    end = asyncio.create_task(process.end(run))
    silent = asyncio.create_task(process.provider.waits.wait())
    await asyncio.wait((end, silent), return_when=asyncio.FIRST_COMPLETED)
    if not end.done():
        await process.runner.close()
        await asyncio.wait((end,))
        end.exception()
    silent.cancel()


def check(
    left: list[RunEvent],
    seen: list[RunEvent],
    events: list[RunEvent],
    first: Process,
    second: Process,
    policy: ToolPolicy,
) -> None:
    assert status(events) == "completed"
    assert response_object(events)["output"][-1]["content"][0]["text"] == "all done"
    # What a reader saw stays, to the byte.
    assert seen[: len(left)] == left
    assert events[: len(seen)] == seen
    assert rendered(events).startswith(rendered(seen))
    assert rendered(seen).startswith(rendered(left))
    # A finished turn is never asked again: each step was finished once, and whatever was asked more was cut.
    assert sum(isinstance(event, TurnFinished) for event in events) == STEPS + 1
    cut = sum(isinstance(event, TurnFailed) for event in events)
    assert sum(isinstance(event, TurnStarted) for event in events) == STEPS + 1 + cut
    asked_before = max((n for n in range(STEPS + 1) if n <= finished_turns(left)), default=0)
    assert all(asked >= asked_before for asked in first.provider.asked + second.provider.asked)
    # A tool that may not run twice did not; what it was asked has one answer, in any case.
    keys = [call.idempotency_key for call in first.ran + second.ran]
    if not policy.idempotent:
        assert len(keys) == len(set(keys))
    answered = [event.block for event in events if isinstance(event, ToolCallCompleted | ToolCallFailed)]
    assert len(answered) == len(set(answered)) == STEPS
    # Numbers of events have no gap, ids of blocks no double.
    begun_blocks = [event.block for event in events if type(event).__name__ == "ToolCallStarted"]  # type: ignore[union-attr]
    assert len(begun_blocks) == len(set(begun_blocks))


def finished_turns(events: Sequence[RunEvent]) -> int:
    return sum(isinstance(event, TurnFinished) for event in events)


WHOLE = whole_journal()


def test_the_journal_that_is_cut_holds_all_that_matters() -> None:
    kinds = {type(event) for event in WHOLE}
    assert {TurnStarted, TurnFinished, ToolCallExecuting, ToolCallCompleted, TextDelta, RunFinished} <= kinds
