"""A stored run as a recording: what was asked of the model in each turn, and what it answered.

The journal keeps events, not the bytes of an upstream. Where those were recorded, their interactions are found by the
ids that the journal names. Otherwise each turn is written anew: its request by the translation, its answer as chat
chunks; what the assembly had mended is mended in them, and their fidelity says so (``parsed``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from antiphon.agent.question import question
from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse, ToolCall
from antiphon.dialects import Dialect
from antiphon.errors import Conflict, ConnectFailed, ConnectionLost, ReadTimeout, TruncatedStream, UsageError
from antiphon.events import (
    AnnotationAdded,
    ErrorInfo,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RefusalDelta,
    RefusalFinished,
    RefusalStarted,
    RunEvent,
    RunFinished,
    RunStarted,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from antiphon.providers.base import ModelCall
from antiphon.rendering.chat import DONE, ChatRenderer, sse
from antiphon.store.base import Store
from antiphon.translation.call import ChatCall
from antiphon.translation.chat import to_chat
from antiphon.wire.responses import CreateResponse, Item, stored_request


class Turn(NamedTuple):
    """One model call of a run: how it began, what was asked, and what came of it up to the next one."""

    started: TurnStarted
    call: ModelCall
    events: Sequence[RunEvent]


class StoredRun(NamedTuple):
    """A run that ended: its journal, what the model saw before it, and its turns."""

    events: list[RunEvent]
    items: list[Item]
    turns: list[Turn]

    @property
    def started(self) -> RunStarted:
        """How it began."""
        first = self.events[0]
        assert isinstance(first, RunStarted)
        return first


async def stored_run(store: Store, owner: str, run: str) -> StoredRun:
    """A run out of a store, with what came before it.

    Raises:
        NotFound: no such response for this owner, or it was deleted.
        Conflict: it has not ended.
        UsageError: it never asked a model.
    """
    events = await store.events(owner, run)
    if not isinstance(events[-1], RunFinished):
        raise Conflict(f"The response {run!r} has not ended: it cannot be exported yet.")
    items = await store.context(owner, run)
    first = events[0]
    assert isinstance(first, RunStarted)
    turns = list(_turns(stored_request(first.request), items, events))
    if not turns:
        raise UsageError(f"The response {run!r} never asked a model, so there is nothing to export.")
    return StoredRun(events, items, turns)


def _turns(request: CreateResponse, items: list[Item], events: list[RunEvent]) -> Iterator[Turn]:
    starts = [index for index, event in enumerate(events) if isinstance(event, TurnStarted)]
    for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
        started = events[start]
        assert isinstance(started, TurnStarted)
        yield Turn(started, question(request, items, events[: start + 1]), events[start + 1 : end])


# --- recorded bytes --------------------------------------------------------------------------


def recorded(run: StoredRun, recording: Iterable[Interaction]) -> list[Interaction]:
    """The interactions of a recording that the run made.

    Raises:
        UsageError: some of them are not in it.
    """
    wanted = {turn.started.interaction for turn in run.turns}
    found = [each for each in recording if each.id in wanted]
    if missing := wanted - {each.id for each in found}:
        raise UsageError(
            f"The recording lacks {len(missing)} of the {len(wanted)} model calls of {run.started.run} (such as"
            f" {min(missing)}): it was made by another run of the server. Leave it out to have them written anew."
        )
    return found


# --- written anew ----------------------------------------------------------------------------


def rebuilt(
    run: StoredRun, *, dialect_of: Callable[[str, str], Dialect], base_url_of: Callable[[str], str]
) -> list[Interaction]:
    """The run's model calls as they may have been, and the calls of tools between them.

    ``dialect_of`` is asked for an upstream and a model, ``base_url_of`` for an upstream.
    """
    interactions: list[Interaction] = []
    for turn in run.turns:
        asked = turn.started
        chat = to_chat(
            _as_create(turn.call),
            turn.call.items,
            model=turn.call.model,
            dialect=dialect_of(asked.upstream, asked.model),
            upstream=asked.upstream,
        )
        request = RecordedRequest(
            method="POST",
            url=f"{base_url_of(asked.upstream)}/chat/completions",
            headers=(("content-type", "application/json"),),
            body=msgspec.json.encode(chat.body),
        )
        interactions.append(
            Interaction(
                id=asked.interaction,
                fidelity="parsed",
                request=request,
                response=_response(run.started, turn, chat),
                started_at=datetime.fromtimestamp(run.started.created_at_s, UTC),
            )
        )
        interactions += _tools(turn)
    return interactions


def _as_create(call: ModelCall) -> CreateResponse:
    assert isinstance(call.request, CreateResponse)  # a chat completion is not stored as a response
    return call.request


def _response(started: RunStarted, turn: Turn, chat: ChatCall) -> RecordedResponse:
    """The answer as an upstream streams it; one that failed, as it failed."""
    end = next((each for each in turn.events if isinstance(each, TurnFinished | TurnFailed)), None)
    if isinstance(end, TurnFailed) and end.error.status is not None:
        body = _error_body(end.error)
        return RecordedResponse(
            status=end.error.status, headers=(("content-type", "application/json"),), chunks=(Chunk(0.0, body),)
        )
    chunks = _chunks(started, turn, chat, end)
    if isinstance(end, TurnFinished):
        return RecordedResponse(status=200, headers=_STREAM, chunks=(*chunks, Chunk(0.0, DONE)))
    error = end.error if end else ErrorInfo(code=ConnectionLost.code, message="The run was cut off here.")
    if error.code in _BROKEN:
        return RecordedResponse(status=200 if chunks else None, headers=_STREAM, chunks=chunks, error=error)
    if error.code != TruncatedStream.code:
        chunks = (*chunks, Chunk(0.0, sse([_error_body(error)])))
    return RecordedResponse(status=200, headers=_STREAM, chunks=chunks)


# How a connection fails; other failures are said in an answer that ends as it should, or stops.
_BROKEN = frozenset({ConnectFailed.code, ReadTimeout.code, ConnectionLost.code})


def _error_body(error: ErrorInfo) -> bytes:
    return msgspec.json.encode({"error": {"message": error.message, "code": error.upstream_code or error.code}})


_STREAM = (("content-type", "text/event-stream"),)


def _chunks(
    started: RunStarted, turn: Turn, chat: ChatCall, end: TurnFinished | TurnFailed | None
) -> tuple[Chunk, ...]:
    """A chunk for each event that says something."""
    model = end.upstream_model if isinstance(end, TurnFinished) else None
    renderer = ChatRenderer()
    head = RunStarted(
        run=(end.upstream_id if isinstance(end, TurnFinished) else None) or f"chatcmpl-{turn.started.interaction}",
        created_at_s=started.created_at_s,
        model=model or turn.started.model,
        request={"stream_options": {"include_usage": True}},
        api="chat",
    )
    renderer.render([head])
    pieces: list[list[bytes]] = [renderer.render([event]) for event in _on_the_wire(turn.events, chat)]
    if isinstance(end, TurnFinished):
        pieces.append(renderer.render([RunFinished(status="completed", finished_at_s=started.created_at_s)]))
    return tuple(Chunk(0.0, sse(piece)) for piece in pieces if piece)


def _on_the_wire(events: Iterable[RunEvent], chat: ChatCall) -> Iterator[RunEvent]:
    """What the model said, calls under the names that it was offered: the other way of `ChatCall.restore`."""
    names: dict[tuple[str, str | None, str], str] = {
        (tool.kind, tool.namespace, tool.name): name for name, tool in chat.renamed.items()
    }
    freeform: set[str] = set()
    for event in events:
        if isinstance(event, ToolCallStarted):
            if event.kind == "custom":
                freeform.add(event.block)
            name = names.get((event.kind, event.namespace, event.name), event.name)
            yield replace(event, name=name, kind="function", namespace=None)
        elif isinstance(event, ToolCallDelta) and event.block in freeform:
            continue
        elif isinstance(event, ToolCallFinished) and event.block in freeform:
            yield replace(event, arguments=msgspec.json.encode({"input": event.arguments}).decode())
        elif isinstance(event, _TOLD):
            yield event


_TOLD = (
    *(ToolCallDelta, ToolCallFinished, TurnFinished),
    *(TextStarted, TextDelta, TextFinished, AnnotationAdded),
    *(ReasoningStarted, ReasoningDelta, ReasoningFinished),
    *(RefusalStarted, RefusalDelta, RefusalFinished),
)


def _tools(turn: Turn) -> Iterator[Interaction]:
    """The calls that the server ran itself after the turn."""
    names = {event.block: event.name for event in turn.events if isinstance(event, ToolCallStarted)}
    arguments = {event.block: event.arguments for event in turn.events if isinstance(event, ToolCallFinished)}
    for event in turn.events:
        if not isinstance(event, ToolCallCompleted | ToolCallFailed) or event.block not in names:
            continue
        error = event.error if isinstance(event, ToolCallFailed) else None
        tool = ToolCall(
            name=names[event.block], arguments=_value(arguments.get(event.block, "")), result=event.output, error=error
        )
        yield Interaction(id=f"{turn.started.interaction}-{event.block}", kind="tool", fidelity="parsed", tool=tool)


def _value(text: str) -> Any:
    """Arguments as JSON, or as the text they are."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
