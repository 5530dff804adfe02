"""Resume is feeding: what a journal that broke off leaves to do, and what closes what it had under way."""

from typing import Any

from antiphon.agent.effects import AskApproval, CallModel, CallTools, Finish, ToolPolicy
from antiphon.agent.limits import Limits
from antiphon.agent.machine import INTERRUPTED, Machine
from antiphon.events import (
    ApprovalRequested,
    ErrorInfo,
    Event,
    RunFinished,
    RunStarted,
    TextDelta,
    TextStarted,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    TurnFailed,
    TurnStarted,
)
from antiphon.testing import text_turn, tool_turn

STARTED = RunStarted(run="resp_1", created_at_s=1, model="m", request={})
TWO_CALLS = tool_turn(("c1", "send", "{}"), ("c2", "look", "{}"))
TOOLS = {"send": ToolPolicy(), "look": ToolPolicy(read_only=True), "put": ToolPolicy(idempotent=True)}


def turn_started(turn: int = 0) -> TurnStarted:
    return TurnStarted(turn=turn, interaction="int_1", upstream="u", model="m")


def turn(batches: list[list[Any]], number: int = 0) -> list[Event]:
    return [turn_started(number), *(event for batch in batches for event in batch)]


def fed(*events: Event, **options: Any) -> Machine:
    machine = Machine(options.pop("limits", None), options.pop("tools", TOOLS))
    machine.feed_all([STARTED, *events])
    return machine


def test_a_run_that_was_only_accepted_begins() -> None:
    assert fed().pending == CallModel(0, 0)
    assert fed().interruption(retry=True) == []


def test_a_turn_that_was_finished_is_not_asked_again() -> None:
    assert fed(*turn(text_turn("hi"))).pending == Finish("completed")
    assert fed(*turn(text_turn("hi"))).interruption(retry=True) == []


def test_a_turn_nobody_saw_anything_of_is_asked_again_whatever_the_setting() -> None:
    for retry in (True, False):
        machine = fed(turn_started())
        assert machine.pending is None
        (failed,) = machine.interruption(retry=retry)
        assert isinstance(failed, TurnFailed)
        assert (failed.error.code, failed.retryable) == (INTERRUPTED, True)
        assert machine.feed(failed) == machine.pending == CallModel(1, 0)


def test_a_turn_that_was_partly_seen_is_closed_and_asked_again_as_a_new_one() -> None:
    machine = fed(turn_started(), TextStarted(block="0.0"), TextDelta(block="0.0", text="h"))
    closed, failed = machine.interruption(retry=True)
    assert (type(closed).__name__, closed.status) == ("TextFinished", "incomplete")  # type: ignore[union-attr]
    assert machine.feed(failed) == CallModel(1, 0)
    assert machine.interruption(retry=True) == []


def test_a_turn_that_was_partly_seen_fails_the_run_if_it_is_not_to_be_retried() -> None:
    machine = fed(turn_started(), TextStarted(block="0.0"))
    effect = machine.feed_all(machine.interruption(retry=False))
    assert isinstance(effect, Finish)
    assert effect.error is not None
    assert (effect.status, effect.error.code) == ("failed", INTERRUPTED)


def test_a_run_that_ends_every_process_ends_at_its_limit_of_turns() -> None:
    machine = fed(turn_started(turn=1), limits=Limits(max_turns=2))
    assert machine.feed_all(machine.interruption(retry=True)) == Finish("incomplete", "max_turns")


def test_calls_that_were_not_begun_are_run() -> None:
    effect = fed(*turn(TWO_CALLS)).pending
    assert isinstance(effect, CallTools)
    assert ([call.name for call in effect.calls], effect.unknown) == (["send", "look"], ())


def test_of_calls_that_were_running_only_harmless_ones_are_run_again() -> None:
    running = [ToolCallExecuting(block="0.0"), ToolCallExecuting(block="0.1"), ToolCallExecuting(block="0.2")]
    calls = tool_turn(("c1", "send", "{}"), ("c2", "look", "{}"), ("c3", "put", "{}"))
    effect = fed(*turn(calls), *running).pending
    assert isinstance(effect, CallTools)
    assert [call.name for call in effect.calls] == ["look", "put"]
    assert [call.name for call in effect.unknown] == ["send"]


def test_calls_that_were_answered_are_not_run_again() -> None:
    running = [ToolCallExecuting(block="0.0"), ToolCallExecuting(block="0.1")]
    machine = fed(*turn(TWO_CALLS), *running, ToolCallCompleted(block="0.0", output="sent"))
    effect = machine.pending
    assert isinstance(effect, CallTools)
    assert ([call.name for call in effect.calls], effect.unknown) == (["look"], ())
    assert machine.feed(ToolCallCompleted(block="0.1", output="seen")) == machine.pending == CallModel(1, 0)


def test_calls_beyond_the_limit_stay_refused_and_are_not_counted_twice() -> None:
    calls = tool_turn(("c1", "look", "{}"), ("c2", "look", "{}"), ("c3", "look", "{}"))
    effect = fed(*turn(calls), ToolCallExecuting(block="0.0"), limits=Limits(max_tool_calls=2)).pending
    assert isinstance(effect, CallTools)
    assert ([call.call_id for call in effect.calls], [call.call_id for call in effect.refused]) == (
        ["c1", "c2"],
        ["c3"],
    )


def test_a_call_has_the_same_key_each_time_it_is_run_and_no_other_call_has_it() -> None:
    calls = turn(TWO_CALLS)
    effects = [fed(*calls).pending, fed(*calls, ToolCallExecuting(block="0.1")).pending]
    keys = [[call.idempotency_key for call in effect.calls] for effect in effects]  # type: ignore[union-attr]
    assert keys[0] == keys[1] == ["resp_1/0.0", "resp_1/0.1"]


def test_an_approval_is_asked_for_once() -> None:
    tools = {"send": ToolPolicy(needs_approval=True)}
    calls = turn(tool_turn(("c1", "send", "{}")))
    assert isinstance(fed(*calls, tools=tools).pending, AskApproval)
    assert fed(*calls, ApprovalRequested(block="0.0", approval_id="a"), tools=tools).pending is None


def test_a_run_that_has_ended_leaves_nothing() -> None:
    assert fed(*turn(text_turn("hi")), RunFinished(status="completed", finished_at_s=2)).pending is None


def test_a_run_that_is_ended_while_its_tools_run_owes_no_answers() -> None:
    machine = fed(*turn(TWO_CALLS), ToolCallExecuting(block="0.0"), ToolCallExecuting(block="0.1"))
    closing = machine.closing()
    assert [event.block for event in closing if isinstance(event, ToolCallFailed)] == ["0.0", "0.1"]
    assert machine.closing() == []


def test_a_failure_that_is_not_an_interruption_is_still_tried_with_the_next_target() -> None:
    down = TurnFailed(turn=0, error=ErrorInfo(code="upstream_connect_failed", message="down"), retryable=True)
    assert fed(turn_started(), down, limits=Limits(max_attempts=2)).pending == CallModel(0, 1)
