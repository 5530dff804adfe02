"""The journal of one run: its events in order, and when they must be durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antiphon.events import RunEvent, RunFinished, RunStarted
from antiphon.rendering.items import output_items
from antiphon.store.base import ConversationHistory, Store
from antiphon.wire.responses import Item


class Journal:
    """Events as they happen, in memory while the run lasts; `commit` is the barrier that makes them durable.

    With ``store`` None (``store: false``) nothing ever touches a disk, and the journal is gone with the run.
    """

    def __init__(
        self,
        store: Store | None,
        owner: str,
        started: RunStarted,
        *,
        parent: str | None,
        input_items: Sequence[Item],
        conversation: ConversationHistory | None = None,
    ) -> None:
        self.events: list[RunEvent] = [started]
        self._store = store
        self._owner = owner
        self._run = started.run
        self._started = started
        self._parent = parent
        self._input_items = input_items
        self._conversation = conversation
        self._committed = 0
        self._end: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        """Write the run down before anything of it is done.

        Raises:
            NotFound: the parent or the conversation is not there for this owner.
            Conflict: the parent has not ended.
            DuplicateItem: the conversation has one of the input items.
        """
        if self._store is not None:
            await self._store.begin(
                self._owner,
                self._started,
                parent=self._parent,
                input_items=self._input_items,
                conversation=self._conversation,
            )
            self._committed = 1

    def add(self, events: Sequence[RunEvent]) -> None:
        """Note what happened; durable with the next barrier."""
        self.events += events

    async def commit(self) -> None:
        """Barrier: what was added is durable when this returns, before anyone sees what it announces."""
        pending = self.events[self._committed :]
        if self._store is not None and pending:
            await self._store.append(self._owner, self._run, pending)
            self._committed = len(self.events)

    async def finish(self, finished: RunFinished) -> None:
        """The last barrier: the terminal event, everything before it and the output items, in one transaction.

        A run ends once: what was ended is not ended again, and a caller that is cancelled meanwhile changes nothing.
        """
        if self._end is None:
            self.events.append(finished)
            self._end = asyncio.ensure_future(self._write_end(finished))
        await asyncio.shield(self._end)

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event is in it."""
        return self._end is not None

    async def _write_end(self, finished: RunFinished) -> None:
        if self._store is not None:
            pending = self.events[self._committed :]
            # A chat has no items: its messages are read out of the journal.
            items = output_items(self.events, self._run) if self._started.api == "responses" else []
            await self._store.finish(self._owner, self._run, pending, finished, output_items=items)
            self._committed = len(self.events)
