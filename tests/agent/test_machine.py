"""The machine decides from events alone: what is next, and when a run is over."""

from typing import Any

from antiphon.agent.effects import AskApproval, CallModel, CallTools, Effect, Finish, ToolPolicy
from antiphon.agent.limits import Limits
from antiphon.agent.machine import Machine, State
from antiphon.agent.prices import Price
from antiphon.events import (
    ApprovalDecided,
    ErrorInfo,
    Event,
    ReasoningStarted,
    RunStarted,
    TextDelta,
    TextStarted,
    ToolCallCompleted,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)
from antiphon.testing import text_turn, tool_turn

DOWN = ErrorInfo(code="upstream_connect_failed", message="down")


def turn_started(turn: int = 0, attempt: int = 0) -> TurnStarted:
    return TurnStarted(turn=turn, attempt=attempt, interaction="int_1", upstream="u", model="m")


def feed(machine: Machine, *events: Event) -> list[Effect]:
    return [effect for event in events if (effect := machine.feed(event)) is not None]


def play(machine: Machine, batches: list[list[Event]], turn: int = 0) -> list[Effect]:
    return feed(machine, turn_started(turn), *(event for batch in batches for event in batch))


def test_a_run_begins_with_a_model_call() -> None:
    started = RunStarted(run="resp_1", created_at_s=1, model="m", request={})
    assert Machine().feed(started) == CallModel(turn=0, attempt=0)


def test_an_answer_without_calls_completes_the_run() -> None:
    assert play(Machine(), text_turn("hi")) == [Finish("completed")]


def test_calls_of_tools_the_server_does_not_have_are_the_clients_and_complete_the_run() -> None:
    assert play(Machine(), tool_turn(("c1", "add", "{}"), ("c2", "multiply", "{}"))) == [Finish("completed")]


def test_the_token_limit_and_a_filter_make_the_run_incomplete() -> None:
    assert play(Machine(), text_turn("hi", finish_reason="length")) == [Finish("incomplete", "max_output_tokens")]
    assert play(Machine(), text_turn("", finish_reason="content_filter")) == [Finish("incomplete", "content_filter")]


def test_a_call_that_was_cut_off_is_never_executed() -> None:
    machine = Machine(tools={"add": ToolPolicy()})
    effects = feed(
        machine,
        turn_started(),
        ToolCallStarted(block="0.0", call_id="c1", name="add"),
        ToolCallFinished(block="0.0", arguments='{"a":', status="incomplete"),
        TurnFinished(turn=0, finish_reason="tool_calls"),
    )
    assert effects == [Finish("incomplete", "max_output_tokens")]


def test_the_servers_own_calls_are_executed_and_their_results_start_the_next_turn() -> None:
    machine = Machine(tools={"add": ToolPolicy(), "multiply": ToolPolicy()})
    (effect,) = play(machine, tool_turn(("c1", "add", "{}"), ("c2", "multiply", "{}")))
    assert isinstance(effect, CallTools)
    assert [call.name for call in effect.calls] == ["add", "multiply"]
    assert feed(machine, ToolCallCompleted(block="0.1", output="6")) == []
    assert feed(machine, ToolCallCompleted(block="0.0", output="5")) == [CallModel(turn=1, attempt=0)]


def test_a_mixed_batch_runs_the_servers_calls_and_leaves_the_rest_to_the_client() -> None:
    machine = Machine(tools={"add": ToolPolicy()})
    (effect,) = play(machine, tool_turn(("c1", "add", "{}"), ("c2", "shell", "{}")))
    assert isinstance(effect, CallTools)
    assert [call.name for call in effect.calls] == ["add"]
    assert feed(machine, ToolCallCompleted(block="0.0", output="5")) == [Finish("completed")]


def test_nothing_of_a_batch_runs_before_the_decision_and_a_denied_call_never_does() -> None:
    machine = Machine(tools={"add": ToolPolicy(), "delete": ToolPolicy(needs_approval=True)})
    (effect,) = play(machine, tool_turn(("c1", "add", "{}"), ("c2", "delete", "{}")))
    assert isinstance(effect, AskApproval)
    assert [call.name for call in effect.calls] == ["delete"]
    assert machine.state is State.WAITING
    (effect,) = feed(machine, ApprovalDecided(block="0.1", approval_id="a", approved=False))
    assert isinstance(effect, CallTools)
    assert ([call.name for call in effect.calls], [call.name for call in effect.refused]) == (["add"], ["delete"])


def test_calls_beyond_the_limit_are_answered_but_not_run() -> None:
    machine = Machine(Limits(max_tool_calls=1), {"add": ToolPolicy()})
    (effect,) = play(machine, tool_turn(("c1", "add", "{}"), ("c2", "add", "{}")))
    assert isinstance(effect, CallTools)
    assert ([call.call_id for call in effect.calls], [call.call_id for call in effect.refused]) == (["c1"], ["c2"])


def test_a_run_ends_incomplete_at_its_limit_of_turns() -> None:
    machine = Machine(Limits(max_turns=1), {"add": ToolPolicy()})
    play(machine, tool_turn(("c1", "add", "{}")))
    assert feed(machine, ToolCallCompleted(block="0.0", output="5")) == [Finish("incomplete", "max_turns")]


def test_a_failure_nobody_saw_anything_of_is_tried_again_while_tries_are_left() -> None:
    machine = Machine(Limits(max_attempts=2))
    failed = TurnFailed(turn=0, error=DOWN, retryable=True)
    assert feed(machine, turn_started(), failed) == [CallModel(turn=0, attempt=1)]
    assert feed(machine, turn_started(attempt=1), failed) == [Finish("failed", error=DOWN)]


def test_a_failure_after_something_was_shown_is_final() -> None:
    machine = Machine(Limits(max_attempts=5))
    shown = [turn_started(), TextStarted(block="0.0"), TextDelta(block="0.0", text="h")]
    assert feed(machine, *shown, TurnFailed(turn=0, error=DOWN, retryable=True)) == [Finish("failed", error=DOWN)]


def test_a_failure_that_cannot_pass_is_not_tried_again() -> None:
    machine = Machine(Limits(max_attempts=5))
    assert feed(machine, turn_started(), TurnFailed(turn=0, error=DOWN)) == [Finish("failed", error=DOWN)]


def test_what_is_still_open_can_be_closed_as_incomplete_once() -> None:
    machine = Machine()
    feed(machine, turn_started(), ReasoningStarted(block="0.0"), ToolCallStarted(block="0.1", call_id="c", name="f"))
    closing = machine.close_open_blocks()
    assert [(type(event).__name__, event.block, event.status) for event in closing] == [  # type: ignore[union-attr]
        ("ReasoningFinished", "0.0", "incomplete"),
        ("ToolCallFinished", "0.1", "incomplete"),
    ]
    assert machine.close_open_blocks() == []


def test_a_machine_fed_a_recorded_prefix_stands_where_the_run_stood() -> None:
    """Resume is feeding: what the journal holds is not asked for again."""
    tools = {"add": ToolPolicy()}
    recorded = [turn_started(), *(event for batch in tool_turn(("c1", "add", "{}")) for event in batch)]
    assert isinstance(Machine(tools=tools).feed_all(recorded), CallTools)
    recorded.append(ToolCallCompleted(block="0.0", output="5"))
    assert Machine(tools=tools).feed_all(recorded) == CallModel(turn=1, attempt=0)


def test_where_the_clients_tools_are_known_a_call_of_no_tool_is_to_be_answered() -> None:
    machine = Machine(tools={"add": ToolPolicy()}, client_tools=("shell",))
    (effect,) = play(machine, tool_turn(("c1", "ad", "{}"), ("c2", "shell", "{}")))
    assert isinstance(effect, CallTools)
    assert [call.name for call in effect.calls] == ["ad"]
    assert feed(machine, ToolCallCompleted(block="0.0", output="no such tool")) == [Finish("completed")]


def test_no_turn_begins_when_the_tokens_are_used_up_but_an_answer_that_is_there_stays() -> None:
    limits = Limits(max_total_tokens=11)
    machine = Machine(limits, {"add": ToolPolicy()})
    play(machine, tool_turn(("c1", "add", "{}")))
    assert feed(machine, ToolCallCompleted(block="0.0", output="5")) == [Finish("incomplete", "max_total_tokens")]
    assert play(Machine(limits), text_turn("a", "b", "c")) == [Finish("completed")]


# --- limits of cost and of going in a circle ----------------------------------------------------


def in_vain(machine: Machine, turns: int, output: str = "nothing") -> Any:
    """Turns that make the same call, each with this result."""
    effect = None
    for number in range(turns):
        block = f"{number}.0"
        machine.feed(TurnStarted(turn=number, interaction="i", upstream="u", model="m"))
        machine.feed(ToolCallStarted(block=block, call_id=f"c{number}", name="look"))
        machine.feed(ToolCallFinished(block=block, arguments="{}"))
        usage = Usage(input_tokens=500_000, output_tokens=100_000, cached_tokens=100_000)
        machine.feed(TurnFinished(turn=number, finish_reason="tool_calls", usage=usage))
        effect = machine.feed(ToolCallCompleted(block=block, output=output.format(number)))
        if isinstance(effect, Finish):
            break
    return effect


def test_a_run_that_makes_one_call_with_one_result_again_and_again_ends_at_its_limit() -> None:
    tools = {"look": ToolPolicy()}
    started = RunStarted(run="resp_1", created_at_s=0, model="m", request={})
    machine = Machine(Limits(max_repeats=3), tools)
    machine.feed(started)
    assert in_vain(machine, 9) == Finish("incomplete", "max_repeats")
    patient = Machine(Limits(max_repeats=3), tools)
    patient.feed(started)
    assert in_vain(patient, 9, "still at {}") == CallModel(9, 0)


def test_no_turn_begins_when_the_turns_before_it_cost_too_much() -> None:
    price = Price(input_usd_per_1m=1.0, output_usd_per_1m=10.0, cached_usd_per_1m=0.0)
    machine = Machine(Limits(max_cost_usd=2.0, prices={"m": price}), {"look": ToolPolicy()})
    machine.feed(RunStarted(run="resp_1", created_at_s=0, model="m", request={}))
    assert in_vain(machine, 9, "{}") == Finish("incomplete", "max_cost_usd")
    assert machine._turn == 1  # 1.4 dollars a turn
