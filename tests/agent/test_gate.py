"""No call that a request excludes gets past the gate, whatever the upstream does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.agent.gate import ToolGate
from antiphon.events import (
    Diagnostic,
    ModelEvent,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
    Usage,
)
from antiphon.testing import text_turn, tool_turn
from antiphon.wire.responses import CreateResponse

Batches = list[list[ModelEvent]]


def let_through(batches: Batches, max_calls: int | None = None, **request: Any) -> list[ModelEvent]:
    gate = ToolGate(CreateResponse(model="m", input="hi", **request), max_calls=max_calls)
    return [event for batch in batches for event in gate.let_through(batch)]


def calls(events: list[ModelEvent]) -> list[str]:
    return [event.name for event in events if isinstance(event, ToolCallStarted)]


def diagnostics(events: list[ModelEvent]) -> list[str]:
    return [event.quirk for event in events if isinstance(event, Diagnostic)]


TWO = tool_turn(("c1", "add", "{}"), ("c2", "multiply", "{}"))
ONLY_ADD = {
    "type": "allowed_tools",
    "mode": "auto",
    "tools": [{"type": "function", "name": "add"}, {"type": "function", "name": "subtract"}],
}


@pytest.mark.parametrize(
    ("choice", "passed"),
    [
        (None, ["add", "multiply"]),
        ("auto", ["add", "multiply"]),
        ("required", ["add", "multiply"]),
        (ONLY_ADD, ["add"]),
        ({"type": "function", "name": "multiply"}, ["multiply"]),
        ({"type": "custom", "name": "multiply"}, []),
        ({"type": "function", "name": "add", "namespace": "elsewhere"}, []),
        ({"type": "allowed_tools", "tools": [{"type": "mcp", "server_label": "s"}]}, []),
        ({"type": "web_search"}, ["add", "multiply"]),
        ("none", []),
    ],
)
def test_only_calls_that_the_choice_allows_pass(choice: Any, passed: list[str]) -> None:
    assert calls(let_through(TWO, tool_choice=choice)) == passed


def test_of_a_call_that_does_not_pass_nothing_passes() -> None:
    events = let_through(TWO, tool_choice=ONLY_ADD)
    blocks = {event.block for event in events if isinstance(event, ToolCallStarted | ToolCallDelta | ToolCallFinished)}
    assert blocks == {"0.0"}
    assert diagnostics(events) == ["tool_not_allowed"]
    assert isinstance(events[-1], TurnFinished)


def test_a_turn_of_nothing_but_forbidden_calls_has_failed() -> None:
    failed = let_through(tool_turn(("c", "delete_all", "{}")), tool_choice=ONLY_ADD)[-1]
    assert isinstance(failed, TurnFailed)
    assert (failed.error.code, failed.retryable) == ("tool_not_allowed", True)
    assert "delete_all" in failed.error.message
    assert failed.usage == Usage(input_tokens=10, output_tokens=1, total_tokens=11)


def test_text_beside_a_forbidden_call_is_kept() -> None:
    events = let_through([*text_turn("Hello")[:-1], *tool_turn(("c", "delete_all", "{}"))], tool_choice="none")
    assert isinstance(events[-1], TurnFinished)
    assert calls(events) == []


def test_without_parallel_calls_the_first_one_passes() -> None:
    events = let_through(TWO, parallel_tool_calls=False)
    assert (calls(events), diagnostics(events)) == (["add"], ["parallel_tool_calls"])
    assert isinstance(events[-1], TurnFinished)


def test_no_more_calls_than_are_left_pass() -> None:
    assert calls(let_through(TWO, max_calls=1)) == ["add"]
    events = let_through(TWO, max_calls=0)
    assert (calls(events), diagnostics(events)) == ([], ["max_tool_calls"] * 2)
    assert isinstance(events[-1], TurnFinished)  # the limit is the client's own, and reaching it no failure


@given(st.lists(st.sampled_from(["add", "subtract", "multiply"])), st.booleans())
def test_what_passes_is_allowed_and_in_order(names: list[str], parallel: bool) -> None:
    turn = tool_turn(*((f"c{n}", name, "{}") for n, name in enumerate(names)))
    passed = calls(let_through(turn, tool_choice=ONLY_ADD, parallel_tool_calls=parallel))
    allowed = [name for name in names if name != "multiply"]
    assert passed == (allowed if parallel else allowed[:1])


def test_where_nothing_is_limited_the_very_list_is_passed_on() -> None:
    batch = TWO[1]
    assert ToolGate(CreateResponse(model="m")).let_through(batch) is batch
