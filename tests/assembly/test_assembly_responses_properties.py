"""Streams of the Responses API: our own, others' recordings, and wild ones, cut anywhere."""

import functools
import gzip
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from assembly_streams import cut, reasoning, text, told_calls
from hypothesis import given, settings
from hypothesis import strategies as st
from response_streams import CREATED, called, delta, end, feed, sse, told
from test_assembly_properties import check_lifecycle

from antiphon.events import (
    Event,
    ModelEvent,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RunFinished,
    RunStarted,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from antiphon.rendering.responses import ResponsesRenderer
from antiphon.rendering.responses import sse as framed

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
LISTED = CORPUS / "expected_responses.jsonl"
EXPECTED = [json.loads(line) for line in LISTED.read_text().splitlines()] if LISTED.exists() else []


def check_calls(events: list[ModelEvent]) -> None:
    """No call without a name, no two with one id, and no function whole that is not JSON."""
    started = {one.block: one for one in events if isinstance(one, ToolCallStarted)}
    assert all(one.name for one in started.values())
    assert len({one.call_id for one in started.values()}) == len(started)
    for one in events:
        if isinstance(one, ToolCallFinished) and one.status == "completed" and started[one.block].kind == "function":
            msgspec.json.decode(one.arguments)


# --- what we render ourselves -------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
pieces = st.lists(words, min_size=1, max_size=4)
spoken = st.lists(
    st.tuples(st.sampled_from(["text", "thought", "call"]), pieces, st.sampled_from(["f", "g"])), max_size=5
)


def chosen(parts: list[tuple[str, list[str], str]]) -> tuple[list[Any], dict[str, Any]]:
    """Events of a turn in the order of ``parts``, and what they hold."""
    events: list[Any] = []
    held: dict[str, Any] = {"text": "", "thought": "", "calls": []}
    for number, (kind, said, name) in enumerate(parts):
        block = f"0.{number}"
        if kind == "text":
            events += [TextStarted(block=block), *(TextDelta(block=block, text=one) for one in said)]
            events.append(TextFinished(block=block))
            held["text"] += "".join(said)
        elif kind == "thought":
            events += [ReasoningStarted(block=block), *(ReasoningDelta(block=block, text=one) for one in said)]
            events.append(ReasoningFinished(block=block))
            held["thought"] += "".join(said)
        else:
            arguments = msgspec.json.encode({"x": "".join(said)}).decode()
            events += [ToolCallStarted(block=block, call_id=f"c{number}", name=name)]
            events += [ToolCallDelta(block=block, arguments=one) for one in (arguments[:3], arguments[3:])]
            events.append(ToolCallFinished(block=block, arguments=arguments))
            held["calls"].append((name, arguments, "completed"))
    return events, held


@settings(max_examples=30, deadline=None)
@given(spoken, st.booleans(), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_we_render_is_read_as_it_was_said(
    parts: list[tuple[str, list[str], str]], raw: bool, places: list[int]
) -> None:
    events, held = chosen(parts)
    run: list[Event] = [
        RunStarted(run="resp_1", created_at_s=1, model="m", request={"model": "m"}, raw_reasoning=raw),
        TurnStarted(turn=0, interaction="i", upstream="u", model="m"),
        *events,
        TurnFinished(turn=0, finish_reason="stop"),
        RunFinished(status="completed", finished_at_s=2),
    ]
    data = framed(ResponsesRenderer().render(run))  # type: ignore[arg-type]
    read = feed(*cut(data, places))
    check_lifecycle(read)
    assert {"text": text(read), "thought": reasoning(read), "calls": told_calls(read)} == held
    assert isinstance(read[-1], TurnFinished)
    assert feed(*(bytes([byte]) for byte in data)) == read


# --- wild streams -------------------------------------------------------------------------------

members = st.one_of(
    st.none(), st.integers(-1, 2), st.just("m"), st.just({}), st.just([7]), st.just({"type": "message", "content": "x"})
)
kinds = st.sampled_from(
    [
        *("created", "output_item.added", "output_item.done", "content_part.done", "output_text.delta"),
        *("output_text.done", "refusal.delta", "reasoning_text.delta", "reasoning_summary_text.done"),
        *("function_call_arguments.delta", "function_call_arguments.done", "custom_tool_call_input.delta"),
        *("output_text.annotation.added", "web_search_call.searching", "completed", "failed", "incomplete"),
    ]
)
shown = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message", "function_call", "custom_tool_call", "reasoning", "web_search_call", None, 7]
        )
    },
    optional={
        "id": members,
        "call_id": st.sampled_from(["c1", "c2", None]),
        "name": st.sampled_from(["f", "", None]),
        "arguments": st.sampled_from(["", "{}", "{", {"a": 1}, None]),
        "input": st.sampled_from(["x", None]),
        "status": st.sampled_from(["completed", "incomplete", None]),
        "content": st.just([{"type": "output_text", "text": "ab"}]) | st.just([{"type": "refusal"}]) | members,
        "summary": st.just([{"type": "summary_text", "text": "t"}]) | members,
        "encrypted_content": st.sampled_from(["opaque", None]),
    },
)
wild = st.fixed_dictionaries(
    {"type": kinds.map("response.{}".format)},
    optional={
        "output_index": st.sampled_from([0, 0, 1, 2, None, "0"]),
        "content_index": members,
        "summary_index": members,
        "item": shown | members,
        "item_id": members,
        "delta": st.sampled_from(["a", "b", "", None, 7]),
        "text": st.sampled_from(["ab", "a", None]),
        "arguments": st.sampled_from(["{}", "{", None]),
        "part": st.just({"type": "output_text", "text": "ab", "annotations": [{"type": "x"}]}) | members,
        "annotation": members,
        "logprobs": st.sampled_from([None, [], [{"token": "a"}]]),
        "response": st.fixed_dictionaries(
            {}, optional={"status": members | st.just("completed"), "output": st.lists(shown, max_size=2) | members}
        ),
    },
)
tame = st.sampled_from([*told("a", "b"), *called("{", "}", index=1), delta("reasoning_text", "t", 2), end()])


@settings(max_examples=80, deadline=None)
@given(st.lists(wild | tame, max_size=12), st.lists(st.integers(0, 10_000), max_size=8))
def test_no_stream_raises_anything_and_the_cuts_of_its_bytes_change_nothing(
    made: list[dict[str, Any]], places: list[int]
) -> None:
    data = sse(*made)
    whole = feed(data)
    check_lifecycle(whole)
    check_calls(whole)
    assert feed(*cut(data, places)) == whole
    assert msgspec.json.decode(msgspec.json.encode(whole), type=list[ModelEvent]) == whole


@settings(max_examples=50, deadline=None)
@given(st.lists(wild | tame, max_size=12))
def test_a_stream_without_a_terminal_event_is_never_a_success(made: list[dict[str, Any]]) -> None:
    terminal = ("response.completed", "response.incomplete", "response.failed")
    assert isinstance(feed(sse(*(one for one in made if one["type"] not in terminal)))[-1], TurnFailed)


@given(
    st.lists(st.binary(max_size=8) | st.sampled_from([b"data: ", b"\n\n", b"{", b"[DONE]", sse(CREATED)]), max_size=9)
)
def test_no_bytes_raise_anything(data: list[bytes]) -> None:
    check_lifecycle(feed(b"".join(data)))


# --- recordings ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def bodies(file: str) -> list[bytes]:
    """The body of each interaction of a recording, as event streams."""
    content = (CORPUS / file).read_text()
    if not file.endswith(".yaml"):
        return [sse(*(json.loads(line) for line in content.splitlines() if line.strip()))]
    recorded = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [_bytes(one["response"].get("body")) for one in recorded["interactions"]]


def _bytes(body: Any) -> bytes:
    body = body.get("string") if isinstance(body, dict) else body
    raw = (body or "").encode() if isinstance(body, str | None) else body
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


# Where the text of the final message is not that of its deltas, by the corpus's own account.
UNLIKE = {"openai-shell-container.1.chunks"}


@pytest.mark.skipif(not EXPECTED, reason=f"no recordings at {CORPUS}")
@pytest.mark.parametrize(
    "expected", EXPECTED, ids=lambda expected: f"{Path(expected['file']).stem}-{expected['interaction']}"
)
def test_a_recorded_stream_comes_to_what_it_ended_with(expected: dict[str, Any]) -> None:
    body, final = bodies(expected["file"])[expected["interaction"]], expected["final"]
    body = body[max(0, body.rfind(b"event: response.created\n")) :]  # some files hold the answers of several turns
    events = feed(body)
    check_lifecycle(events)
    check_calls(events)
    turn = events[-1]
    assert isinstance(turn, TurnFinished)
    assert (turn.upstream_id, turn.upstream_model) == (final["id"], final["model"])
    assert turn.usage is not None
    assert turn.usage.raw["total_tokens"] == final["usage"]["total_tokens"]
    output = final["output"]
    if Path(expected["file"]).stem not in UNLIKE:
        assert text(events) == "".join(part for item in output for part in item.get("text", []))
    calls = [item for item in output if item["type"] == "function_call"]
    assert told_calls(events) == [(item["name"], item["arguments"], "completed") for item in calls]
    assert [one.call_id for one in events if isinstance(one, ToolCallStarted)] == [item["call_id"] for item in calls]
    thoughts = [
        item.get("reasoning_text") or item.get("summary") or [] for item in output if item["type"] == "reasoning"
    ]
    assert reasoning(events) == "".join("\n\n".join(parts) for parts in thoughts)
    chance = random.Random(body)
    assert feed(*cut(body, [chance.randrange(len(body)) for _ in range(20)])) == events
    if len(body) < 20_000:
        assert feed(*(bytes([byte]) for byte in body)) == events
    halves = [feed(body[:place]) for place in (len(body) // 3, len(body) // 2)]
    assert all(isinstance(half[-1], TurnFailed) for half in halves)
