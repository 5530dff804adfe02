"""What a store keeps: runs with their journals and items. One contract; `antiphon.store.sqlite` is the embedded one.

A run's journal is kept in segments: compressed blobs of consecutive events. Each run owns its input and output items,
in order, and points to its parent; the model's input is derived by following the pointers. Every method takes the
owner, and nobody sees another's rows: what belongs to someone else is `NotFound`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from antiphon.events import Api, RunEvent, RunFinished, RunStarted
from antiphon.wire.responses import Item


class UnfinishedRun(msgspec.Struct, frozen=True):
    """A run whose journal has no end: its process died, or it is still going."""

    owner: str
    run: str
    api: Api = "responses"


class StoredChat(msgspec.Struct, frozen=True):
    """A chat completion that was stored: its journal, and what the client has written on it since."""

    events: list[RunEvent]
    metadata: dict[str, str]


class Store(Protocol):
    """Durable memory of runs. A run of one API is not there for the other: ``api`` says whose runs are meant."""

    async def begin(self, owner: str, started: RunStarted, *, parent: str | None, input_items: Sequence[Item]) -> None:
        """Write a new run: its first event, its input items, its parent.

        Raises:
            NotFound: the parent is not there for this owner, or it was deleted.
            Conflict: the parent has not ended, or this owner has a run of that id already.
        """
        ...

    async def append(self, owner: str, run: str, events: Sequence[RunEvent]) -> None:
        """Write the next events of a run as one segment, durably, before this returns.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: the run has ended.
        """
        ...

    async def finish(
        self, owner: str, run: str, events: Sequence[RunEvent], finished: RunFinished, *, output_items: Sequence[Item]
    ) -> None:
        """Write the last events (``finished`` is the last of them) and the output items in one transaction.

        The segments of the run are merged into one.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: the run has ended.
        """
        ...

    async def events(self, owner: str, run: str, *, api: Api = "responses") -> list[RunEvent]:
        """The journal of a run, whole.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
        """
        ...

    async def history(self, owner: str, run: str) -> list[Item]:
        """What a model must see before the next input: items of all ancestors and of this run, oldest first.

        Deleted ancestors count. Output items that a crash, a failure or a cancel cut off (status ``incomplete``)
        do not; text that ran into the token limit does, a call that did never.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: the run has not ended.
        """
        ...

    async def delete(self, owner: str, run: str, *, api: Api = "responses") -> None:
        """Forget a run: its journal goes at once; its items stay only as long as a later run builds on them.

        Raises:
            NotFound: no such run for this owner, or it was deleted before.
            Conflict: the run has not ended.
        """
        ...

    async def chat(self, owner: str, run: str) -> StoredChat:
        """One stored chat completion.

        Raises:
            NotFound: no such chat completion for this owner, it was deleted, or it has no answer (yet).
        """
        ...

    async def chats(
        self,
        owner: str,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = False,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[StoredChat]:
        """Stored chat completions in order of arrival: those after the run ``after`` that have all of ``metadata``.

        Raises:
            NotFound: ``after`` is no chat completion of this owner.
        """
        ...

    async def set_metadata(self, owner: str, run: str, metadata: Mapping[str, str]) -> None:
        """Write on a stored chat completion, over what was written there.

        Raises:
            NotFound: no such chat completion for this owner, or it was deleted.
        """
        ...

    async def unfinished(self) -> list[UnfinishedRun]:
        """Runs of all owners without an end, oldest first: what a restart has to settle."""
        ...

    async def close(self) -> None:
        """Finish writing and release the files. Closing twice is harmless."""
        ...
