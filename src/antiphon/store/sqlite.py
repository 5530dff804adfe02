"""The embedded store: one SQLite database in the data directory.

What was written stays when the process is killed, at once. When the whole machine loses power, the last commits may be
missing (the database is never damaged by that); ``synchronous="full"`` waits for the disk on each commit and loses
none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from antiphon.clock import Clock
from antiphon.errors import Conflict, NotFound, StoreError
from antiphon.events import Api, RunEvent, RunFinished, RunStarted
from antiphon.store import queries, segments
from antiphon.store.base import ChatPage, ConversationHistory, ItemPage, StoredChat, UnfinishedRun
from antiphon.store.conversations import SqliteConversations, append_run, require_new_items
from antiphon.store.database import Database, Synchronous
from antiphon.store.items import counts, for_the_model, insert_run_items, prune, read_page
from antiphon.store.sqlite_files import SqliteFiles, SqliteUploads
from antiphon.store.sqlite_ingestion import SqliteIngestionQueue
from antiphon.store.sqlite_vector_stores import SqliteVectorStores
from antiphon.wire.lists import ChatListQuery, ListQuery
from antiphon.wire.responses import Item

# What a client calls a run of each API.
_KINDS: dict[Api, str] = {"responses": "response", "chat": "chat completion"}
# In `queries.HISTORY`, the distance and the place of what the run itself said.
_OWN_OUTPUT = (0, 2)
# What ends so is part of its conversation; what ends otherwise may be asked again.
_ADDED_TO_CONVERSATION = ("completed", "incomplete")


class _Run(NamedTuple):
    parent: str | None
    status: str
    deleted_at_s: int | None
    conversation: str | None
    api: str
    forked_from: str | None

    @property
    def is_going(self) -> bool:
        return self.status == "in_progress"


class SqliteStore:
    """A `Store` in one SQLite file; made by `open`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.conversations = SqliteConversations(database, clock)
        self.files = SqliteFiles(database, clock)
        self.uploads = SqliteUploads(database, clock)
        self.vector_stores = SqliteVectorStores(database, clock)
        self.ingestion = SqliteIngestionQueue(database, clock)

    @classmethod
    def open(cls, data_dir: Path | None, *, clock: Clock, synchronous: Synchronous = "normal") -> SqliteStore:
        """The store in ``data_dir``, which is made if it is not there; None keeps everything in memory.

        Raises:
            StoreLocked: another process has the directory.
            SchemaOutOfDate: a newer version wrote the database.
            StoreError: the directory or the database in it cannot be used.
        """
        return cls(Database.open(data_dir, clock=clock, synchronous=synchronous), clock)

    @classmethod
    def read(cls, data_dir: Path, *, clock: Clock) -> SqliteStore:
        """The store in ``data_dir`` to be read only, also while a server has it.

        Raises:
            SchemaOutOfDate: another version wrote the database.
            StoreError: there is none, or it cannot be read; later, something was to be written.
        """
        return cls(Database.read(data_dir), clock)

    async def begin(
        self,
        owner: str,
        started: RunStarted,
        *,
        parent: str | None,
        input_items: Sequence[Item],
        conversation: ConversationHistory | None = None,
    ) -> None:
        """See `Store.begin`."""

        def write(db: sqlite3.Connection) -> None:
            if parent is not None and _visible(db, owner, parent).is_going:
                raise Conflict(f"Run {parent!r} has not ended: it cannot be continued yet.")
            if conversation is not None:
                require_new_items(db, owner, conversation.conversation, input_items)
            key = {"owner": owner, "run": started.run}
            if _find(db, owner, started.run):
                raise Conflict(f"There is already a run {started.run!r}.")
            row = {
                "parent": parent,
                "created_at_s": started.created_at_s,
                "conversation": conversation and conversation.conversation,
                "conversation_end": conversation and conversation.end,
                "api": started.api,
                "model": started.model,
                "metadata": msgspec.json.encode(started.request.get("metadata") or {}).decode(),
            }
            db.execute(queries.INSERT_RUN, {**key, **row})
            db.execute(queries.APPEND_SEGMENT, {**key, "count": 1, "blob": segments.pack([started])})
            insert_run_items(db, owner, started.run, "input", input_items)

        await self._database.transact(write)

    async def fork(self, owner: str, run: str, events: Sequence[RunEvent]) -> None:
        """See `Store.fork`."""
        started = events[0]
        if not isinstance(started, RunStarted):
            raise StoreError("The first of the events of a run must be its run.started.")
        key = {"owner": owner, "run": started.run}

        def write(db: sqlite3.Connection) -> None:
            _visible(db, owner, run)
            if _find(db, owner, started.run):
                raise Conflict(f"There is already a run {started.run!r}.")
            row = {"source": run, "created_at_s": started.created_at_s, "model": started.model}
            db.execute(queries.INSERT_FORK, {**key, **row})
            db.execute(queries.COPY_INPUT, {**key, "source": run})
            db.execute(queries.APPEND_SEGMENT, {**key, "count": len(events), "blob": segments.pack(events)})

        await self._database.transact(write)

    async def append(self, owner: str, run: str, events: Sequence[RunEvent], *, merge_from: int | None = None) -> None:
        """See `Store.append`."""

        def write(db: sqlite3.Connection) -> None:
            _require_going(db, owner, run)
            merged: list[tuple[int, bytes]] = []
            if merge_from is not None:
                late = {"owner": owner, "run": run, "seq": merge_from}
                merged = db.execute(queries.SEGMENTS_FROM, late).fetchall()
                db.execute(queries.DELETE_SEGMENTS_FROM, late)
            blob = segments.pack(events, after=[blob for _, blob in merged], run=run)
            count = sum(count for count, _ in merged) + len(events)
            db.execute(queries.APPEND_SEGMENT, {"owner": owner, "run": run, "count": count, "blob": blob})

        if events:
            await self._database.transact(write)

    async def finish(
        self, owner: str, run: str, events: Sequence[RunEvent], finished: RunFinished, *, output_items: Sequence[Item]
    ) -> None:
        """See `Store.finish`."""
        if not events or events[-1] != finished:
            raise StoreError(f"The last of the events that end run {run!r} must be its run.finished.")

        def write(db: sqlite3.Connection) -> None:
            going = _require_going(db, owner, run)
            conversation = None if going.forked_from else going.conversation
            key = {"owner": owner, "run": run}
            written = db.execute(queries.SEGMENTS, key).fetchall()
            blob = segments.pack(events, after=[blob for _, blob in written], run=run)
            count = written[-1][0] + 1 + len(events)
            db.execute(queries.DELETE_SEGMENTS, key)
            db.execute(queries.APPEND_SEGMENT, {**key, "count": count, "blob": blob})
            insert_run_items(db, owner, run, "output", output_items)
            if conversation is not None and finished.status in _ADDED_TO_CONVERSATION:
                append_run(db, owner, conversation, run)
            end = {"status": finished.status, "finished_at_s": finished.finished_at_s}
            db.execute(queries.FINISH_RUN, {**key, **end})

        await self._database.transact(write)

    async def events(self, owner: str, run: str, *, api: Api = "responses") -> list[RunEvent]:
        """See `Store.events`."""

        def read(db: sqlite3.Connection) -> list[bytes]:
            _visible(db, owner, run, api)
            return [blob for _, blob in db.execute(queries.SEGMENTS, {"owner": owner, "run": run})]

        blobs = await self._database.transact(read)
        return [event for blob in blobs for event in segments.unpack(blob, run=run)]

    async def history(self, owner: str, run: str) -> list[Item]:
        """See `Store.history`."""

        def read(db: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
            if _visible(db, owner, run).is_going:
                raise Conflict(f"Run {run!r} has not ended: it cannot be continued yet.")
            return db.execute(queries.HISTORY, {"owner": owner, "run": run}).fetchall()

        return for_the_model(await self._database.transact(read))

    async def context(self, owner: str, run: str) -> list[Item]:
        """See `Store.context`."""

        def read(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            _visible(db, owner, run)
            return db.execute(queries.HISTORY, {"owner": owner, "run": run}).fetchall()

        rows = await self._database.transact(read)
        return for_the_model(row for row in rows if row[4:6] != _OWN_OUTPUT)

    async def input_items(self, owner: str, run: str, query: ListQuery) -> ItemPage:
        """See `Store.input_items`."""

        def read(db: sqlite3.Connection) -> ItemPage:
            _visible(db, owner, run)
            key = {"owner": owner, "run": run}
            return read_page(db, query, key, page=queries.INPUT_PAGE, position=queries.INPUT_POSITION)

        return await self._database.transact(read)

    async def items(self, owner: str, item_ids: Sequence[str]) -> dict[str, Item]:
        """See `Store.items`."""
        key = {"owner": owner, "item_ids": msgspec.json.encode(item_ids).decode()}
        rows = await self._database.transact(lambda db: db.execute(queries.ITEMS_BY_ID, key).fetchall())
        found = [(row, msgspec.json.decode(row[3], type=Item)) for row in rows]
        return {item_id: item for (status, side, kind, _, item_id), item in found if counts(status, side, kind, item)}

    async def chat(self, owner: str, run: str) -> StoredChat:
        """See `Store.chat`."""

        def read(db: sqlite3.Connection) -> tuple[str, list[bytes]]:
            if _visible(db, owner, run, "chat").status not in ("completed", "incomplete"):
                raise NotFound(_KINDS["chat"], run)
            key = {"owner": owner, "run": run}
            [metadata] = db.execute(queries.METADATA, key).fetchone()
            return metadata, [blob for _, blob in db.execute(queries.SEGMENTS, key)]

        return _stored_chat(run, *await self._database.transact(read))

    async def chats(self, owner: str, query: ChatListQuery) -> ChatPage:
        """See `Store.chats`."""
        asked = {
            "owner": owner,
            "after": query.after,
            "limit": query.limit + 1,
            "model": query.model,
            "metadata": msgspec.json.encode(query.metadata).decode(),
        }

        def read(db: sqlite3.Connection) -> list[tuple[str, str, list[bytes]]]:
            if query.after is not None:
                _visible(db, owner, query.after, "chat")
            page = queries.CHATS_NEWEST_FIRST if query.order == "desc" else queries.CHATS_OLDEST_FIRST
            return [
                (run, metadata, [blob for _, blob in db.execute(queries.SEGMENTS, {"owner": owner, "run": run})])
                for run, metadata in db.execute(page, asked).fetchall()
            ]

        found = [_stored_chat(*row) for row in await self._database.transact(read)]
        return ChatPage(found[: query.limit], len(found) > query.limit)

    async def set_metadata(self, owner: str, run: str, metadata: Mapping[str, str]) -> None:
        """See `Store.set_metadata`."""

        def write(db: sqlite3.Connection) -> None:
            _visible(db, owner, run, "chat")
            text = msgspec.json.encode(metadata).decode()
            db.execute(queries.SET_METADATA, {"owner": owner, "run": run, "metadata": text})

        await self._database.transact(write)

    async def delete(self, owner: str, run: str, *, api: Api = "responses") -> None:
        """See `Store.delete`."""

        def write(db: sqlite3.Connection) -> None:
            if _visible(db, owner, run, api).is_going:
                raise Conflict(f"Run {run!r} has not ended: cancel it before deleting it.")
            key = {"owner": owner, "run": run}
            db.execute(queries.DELETE_SEGMENTS, key)
            db.execute(queries.MARK_RUN_DELETED, {**key, "deleted_at_s": int(self._clock.now_s())})
            prune(db, owner, run)

        await self._database.transact(write)
        await self._database.forget()

    async def unfinished(self) -> list[UnfinishedRun]:
        """See `Store.unfinished`."""
        rows = await self._database.transact(lambda db: db.execute(queries.UNFINISHED_RUNS).fetchall())
        return [UnfinishedRun(*row) for row in rows]

    async def close(self) -> None:
        """See `Store.close`. Closing twice is harmless."""
        await self._database.close()


def _find(db: sqlite3.Connection, owner: str, run: str) -> _Run | None:
    row = db.execute(queries.FIND_RUN, {"owner": owner, "run": run}).fetchone()
    return _Run(*row) if row else None


def _visible(db: sqlite3.Connection, owner: str, run: str, api: Api = "responses") -> _Run:
    found = _find(db, owner, run)
    if found is None or found.deleted_at_s is not None or found.api != api:
        raise NotFound(_KINDS[api], run)
    return found


def _require_going(db: sqlite3.Connection, owner: str, run: str) -> _Run:
    found = _find(db, owner, run)
    if found is None or found.deleted_at_s is not None:
        raise NotFound("response", run)
    if not found.is_going:
        raise Conflict(f"Run {run!r} has ended: its journal takes no more events.")
    return found


def _stored_chat(run: str, metadata: str, blobs: Sequence[bytes]) -> StoredChat:
    events = [event for blob in blobs for event in segments.unpack(blob, run=run)]
    return StoredChat(events, msgspec.json.decode(metadata, type=dict[str, str]))
