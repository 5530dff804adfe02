"""Who executes a run: here, this process.

A run in the foreground is done by the task that reads it, and ends with it. A run in the background is done by a task
of the runner's own, and whoever reads it reads its journal; when the process ends, the journal stays unfinished, and
the next process goes on from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec

from antiphon.agent.acting import Tool
from antiphon.agent.approvals import carried_calls, unacted
from antiphon.agent.effects import CarriedCall
from antiphon.agent.forking import forked
from antiphon.agent.hosted import HostedTools
from antiphon.agent.journal import Journal, stored_items
from antiphon.agent.limits import Limits
from antiphon.agent.loop import Loop, OnInterruption, Target
from antiphon.agent.machine import INTERRUPTED, Machine
from antiphon.clock import Clock, Ids
from antiphon.errors import AntiphonError, InvalidRequest, NotFound, StoreError, UsageError
from antiphon.events import ErrorInfo, RunEvent, RunFinished, RunStarted
from antiphon.rendering.listing import input_item_id, with_ids
from antiphon.store.base import Store, UnfinishedRun
from antiphon.store.references import resolved
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.hosted import HOSTED_TYPES, without_secrets
from antiphon.wire.items import check_outputs, tool_names, tools_of
from antiphon.wire.responses import CreateResponse, Item, conversation_of, input_items, stored_request

DEFAULT_MAX_BACKGROUND_RUNS = 32

_log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """How a run is shown; stands in `RunStarted`, so that it is shown alike each time."""

    profile: str = "openai"
    raw_reasoning: bool = False
    seal_key: str | None = None


DEFAULT = Shown()


# Owner, the tools of a request, and all items that its run begins with.
Host = Callable[[str, Sequence[dict[str, Any]], Sequence[Item]], HostedTools]


# Owner, and items that the model must see.
Load = Callable[[str, list[Item]], Awaitable[list[Item]]]


class _BackgroundRun(NamedTuple):
    task: asyncio.Task[None]
    loop: Loop


class Runner:
    """Runs requests in this process; `close` lets go of those in the background.

    At most ``max_background_runs`` of them go at once, the others wait their turn. ``on_interruption`` says what
    becomes of a turn that the end of a process cut off after somebody may have seen part of it. ``on_ended`` is told
    the events of each run when it has ended, in whatever way. ``host`` gives the tools that a request of an owner's
    finds here besides functions, ``load`` the items with the data of what they only name.
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
        max_background_runs: int = DEFAULT_MAX_BACKGROUND_RUNS,
        on_interruption: OnInterruption = "retry",
        on_ended: Callable[[Sequence[RunEvent]], None] | None = None,
        host: Host | None = None,
        load: Load | None = None,
    ) -> None:
        self._store = store
        self._resolve = resolve
        self._clock = clock
        self._ids = ids
        self._limits = limits or Limits()
        self._tools = tools or {}
        self._on_interruption = on_interruption
        self._on_ended = on_ended
        self._host = host
        self._load = load
        self._slots = asyncio.Semaphore(max_background_runs)
        self._going: dict[tuple[str, str], Journal] = {}  # stored runs that this process does, by owner and run
        self._background: dict[tuple[str, str], _BackgroundRun] = {}
        self._recovery: asyncio.Task[int] | None = None

    # --- runs in the foreground --------------------------------------------------------------

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
        journal, loop = await self._prepare(owner, request, authorization, shown)
        async with self._doing(owner, journal, loop) as events:
            async for batch in events:
                yield batch

    async def complete(
        self, owner: str, request: CreateChatCompletion, *, authorization: str | None = None
    ) -> AsyncGenerator[list[RunEvent], None]:
        """What happens in the run of a chat completion; see `run`. It is stored only if ``store`` says so.

        Tools are the client's, as the chat API has no others.

        Raises, before the first batch:
            ModelNotFound: no upstream answers to the model's name.
        """
        started = RunStarted(
            run=self._ids.new("chatcmpl"),
            created_at_s=int(self._clock.now_s()),
            model=request.model,
            request=request.raw,
            api="chat",
        )
        journal = Journal(self._store if request.store else None, owner, started)
        loop = self._loop(journal, request, [], tools={}, authorization=authorization)
        async with self._doing(owner, journal, loop) as events:
            async for batch in events:
                yield batch

    async def fork(
        self, owner: str, run: str, *, at: int, model: str | None = None, authorization: str | None = None
    ) -> AsyncGenerator[list[RunEvent], None]:
        """What happens in a new run that goes on live from turn ``at`` (from 0) of a stored one, asking ``model``.

        What came before is in the first batch, and not done again. The new run is a response of its own, which
        follows the same one; a conversation stays with the old run.

        Raises, before the first batch:
            NotFound: no such run for this owner, or it was deleted.
            InvalidRequest: it has no such turn.
            ModelNotFound: no upstream answers to the model's name.
        """
        events = forked(
            await self.events(owner, run),
            at=at,
            run=self._ids.new("resp"),
            created_at_s=int(self._clock.now_s()),
            model=model,
        )
        journal = Journal.resumed(self._store, owner, events, flushes=False)
        self._resolve(journal.started.model)
        await self._store.fork(owner, run, events)
        loop = await self._resumed(journal, authorization)
        async with self._doing(owner, journal, loop) as batches:
            async for batch in batches:
                yield batch

    async def _resumed(self, journal: Journal, authorization: str | None = None) -> Loop:
        """The loop that goes on from what is in the journal, and in the store with it."""
        items = await self._loaded(journal.owner, await self._store.context(journal.owner, journal.started.run))
        request = stored_request(journal.started.request)
        carried = carried_calls(items, unacted(items))
        return self._loop(journal, request, items, self._tools, authorization, carried)

    @asynccontextmanager
    async def _doing(
        self, owner: str, journal: Journal, loop: Loop
    ) -> AsyncIterator[AsyncGenerator[list[RunEvent], None]]:
        key = (owner, journal.started.run)
        if journal.is_stored:
            self._going[key] = journal
        try:
            async with aclosing(loop.events()) as events:
                yield events
        finally:
            self._going.pop(key, None)
            journal.leave()
            if self._on_ended is not None:
                self._on_ended(journal.events)

    # --- beginning ---------------------------------------------------------------------------

    async def _prepare(
        self, owner: str, request: CreateResponse, authorization: str | None, shown: Shown, *, flushes: bool = False
    ) -> tuple[Journal, Loop]:
        self._resolve(request.model)  # a model that is not there is said first
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
        carried = carried_calls(history, own_input)
        started = RunStarted(
            run=run,
            created_at_s=int(self._clock.now_s()),
            model=request.model,
            request=_written(request),
            **shown._asdict(),
        )
        journal = Journal(
            self._store if request.store is not False else None,
            owner,
            started,
            parent=parent,
            input_items=own_input,
            conversation=conversation,
            flushes=flushes,
        )
        items = await self._loaded(owner, history + own_input)
        return journal, self._loop(journal, request, items, self._tools, authorization, carried)

    async def _loaded(self, owner: str, items: list[Item]) -> list[Item]:
        """What the model must see, with the data of what the items only name: the journal keeps the names."""
        return items if self._load is None else await self._load(owner, items)

    def _loop(
        self,
        journal: Journal,
        request: CreateResponse | CreateChatCompletion,
        items: list[Item],
        tools: Mapping[str, Tool],
        authorization: str | None = None,
        carried: Sequence[CarriedCall] = (),
    ) -> Loop:
        targets = self._resolve(request.model)
        hosted = self._hosted_tools(journal.owner, request, items)
        is_strict = journal.started.profile == "open-responses"
        return Loop(
            run=journal.started.run,
            request=request,
            items=items,
            targets=targets,
            journal=journal,
            clock=self._clock,
            ids=self._ids,
            limits=_limits(self._limits, len(targets), request),
            tools=tools,
            authorization=authorization,
            on_interruption="fail" if is_strict else self._on_interruption,
            # Where we go on with the model anyway, a tool that nobody has is answered here, and not by the client.
            client_tools=None if hosted is None else _client_tools(request, items),
            hosted=hosted,
            carried=carried,
        )

    def _hosted_tools(
        self, owner: str, request: CreateResponse | CreateChatCompletion, items: Sequence[Item]
    ) -> HostedTools | None:
        if self._host is None or not isinstance(request, CreateResponse):
            return None
        tools = [tool for tool in request.tools or () if tool["type"] in HOSTED_TYPES]
        return self._host(owner, tools, items) if tools else None

    # --- runs in the background --------------------------------------------------------------

    async def start(
        self, owner: str, request: CreateResponse, *, authorization: str | None = None, shown: Shown = DEFAULT
    ) -> RunStarted:
        """Begin a run in the background; it is durable, and goes on without its caller, when this returns.

        ``authorization`` is kept in memory only: after a restart the run goes on without it.

        Raises:
            InvalidRequest: it is not to be stored, or an output in its input answers no call.
            ModelNotFound, NotFound, Conflict, DuplicateItem: see `run`.
        """
        if request.store is False:
            raise InvalidRequest("Background responses are stored: 'store' must not be false.", param="background")
        # Shielded: a caller who leaves in between must not leave behind a run that nobody does.
        return await asyncio.shield(asyncio.ensure_future(self._start(owner, request, authorization, shown)))

    async def _start(self, owner: str, request: CreateResponse, authorization: str | None, shown: Shown) -> RunStarted:
        journal, loop = await self._prepare(owner, request, authorization, shown, flushes=True)
        key = (owner, journal.started.run)
        self._going[key] = journal
        try:
            await journal.begin()
        except BaseException:
            del self._going[key]
            raise
        self._do_in_background(key, journal, loop)
        return journal.started

    def _do_in_background(self, key: tuple[str, str], journal: Journal, loop: Loop) -> None:
        self._going[key] = journal
        task = asyncio.create_task(self._do(key, journal, loop))
        self._background[key] = _BackgroundRun(task, loop)

    async def _do(self, key: tuple[str, str], journal: Journal, loop: Loop) -> None:
        try:
            async with self._slots, aclosing(loop.events()) as batches:
                async for _ in batches:
                    pass  # those who read it read the journal
        except asyncio.CancelledError:
            await loop.cancel()  # its turn may not have come yet
        except AntiphonError:
            # The store failed: the run is left as it is, and a restart takes it up again.
            _log.exception("background run %s stopped", journal.started.run)
        finally:
            del self._going[key], self._background[key]
            journal.leave()
            if self._on_ended is not None and journal.has_ended:
                self._on_ended(journal.events)

    async def cancel(self, owner: str, run: str) -> list[RunEvent]:
        """Cancel a run in the background, unless it has ended; its whole journal, which then has an end.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            InvalidRequest: it is not a run in the background.
        """
        events = await self._store.events(owner, run)
        if not _is_background(events):
            raise InvalidRequest("Cannot cancel a synchronous response.", param="response_id")
        if not isinstance(events[-1], RunFinished):
            await self._wait_for_recovery()
            if going := self._background.get((owner, run)):
                if not going.task.cancelling():
                    going.task.cancel()
                await asyncio.wait((going.task,))
            events = await self._store.events(owner, run)
        return events

    async def delete(self, owner: str, run: str) -> None:
        """Forget a run; one that goes in the background is cancelled first.

        Raises:
            NotFound: no such run for this owner, or it was deleted before.
            Conflict: it goes in the foreground.
        """
        if _is_background(await self._store.events(owner, run)):
            await self.cancel(owner, run)
        await self._store.delete(owner, run)

    async def events(self, owner: str, run: str) -> list[RunEvent]:
        """The journal of a stored run, as far as it is durable.

        What a dead process left without an end is settled first, so that nobody is told it is still being made.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
        """
        events = await self._store.events(owner, run)
        if not isinstance(events[-1], RunFinished) and (owner, run) not in self._going:
            await self._wait_for_recovery()
            events = await self._store.events(owner, run)
        return events

    async def follow(self, owner: str, run: str) -> AsyncGenerator[list[RunEvent], None]:
        """The journal of a stored run from its first event, in batches; of one that goes, as it becomes durable.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            StoreError: the run was let go of before its end, which the events so far do not show.
        """
        last: RunEvent | None = None
        if (owner, run) not in self._going:
            events = await self._store.events(owner, run)
            if not isinstance(events[-1], RunFinished):
                await self._wait_for_recovery()
        if journal := self._going.get((owner, run)):
            if journal.started.api != "responses":
                raise NotFound("response", run)
            async for batch in journal.committed():
                last = batch[-1]
                yield batch
        else:
            events = await self._store.events(owner, run)
            last = events[-1]
            yield events
        if not isinstance(last, RunFinished):
            raise StoreError(f"Run {run!r} stopped before its end. Ask again for the rest.")

    async def close(self) -> None:
        """Let go of what goes in the background: it has no end yet, and goes on with the next process."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait((self._recovery,))
        going = [*self._background.values()]
        for each in going:
            each.loop.suspend()
            each.task.cancel()
        if going:
            await asyncio.wait([each.task for each in going])

    # --- runs of a dead process --------------------------------------------------------------

    def begin_recovery(self) -> None:
        """`recover` in a task of its own, so that nobody has to wait for it."""
        self._recovery = asyncio.create_task(self.recover())

    async def recover(self) -> int:
        """Take over the runs that a dead process left without an end; return how many could only be ended.

        Those in the background go on. Of the others, nobody waits for them any more: what was cut is closed as
        incomplete and the run ends failed, with the code ``interrupted``. Only for a process that has the store to
        itself.
        """
        ended = 0
        for left in await self._store.unfinished():
            if (left.owner, left.run) in self._going:
                continue  # begun by this process, meanwhile
            try:
                events = await self._store.events(left.owner, left.run, api=left.api)
                if not isinstance(events[-1], RunFinished):
                    ended += not await self._take_over(left, events)
            except AntiphonError:
                _log.exception("run %s, which was cut off when the server last stopped, stays so", left.run)
        if ended:
            _log.warning("%d responses were cut off when the server last stopped; they are failed now", ended)
        return ended

    async def _take_over(self, left: UnfinishedRun, events: list[RunEvent]) -> bool:
        """Whether the run goes on; otherwise it has an end now."""
        error = ErrorInfo(code=INTERRUPTED, message="The server stopped while this response was being made.")
        if _is_background(events):
            journal = Journal.resumed(self._store, left.owner, events, flushes=True)
            try:
                loop = await self._resumed(journal)
                self._do_in_background((left.owner, left.run), journal, loop)
                return True
            except UsageError as gone:  # its model, say
                error = ErrorInfo(code=gone.code, message=gone.message)
        machine = Machine(self._limits, {name: tool.policy for name, tool in self._tools.items()})
        machine.feed_all(events)
        finished = RunFinished(status="failed", finished_at_s=int(self._clock.now_s()), error=error)
        tail: list[RunEvent] = [*machine.closing(), finished]
        items = stored_items(events + tail)
        await self._store.finish(left.owner, left.run, tail, finished, output_items=items)
        return False

    async def _wait_for_recovery(self) -> None:
        """Until each run that a dead process left is either taken over or ended."""
        if self._recovery is not None:
            await asyncio.wait((self._recovery,))


def _client_tools(request: CreateResponse | CreateChatCompletion, items: Sequence[Item]) -> frozenset[str]:
    """The names of all tools that the client runs."""
    offered = [*(request.tools or ()), *(tool for item in items for tool in tools_of(item))]
    return frozenset(tool_names(offered))


def _written(request: CreateResponse) -> dict[str, Any]:
    """The request as its journal keeps it: items have a place of their own, and secrets have none."""
    written = {key: value for key, value in request.raw.items() if key != "input"}
    if isinstance(tools := written.get("tools"), list):
        written["tools"] = [without_secrets(tool) for tool in tools]
    return written


def _is_background(events: Sequence[RunEvent]) -> bool:
    started = events[0]
    return isinstance(started, RunStarted) and started.api == "responses" and started.request.get("background") is True


def _limits(limits: Limits, targets: int, request: CreateResponse | CreateChatCompletion) -> Limits:
    """Every fallback is tried at least once; a response's request may lower the number of tool calls."""
    max_tool_calls = limits.max_tool_calls
    if isinstance(request, CreateResponse) and request.max_tool_calls is not None:
        max_tool_calls = min(max_tool_calls, request.max_tool_calls)
    return msgspec.structs.replace(
        limits, max_attempts=max(limits.max_attempts, targets), max_tool_calls=max_tool_calls
    )
