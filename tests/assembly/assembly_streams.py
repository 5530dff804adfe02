"""Small streams to test the assembly with, and views of the events that come of them."""

import itertools
from typing import Any

import msgspec

from antiphon.assembly.chat import ChatAssembler
from antiphon.events import (
    Diagnostic,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
)

STOP: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
TOOLS = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "get_time": {"type": "object", "properties": {}},
    "read_file": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


def chunk(delta: dict[str, Any] | None = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def call(index: int | None = None, call_id: str | None = None, name: Any = None, args: Any = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"function": {}}
    if index is not None:
        entry["index"] = index
    if call_id is not None:
        entry["id"] = call_id
    if name is not None:
        entry["function"]["name"] = name
    if args is not None:
        entry["function"]["arguments"] = args
    return entry


def calls(*entries: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(entries)})


def sse(*chunks: Any, done: bool = True) -> bytes:
    datas = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in chunks]
    return b"".join(b"data: " + data + b"\n\n" for data in [*datas, *([b"[DONE]"] if done else [])])


def feed(*pieces: bytes, **options: Any) -> list[ModelEvent]:
    assembler = ChatAssembler(**options)
    events = [event for piece in pieces for event in assembler.feed(piece)]
    return events + assembler.finish()


def stream(*chunks: Any, done: bool = True, **options: Any) -> list[ModelEvent]:
    """The events of a stream made of these chunks, ended by ``[DONE]`` or not."""
    return feed(sse(*chunks, done=done), **options)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def told_calls(events: list[ModelEvent]) -> list[tuple[str, str, str]]:
    """Name, arguments and status of each call, in the order of announcement."""
    finished = {event.block: event for event in events if isinstance(event, ToolCallFinished)}
    return [
        (event.name, finished[event.block].arguments, finished[event.block].status)
        for event in events
        if isinstance(event, ToolCallStarted)
    ]


def call_ids(events: list[ModelEvent]) -> list[str]:
    return [event.call_id for event in events if isinstance(event, ToolCallStarted)]


def text(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def types(events: list[ModelEvent]) -> list[str]:
    """The types of the events without diagnostics."""
    return [str(event.__struct_config__.tag) for event in events if not isinstance(event, Diagnostic)]


def quirks(events: list[ModelEvent]) -> set[str]:
    return {event.quirk for event in events if isinstance(event, Diagnostic)}


def finished(events: list[ModelEvent]) -> TurnFinished:
    assert isinstance(events[-1], TurnFinished), events[-1]
    return events[-1]


def failed(events: list[ModelEvent]) -> TurnFailed:
    assert isinstance(events[-1], TurnFailed), events[-1]
    return events[-1]
