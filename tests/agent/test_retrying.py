"""When a model is asked again, and when not: before anything was shown, after a wait, and never because of a tool."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from antiphon.agent.acting import Tool
from antiphon.agent.journal import Journal
from antiphon.agent.limits import Limits
from antiphon.agent.loop import Loop, Target
from antiphon.agent.retrying import backoff_s, chance_of, target_of
from antiphon.clock import CountingIds, FakeClock
from antiphon.events import ErrorInfo, RunEvent, RunFinished, RunStarted, TurnFailed, TurnStarted
from antiphon.testing import ScriptedProvider, text_turn
from antiphon.wire.responses import decode_request, input_items


def down(turn: int = 0, retry_after_s: float | None = None) -> list[list[TurnFailed]]:
    error = ErrorInfo(code="upstream_unavailable", message="overloaded", retry_after_s=retry_after_s)
    return [[TurnFailed(turn=turn, error=error, retryable=True)]]


def run(*targets: ScriptedProvider, **limits: Any) -> tuple[list[RunEvent], FakeClock]:
    clock = FakeClock()
    request = decode_request(b'{"model":"m","input":"hi"}')
    started = RunStarted(run="resp_1", created_at_s=0, model="m", request={"model": "m"})
    loop = Loop(
        run="resp_1",
        request=request,
        items=input_items(request),
        targets=[Target(each, each.name) for each in targets],
        journal=Journal(None, "", started),
        clock=clock,
        ids=CountingIds(),
        limits=Limits(**limits),
        tools=dict[str, Tool](),
    )

    async def collect() -> list[RunEvent]:
        return [event async for batch in loop.events() for event in batch]

    return asyncio.run(collect()), clock


def ended(events: Sequence[RunEvent]) -> RunFinished:
    assert isinstance(events[-1], RunFinished)
    return events[-1]


def test_a_call_that_failed_is_made_again_after_waits_that_grow() -> None:
    events, clock = run(ScriptedProvider(down(), down(), down(), text_turn("hi")), max_attempts=4, retry_wait_s=1.0)
    assert ended(events).status == "completed"
    first, second, third = clock.slept_s
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4


def test_each_fallback_is_asked_at_once_and_the_waiting_begins_with_the_second_round() -> None:
    one, two = ScriptedProvider(down(), down(), name="one"), ScriptedProvider(down(), text_turn("hi"), name="two")
    events, clock = run(one, two, max_attempts=4)
    assert [event.upstream for event in events if isinstance(event, TurnStarted)] == ["one", "two", "one", "two"]
    assert len(clock.slept_s) == 2


def test_what_an_upstream_asks_for_is_waited() -> None:
    _, clock = run(ScriptedProvider(down(retry_after_s=20.0), text_turn("hi")), max_attempts=2, retry_wait_s=1.0)
    assert 20 <= clock.slept_s[0] <= 21


def test_a_run_fails_where_an_upstream_asks_for_more_patience_than_there_is() -> None:
    provider = ScriptedProvider(down(retry_after_s=3600.0))
    events, clock = run(provider, max_attempts=3, max_retry_wait_s=60.0)
    finished = ended(events)
    assert (finished.status, clock.slept_s) == ("failed", [])
    assert finished.error is not None
    assert finished.error.retry_after_s == 3600


def test_a_run_that_waits_too_long_ends_at_its_limit_of_time() -> None:
    events, _ = run(ScriptedProvider(down(retry_after_s=50.0), text_turn("hi")), max_attempts=2, timeout_s=10)
    error = ended(events).error
    assert error is not None
    assert error.code == "limit_exceeded"


@given(st.integers(0, 1000), st.integers(1, 5), st.floats(0, 1), st.floats(0.01, 10), st.floats(10, 100))
def test_no_wait_that_nobody_asked_for_is_longer_than_the_limit(
    attempt: int, targets: int, chance: float, first_s: float, max_s: float
) -> None:
    wait = backoff_s(attempt, None, targets=targets, first_s=first_s, max_s=max_s, chance=chance)
    assert wait is not None
    assert 0 <= wait <= max_s
    assert (wait == 0) == (attempt < targets)


@given(st.floats(0, 1000), st.floats(0, 1))
def test_no_wait_is_shorter_than_what_was_asked_for(asked_s: float, chance: float) -> None:
    wait = backoff_s(1, asked_s, first_s=1, max_s=60, chance=chance)
    assert (wait is None) == (asked_s > 60)
    assert wait is None or wait >= asked_s


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    chances = {chance_of(f"resp_{number}/0/1") for number in range(100)}
    assert len(chances) == 100
    assert all(0 <= chance < 1 for chance in chances)
    assert [target_of(attempt, 2) for attempt in range(4)] == [0, 1, 0, 1]
