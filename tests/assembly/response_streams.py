"""Small streams of the Responses API, and what comes of them."""

from typing import Any

import msgspec

from antiphon.assembly.responses import ResponsesAssembler
from antiphon.events import ModelEvent

IN_PROGRESS: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "in_progress",
    "model": "m-1",
    "output": [],
}
USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 8,
}
MESSAGE: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "in_progress",
    "content": [],
}
CALL: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_time", "arguments": ""}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("output_item.added", output_index=index, item=item)


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item=item)


def delta(kind: str, text: str, index: int = 0, part: int = 0, **fields: Any) -> dict[str, Any]:
    place = {"output_index": index, "content_index": part, "summary_index": part}
    return event(f"{kind}.delta", delta=text, **place, **fields)


def end(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return event(status, response={**IN_PROGRESS, "status": status, "usage": USAGE, **fields})


CREATED = event("created", response=IN_PROGRESS)


def told(*texts: str, index: int = 0) -> list[dict[str, Any]]:
    """A message, as OpenAI streams it."""
    whole = {"type": "output_text", "text": "".join(texts), "annotations": []}
    return [
        added(MESSAGE, index),
        *(delta("output_text", text, index) for text in texts),
        event("output_text.done", output_index=index, content_index=0, text=whole["text"]),
        done({**MESSAGE, "status": "completed", "content": [whole]}, index),
    ]


def called(*pieces: str, index: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """A call, as OpenAI streams it."""
    call, whole = {**CALL, **fields}, "".join(pieces)
    return [
        added(call, index),
        *(delta("function_call_arguments", piece, index) for piece in pieces),
        event("function_call_arguments.done", output_index=index, arguments=whole),
        done({**call, "arguments": whole, "status": "completed"}, index),
    ]


def sse(*events: Any) -> bytes:
    return b"".join(
        b"event: " + one["type"].encode() + b"\ndata: " + msgspec.json.encode(one) + b"\n\n" for one in events
    )


def feed(*pieces: bytes, **options: Any) -> list[ModelEvent]:
    assembler = ResponsesAssembler(**options)
    events = [one for piece in pieces for one in assembler.feed(piece)]
    return events + assembler.finish()


def stream(*events: Any, **options: Any) -> list[ModelEvent]:
    """The events of a stream that begins as each does."""
    return feed(sse(CREATED, *events), **options)
