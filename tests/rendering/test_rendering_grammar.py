"""The grammar of the stream, item by item, for anything a model may do."""

import itertools
import json
import re
from collections import defaultdict
from typing import Any

from event_sequences import SEALER, few, runs
from hypothesis import given
from hypothesis import strategies as st

from antiphon.events import (
    Event,
    ReasoningDelta,
    ReasoningStarted,
    RefusalDelta,
    RefusalStarted,
    TextDelta,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from antiphon.rendering.items import output_items, public
from antiphon.rendering.responses import ResponsesRenderer, response_object

RUN_EVENTS = {"created", "in_progress", "completed", "incomplete", "failed"}
# One letter for each event of an item; those of a part are looked at part by part.
LETTERS = {
    "output_item.added": "<",
    "output_item.done": ">",
    "content_part.added": "(",
    "reasoning_summary_part.added": "(",
    "content_part.done": ")",
    "reasoning_summary_part.done": ")",
    "output_text.annotation.added": "a",
    "output_text.delta": "t",
    "output_text.done": "T",
    "refusal.delta": "r",
    "refusal.done": "R",
    "reasoning_summary_text.delta": "s",
    "reasoning_summary_text.done": "S",
    "reasoning_text.delta": "s",
    "reasoning_text.done": "S",
    "reasoning.delta": "s",
    "reasoning.done": "S",
    "function_call_arguments.delta": "c",
    "function_call_arguments.done": "C",
    "custom_tool_call_input.delta": "c",
    "custom_tool_call_input.done": "C",
    "mcp_call_arguments.delta": "c",
    "mcp_call_arguments.done": "C",
    "mcp_call.in_progress": "p",
    "mcp_call.completed": "d",
    "mcp_call.failed": "d",
    "mcp_list_tools.in_progress": "p",
    "mcp_list_tools.completed": "d",
    "mcp_list_tools.failed": "d",
    "file_search_call.in_progress": "p",
    "file_search_call.searching": "q",
    "file_search_call.completed": "d",
}
# A part: announced, deltas, the whole text, closed.
PART = r"\([ta]*T\)|\(r*R\)|\(s+S\)"
ITEMS = {
    "message": r"<(\(|[aTtRr]|\))*>",
    "reasoning": r"<(\(s+S\))?>",
    "function_call": r"<c*C>",
    "custom_tool_call": r"<c*C>",
    "function_call_output": r"<>",
    "custom_tool_call_output": r"<>",
    "mcp_list_tools": r"<pd>",
    "mcp_call": r"<pc*Cd?>",
    "mcp_approval_request": r"<>",
    "file_search_call": r"<pq?d?>",
}


def stream(events: list[Event]) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in ResponsesRenderer(sealer=SEALER).render(events)]


def kind(event: dict[str, Any]) -> str:
    return str(event["type"]).removeprefix("response.")


@few
@given(runs())
def test_every_item_and_every_part_obeys_the_grammar(events: list[Event]) -> None:
    shown = stream(events)
    of_item: defaultdict[int, str] = defaultdict(str)
    of_part: defaultdict[tuple[int, int], str] = defaultdict(str)
    output = shown[-1]["response"]["output"]
    for event in shown:
        if kind(event) in RUN_EVENTS:
            continue
        index, letter = event["output_index"], LETTERS[kind(event)]
        of_item[index] += letter
        part = event.get("content_index", event.get("summary_index"))
        if part is not None:
            of_part[index, part] += letter
        assert event.get("item_id", output[index]["id"]) == output[index]["id"]
    assert all(re.fullmatch(PART, letters) for letters in of_part.values())
    assert all(re.fullmatch(ITEMS[output[index]["type"]], letters) for index, letters in of_item.items())
    for index, item in enumerate(output):
        parts = [*item.get("content", []), *item.get("summary", [])]
        assert [part for item_index, part in sorted(of_part) if item_index == index] == list(range(len(parts)))


@few
@given(runs())
def test_deltas_add_up_to_the_text_that_done_repeats(events: list[Event]) -> None:
    streamed: defaultdict[tuple[Any, ...], str] = defaultdict(str)
    for event in stream(events):
        place = tuple(event.get(name) for name in ("output_index", "content_index", "summary_index"))
        if event["type"].endswith(".delta"):
            assert event["delta"] != ""
            streamed[place] += event["delta"]
        elif "text" in event or "refusal" in event:
            assert streamed.pop(place, "") == event.get("text", event.get("refusal"))
        elif "arguments" in event or "input" in event:
            whole, deltas = event.get("arguments", event.get("input")), streamed.pop(place, "")
            assert deltas == whole or not whole.startswith(deltas)
    assert not streamed


@few
@given(runs(hosted=False))
def test_all_that_choice_zero_said_is_in_the_output_in_order_and_nothing_else(events: list[Event]) -> None:
    said: dict[str, str] = {}
    for event in events:
        match event:
            case TextStarted() | RefusalStarted() | ReasoningStarted() | ToolCallStarted() if not event.choice:
                said[event.block] = ""
            case TextDelta() | RefusalDelta() | ReasoningDelta() if event.block in said:
                said[event.block] += event.text
            case ToolCallDelta() if event.block in said:
                said[event.block] += event.arguments
            case ToolCallFinished() if event.block in said:
                said[event.block] = event.arguments
            case _:
                pass
    shown: list[str] = []
    for item in response_object(events)["output"]:
        shown += [part["text"] for part in item.get("summary", [])]
        shown += [part.get("text", part.get("refusal")) for part in item.get("content", [])]
        shown += [item[name] for name in ("arguments", "input") if name in item]
    assert [text for text in shown if text] == [text for text in said.values() if text]


@few
@given(runs(), st.data())
def test_any_beginning_of_a_journal_can_be_shown(events: list[Event], data: st.DataObject) -> None:
    """``GET`` while the run goes on: what is closed stays as it is, what is open shows what it has."""
    length = data.draw(st.integers(1, len(events)))
    so_far, whole = response_object(events[:length]), response_object(events)
    if length < len(events):
        assert so_far["status"] == "in_progress"
    for early, late in zip(so_far["output"], whole["output"], strict=False):
        assert early["id"] == late["id"]
        assert early == late or early.get("status", "in_progress") == "in_progress"
    assert [public(item) for item in output_items(events[:length], events[0].run)] == so_far["output"]  # type: ignore[attr-defined]


@few
@given(runs(), st.integers(0, 200))
def test_the_events_after_a_number_are_the_same_when_rendered_again(events: list[Event], after: int) -> None:
    """``starting_after``: render from the start and skip; so a frame's place in the list is its number."""
    frames = ResponsesRenderer().render(events)
    numbers = [json.loads(frame.data)["sequence_number"] for frame in frames[after + 1 :]]
    assert numbers == list(range(after + 1, len(frames)))
    assert all(a.data != b.data for a, b in itertools.pairwise(frames))
