"""Who executes a run: here, the process that was asked. Prepares a run, hands it to the loop, settles dead ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

import msgspec

from antiphon.agent.journal import Journal
from antiphon.agent.loop import Loop, Target, Tool
from antiphon.agent.machine import Limits, Machine
from antiphon.clock import Clock, Ids
from antiphon.events import ErrorInfo, RunEvent, RunFinished, RunStarted
from antiphon.rendering.items import output_items
from antiphon.rendering.listing import input_item_id, with_ids
from antiphon.store.base import Store
from antiphon.store.references import resolved
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.items import check_outputs
from antiphon.wire.responses import CreateResponse, conversation_of, input_items


class Shown(NamedTuple):
    """How a run is shown; stands in `RunStarted`, so that it is shown alike each time."""

    profile: str = "openai"
    raw_reasoning: bool = False
    seal_key: str | None = None


DEFAULT = Shown()


class Runner:
    """Runs requests in this process, each in the task that reads it.

    ``on_ended`` is told the events of each run when it has ended, in whatever way.
    """

    def __init__(
        self,
        *,
        store: Store,
        resolve: Callable[[str], Sequence[Target]],
        clock: Clock,
        ids: Ids,
        limits: Limits | None = None,
        tools: Mapping[str, Tool] | None = None,
        on_ended: Callable[[Sequence[RunEvent]], None] | None = None,
    ) -> None:
        self._store = store
        self._resolve = resolve
        self._clock = clock
        self._ids = ids
        self._limits = limits or Limits()
        self._tools = tools or {}
        self._on_ended = on_ended

    async def run(
        self, owner: str, request: CreateResponse, *, authorization: str | None = None, shown: Shown = DEFAULT
    ) -> AsyncGenerator[list[RunEvent], None]:
        """What happens in one run, in batches as it happens; see `Loop.events`. ``shown`` is kept in its journal.

        Raises, before the first batch:
            InvalidRequest: an output in its input answers no call.
            ModelNotFound: no upstream answers to the model's name.
            NotFound: ``previous_response_id``, ``conversation`` or an item reference names nothing of this owner's.
            Conflict: the previous response has not ended.
            DuplicateItem: an item of the input is in the conversation already.
        """
        targets = self._resolve(request.model)
        parent, conversation = request.previous_response_id, None
        history = await self._store.history(owner, parent) if parent else []
        if conversation_id := conversation_of(request):
            conversation = await self._store.conversations.history(owner, conversation_id)
            history = conversation.items
        run = self._ids.new("resp")
        own_input = with_ids(
            await resolved(self._store, owner, input_items(request), param="input"), partial(input_item_id, run)
        )
        check_outputs(own_input, history)
        started = RunStarted(
            run=run,
            created_at_s=int(self._clock.now_s()),
            model=request.model,
            request={key: value for key, value in request.raw.items() if key != "input"},
            **shown._asdict(),
        )
        store = self._store if request.store is not False else None
        journal = Journal(store, owner, started, parent=parent, input_items=own_input, conversation=conversation)
        loop = Loop(
            run=run,
            request=request,
            items=history + own_input,
            targets=targets,
            journal=journal,
            clock=self._clock,
            ids=self._ids,
            limits=_limits(self._limits, len(targets), max_tool_calls=request.max_tool_calls),
            tools=self._tools,
            authorization=authorization,
        )
        try:
            async with aclosing(loop.events()) as events:
                async for batch in events:
                    yield batch
        finally:
            if self._on_ended is not None:
                self._on_ended(journal.events)

    async def complete(
        self, owner: str, request: CreateChatCompletion, *, authorization: str | None = None
    ) -> AsyncGenerator[list[RunEvent], None]:
        """What happens in the run of a chat completion; see `run`. It is stored only if ``store`` says so.

        Tools are the client's, as the chat API has no others.

        Raises, before the first batch:
            ModelNotFound: no upstream answers to the model's name.
        """
        targets = self._resolve(request.model)
        started = RunStarted(
            run=self._ids.new("chatcmpl"),
            created_at_s=int(self._clock.now_s()),
            model=request.model,
            request=request.raw,
            api="chat",
        )
        store = self._store if request.store else None
        journal = Journal(store, owner, started, parent=None, input_items=[])
        loop = Loop(
            run=started.run,
            request=request,
            items=[],
            targets=targets,
            journal=journal,
            clock=self._clock,
            ids=self._ids,
            limits=_limits(self._limits, len(targets)),
            authorization=authorization,
        )
        try:
            async with aclosing(loop.events()) as events:
                async for batch in events:
                    yield batch
        finally:
            if self._on_ended is not None:
                self._on_ended(journal.events)

    async def recover(self) -> int:
        """Settle the runs that a dead process left without an end; return how many.

        What was cut is closed as incomplete and the run ends failed, with the code ``interrupted``. Only for a
        process that has the store to itself.
        """
        unfinished = await self._store.unfinished()
        for owner, run, api in ((left.owner, left.run, left.api) for left in unfinished):
            events = await self._store.events(owner, run, api=api)
            machine = Machine()
            machine.feed_all(events)
            error = ErrorInfo(code="interrupted", message="The server stopped while this response was being made.")
            finished = RunFinished(status="failed", finished_at_s=int(self._clock.now_s()), error=error)
            tail: list[RunEvent] = [*machine.close_open_blocks(), finished]
            await self._store.finish(owner, run, tail, finished, output_items=output_items(events + tail, run))
        return len(unfinished)


def _limits(limits: Limits, targets: int, *, max_tool_calls: int | None = None) -> Limits:
    """Every fallback is tried at least once; a request may lower the number of tool calls."""
    return msgspec.structs.replace(
        limits,
        max_attempts=max(limits.max_attempts, targets),
        max_tool_calls=min(limits.max_tool_calls, max_tool_calls or limits.max_tool_calls),
    )
