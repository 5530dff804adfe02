"""The journal of one run: its events in order, when they must be durable, and those who read along."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

from antiphon.errors import StoreError
from antiphon.events import RunEvent, RunFinished, RunStarted, TurnFailed, TurnFinished, TurnStarted
from antiphon.rendering.items import output_items
from antiphon.store.base import ConversationHistory, Store
from antiphon.wire.responses import Item

# How long an event of a run that is flushed may wait before others can see it.
FLUSH_EVERY_S = 0.1

_log = logging.getLogger(__name__)


class Journal:
    """Events as they happen, in memory while the run lasts; `commit` is the barrier that makes them durable.

    With ``store`` None (``store: false``) nothing ever touches a disk, and the journal is gone with the run. One that
    ``flushes`` commits by itself, at most `FLUSH_EVERY_S` after an event; otherwise only barriers do.
    """

    def __init__(
        self,
        store: Store | None,
        owner: str,
        started: RunStarted,
        *,
        parent: str | None = None,
        input_items: Sequence[Item] = (),
        conversation: ConversationHistory | None = None,
        flushes: bool = False,
    ) -> None:
        self.events: list[RunEvent] = [started]
        self.started = started
        self._store = store
        self.owner = owner
        self._run = started.run
        self._parent = parent
        self._input_items = input_items
        self._flushes = flushes
        self._flushing: asyncio.Task[None] | None = None
        self._conversation = conversation
        self._committed = 0
        self._writing = asyncio.Lock()
        self._moved = asyncio.Event()  # set, and replaced, whenever there is more to read
        self._is_left = False
        self._end: asyncio.Future[None] | None = None

    @classmethod
    def resumed(cls, store: Store, owner: str, events: Sequence[RunEvent], *, flushes: bool) -> Journal:
        """The journal of a run that another process began, as far as it came."""
        started = events[0]
        assert isinstance(started, RunStarted)
        journal = cls(store, owner, started, flushes=flushes)
        journal.events = [*events]
        journal._committed = len(events)
        return journal

    # --- writing -----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Write the run down before anything of it is done; nothing to do for one that was begun.

        Raises:
            NotFound: the parent or the conversation is not there for this owner.
            Conflict: the parent has not ended.
            DuplicateItem: the conversation has one of the input items.
        """
        if self._store is not None and not self._committed:
            await self._store.begin(
                self.owner,
                self.started,
                parent=self._parent,
                input_items=self._input_items,
                conversation=self._conversation,
            )
            self._advance(1)

    def add(self, events: Sequence[RunEvent]) -> None:
        """Note what happened; durable with the next barrier."""
        self.events += events
        if self._flushes and self._flushing is None and not self._is_left:
            self._flushing = asyncio.create_task(self._flush())

    async def commit(self) -> None:
        """Barrier: what was added is durable when this returns, before anyone sees what it announces."""
        # A caller who is cancelled must not leave behind events that are written and not counted.
        await asyncio.shield(asyncio.ensure_future(self._write()))

    async def finish(self, finished: RunFinished) -> None:
        """The last barrier: the terminal event, everything before it and the output items, in one transaction.

        A run ends once: what was ended is not ended again, and a caller that is cancelled meanwhile changes nothing.
        """
        if self._end is None:
            self.events.append(finished)
            self._end = asyncio.ensure_future(self._write_end(finished))
        await asyncio.shield(self._end)

    @property
    def is_stored(self) -> bool:
        """Whether anything of it is ever durable."""
        return self._store is not None

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event is in it."""
        return self._end is not None

    async def ended(self) -> None:
        """Return when the end, if there is one, is durable."""
        if self._end is not None:
            await asyncio.shield(self._end)

    def leave(self) -> None:
        """Write no more of it by itself, and let readers go: the run is done, or will not go on in this process."""
        self._is_left = True
        if self._flushing is not None:
            self._flushing.cancel()
        self._moved.set()

    async def _flush(self) -> None:
        try:
            while self._committed < len(self.events):
                await self.commit()
                await asyncio.sleep(FLUSH_EVERY_S)
        except StoreError:
            # Tried again with the next event; a barrier that fails ends the run.
            _log.warning("run %s could not be flushed", self._run, exc_info=True)
        self._flushing = None

    async def _write(self) -> None:
        async with self._writing:
            pending = self.events[self._committed :]
            if self._store is None or not pending or self._end is not None:
                return
            end = self._committed + len(pending)
            has_turn_end = any(isinstance(event, TurnFinished | TurnFailed) for event in pending)
            merge_from = self._turn_began() if self._flushes and has_turn_end else None
            await self._store.append(self.owner, self._run, pending, merge_from=merge_from)
            self._advance(end)

    async def _write_end(self, finished: RunFinished) -> None:
        async with self._writing:
            if self._store is not None:
                pending = self.events[self._committed :]
                items = stored_items(self.events)
                await self._store.finish(self.owner, self._run, pending, finished, output_items=items)
                self._advance(len(self.events))

    def _turn_began(self) -> int:
        """The position of the last turn's first event."""
        positions = range(len(self.events) - 1, -1, -1)
        return next((position for position in positions if isinstance(self.events[position], TurnStarted)), 0)

    # --- reading -----------------------------------------------------------------------------

    async def committed(self) -> AsyncGenerator[list[RunEvent], None]:
        """All events from the first one, each as soon as it is durable; ends with the run, or when it is left."""
        seen = 0
        while True:
            moved = self._moved
            if seen < self._committed:
                batch = self.events[seen : self._committed]
                seen = self._committed
                yield batch
            elif self._is_left or (seen and isinstance(self.events[seen - 1], RunFinished)):
                return
            else:
                await moved.wait()

    def _advance(self, committed: int) -> None:
        self._committed = committed
        self._moved.set()
        self._moved = asyncio.Event()


def stored_items(events: Sequence[RunEvent]) -> list[Item]:
    """The output items of a whole run that are kept beside its journal.

    A chat completion has none: nobody continues from it, and its messages are read out of the journal.
    """
    started = events[0]
    assert isinstance(started, RunStarted)
    return output_items(events, started.run) if started.api == "responses" else []
