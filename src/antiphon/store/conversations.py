"""Conversations in SQLite: lists of references to items, whose order is that of the transactions that made them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from antiphon.clock import Clock
from antiphon.errors import DuplicateItem, NotFound
from antiphon.store import queries
from antiphon.store.base import ConversationHistory, ItemPage
from antiphon.store.database import Database
from antiphon.store.items import columns, for_the_model, prune, read_page
from antiphon.wire.conversations import Conversation
from antiphon.wire.lists import ListQuery
from antiphon.wire.responses import Item


class SqliteConversations:
    """`Conversations` in the database of a `SqliteStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(
        self, owner: str, conversation: str, *, metadata: Mapping[str, str], items: Sequence[Item]
    ) -> Conversation:
        """See `Conversations.create`."""

        def write(db: sqlite3.Connection) -> Conversation:
            row = {"metadata": msgspec.json.encode(metadata).decode(), "created_at_s": int(self._clock.now_s())}
            db.execute(queries.INSERT_CONVERSATION, {"owner": owner, "conversation": conversation, **row})
            _put(db, owner, conversation, items)
            return _find(db, owner, conversation)

        return await self._database.transact(write)

    async def get(self, owner: str, conversation: str) -> Conversation:
        """See `Conversations.get`."""
        return await self._database.transact(lambda db: _find(db, owner, conversation))

    async def update(self, owner: str, conversation: str, metadata: Mapping[str, str]) -> Conversation:
        """See `Conversations.update`."""

        def write(db: sqlite3.Connection) -> Conversation:
            row = {"metadata": msgspec.json.encode(metadata).decode()}
            db.execute(queries.UPDATE_CONVERSATION, {"owner": owner, "conversation": conversation, **row})
            return _find(db, owner, conversation)

        return await self._database.transact(write)

    async def delete(self, owner: str, conversation: str) -> None:
        """See `Conversations.delete`."""

        def write(db: sqlite3.Connection) -> None:
            _find(db, owner, conversation)
            key = {"owner": owner, "conversation": conversation}
            deleted_runs = db.execute(queries.DELETED_RUNS_OF_CONVERSATION, key).fetchall()
            db.execute(queries.DELETE_CONVERSATION, key)
            for (run,) in deleted_runs:
                prune(db, owner, run)

        await self._database.transact(write)
        await self._database.forget()

    async def add(self, owner: str, conversation: str, items: Sequence[Item]) -> None:
        """See `Conversations.add`."""

        def write(db: sqlite3.Connection) -> None:
            require_new_items(db, owner, conversation, items)
            _put(db, owner, conversation, items)

        await self._database.transact(write)

    async def remove(self, owner: str, conversation: str, item_id: str) -> Conversation:
        """See `Conversations.remove`."""

        def write(db: sqlite3.Connection) -> Conversation:
            key = {"owner": owner, "conversation": conversation, "item_id": item_id}
            number, run, _ = _find_item(db, key)
            db.execute(queries.DELETE_REFERENCE, key)
            if run is None:
                db.execute(queries.DELETE_OWN_ITEM, {**key, "number": number})
            prune(db, owner, run)
            return _find(db, owner, conversation)

        changed = await self._database.transact(write)
        await self._database.forget()
        return changed

    async def item(self, owner: str, conversation: str, item_id: str) -> Item:
        """See `Conversations.item`."""
        key = {"owner": owner, "conversation": conversation, "item_id": item_id}
        data = await self._database.transact(lambda db: _find_item(db, key)[2])
        return msgspec.json.decode(data, type=Item)

    async def items(self, owner: str, conversation: str, query: ListQuery) -> ItemPage:
        """See `Conversations.items`."""

        def read(db: sqlite3.Connection) -> ItemPage:
            _find(db, owner, conversation)
            key = {"owner": owner, "conversation": conversation}
            return read_page(db, query, key, page=queries.CONVERSATION_PAGE, position=queries.CONVERSATION_POSITION)

        return await self._database.transact(read)

    async def history(self, owner: str, conversation: str) -> ConversationHistory:
        """See `Conversations.history`."""

        def read(db: sqlite3.Connection) -> tuple[int, list[tuple[str, ...]]]:
            key = {"owner": owner, "conversation": conversation}
            _find(db, owner, conversation)
            end = db.execute(queries.FIND_CONVERSATION, key).fetchone()[2]
            return end, db.execute(queries.CONVERSATION_HISTORY, key).fetchall()

        end, rows = await self._database.transact(read)
        return ConversationHistory(conversation, end, for_the_model(rows))


def require_new_items(db: sqlite3.Connection, owner: str, conversation: str, items: Iterable[Item]) -> None:
    """Check that the conversation is there and that none of the items is in it, or about to be by a run that is going.

    Raises:
        NotFound: no such conversation for this owner.
        DuplicateItem: it has one of the items.
    """
    _find(db, owner, conversation)
    item_ids = msgspec.json.encode([item["id"] for item in items if "id" in item]).decode()
    key = {"owner": owner, "conversation": conversation, "item_ids": item_ids}
    if taken := db.execute(queries.TAKEN_IDS, key).fetchone():
        raise DuplicateItem(taken[0])


def append_run(db: sqlite3.Connection, owner: str, conversation: str, run: str) -> None:
    """Refer to all items of a run, after everything else. A conversation that was deleted meanwhile stays so."""
    key = {"owner": owner, "conversation": conversation}
    if found := db.execute(queries.FIND_CONVERSATION, key).fetchone():
        count = db.execute(queries.COUNT_ITEMS, {"owner": owner, "run": run}).fetchone()[0]
        db.execute(queries.TAKE_POSITIONS, {**key, "count": count})
        db.execute(queries.REFER_TO_RUN, {**key, "run": run, "first": found[2]})


def _put(db: sqlite3.Connection, owner: str, conversation: str, items: Sequence[Item]) -> None:
    """Write items of the conversation's own, after everything else."""
    key = {"owner": owner, "conversation": conversation}
    first = db.execute(queries.FIND_CONVERSATION, key).fetchone()[2]
    db.execute(queries.TAKE_POSITIONS, {**key, "count": len(items)})
    for position, item in enumerate(items, first):
        number = db.execute(queries.INSERT_OWN_ITEM, {**key, **columns(item)}).lastrowid
        reference = {"position": position, "item_id": item["id"], "item": number}
        db.execute(queries.REFER_TO_OWN_ITEM, {**key, **reference})


def _find(db: sqlite3.Connection, owner: str, conversation: str) -> Conversation:
    row = db.execute(queries.FIND_CONVERSATION, {"owner": owner, "conversation": conversation}).fetchone()
    if row is None:
        raise NotFound("conversation", conversation)
    return Conversation(id=conversation, created_at=row[0], metadata=msgspec.json.decode(row[1], type=dict[str, str]))


def _find_item(db: sqlite3.Connection, key: dict[str, str]) -> tuple[int, str | None, str]:
    _find(db, key["owner"], key["conversation"])
    row: tuple[int, str | None, str] | None = db.execute(queries.FIND_CONVERSATION_ITEM, key).fetchone()
    if row is None:
        raise NotFound("item", key["item_id"])
    return row
