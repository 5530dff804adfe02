"""The queue of files to be indexed, in SQLite: a file waits as a row, so that no crash forgets it."""

from __future__ import annotations

import sqlite3

import msgspec

from antiphon.clock import Clock
from antiphon.store import vector_store_queries as queries
from antiphon.store.database import Database
from antiphon.store.files import Owned
from antiphon.store.vector_stores import IndexChange, IndexTarget, IngestionJob
from antiphon.wire.vector_stores import Attribute, Chunking, FileError


class SqliteIngestionQueue:
    """`IngestionQueue` in the database of a `SqliteStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def release(self) -> None:
        """See `IngestionQueue.release`."""
        await self._database.transact(lambda db: db.execute(queries.RELEASE))

    async def claim(self, limit: int) -> list[IngestionJob]:
        """See `IngestionQueue.claim`."""

        def write(db: sqlite3.Connection) -> list[IngestionJob]:
            waiting: dict[str, int] = dict(db.execute(queries.WAITING).fetchall())
            at_work: dict[str, int] = dict(db.execute(queries.AT_WORK).fetchall())
            jobs: list[IngestionJob] = []
            while waiting and len(jobs) < limit:
                owner = min(waiting, key=lambda each: (at_work.get(each, 0), waiting[each]))
                db.execute(queries.CLAIM, {"number": waiting[owner]})
                jobs.append(_job(db, waiting[owner]))
                at_work[owner] = at_work.get(owner, 0) + 1
                [first] = db.execute(queries.FIRST_WAITING, {"owner": owner}).fetchone()
                if first is None:
                    del waiting[owner]
                else:
                    waiting[owner] = first
            return jobs

        return await self._database.transact(write)

    async def put_back(self, job: IngestionJob) -> None:
        """See `IngestionQueue.put_back`."""
        await self._database.transact(lambda db: db.execute(queries.PUT_BACK, {"number": job.number}))

    async def complete(self, job: IngestionJob, *, usage_bytes: int) -> bool:
        """See `IngestionQueue.complete`."""
        row = {"number": job.number, "usage_bytes": usage_bytes}
        return await self._database.transact(lambda db: db.execute(queries.COMPLETE, row).rowcount > 0)

    async def fail(self, job: IngestionJob, error: FileError) -> None:
        """See `IngestionQueue.fail`."""
        row = {"number": job.number, "error": msgspec.json.encode(error).decode()}
        place = {"owner": job.owner, "vector_store": job.vector_store, "file": job.file_id}

        def write(db: sqlite3.Connection) -> None:
            if db.execute(queries.FAIL, row).rowcount:
                db.execute(queries.INSERT_CHANGE, place)  # an older version of it may be indexed

        await self._database.transact(write)

    async def wanted(self, number: int) -> bool:
        """See `IngestionQueue.wanted`."""
        row = await self._database.transact(lambda db: db.execute(queries.IS_WANTED, {"number": number}).fetchone())
        return bool(row[0])

    async def requeue(self, owner: str, vector_store_id: str) -> None:
        """See `IngestionQueue.requeue`."""
        key = {"owner": owner, "vector_store": vector_store_id}
        await self._database.transact(lambda db: db.execute(queries.REQUEUE, key))

    async def changes(self) -> list[IndexChange]:
        """See `IngestionQueue.changes`."""
        rows = await self._database.transact(lambda db: db.execute(queries.CHANGES).fetchall())
        return [IndexChange(*row) for row in rows]

    async def target(self, change: IndexChange) -> IndexTarget:
        """See `IngestionQueue.target`."""
        key = {"owner": change.owner, "vector_store": change.vector_store, "file": change.file_id}
        row = await self._database.transact(lambda db: db.execute(queries.FIND_STORE_FILE, key).fetchone())
        status = row and row[1]
        if status == "completed":
            return IndexTarget(
                action="set_attributes", attributes=msgspec.json.decode(row[4], type=dict[str, Attribute])
            )
        return IndexTarget(action="wait" if status == "in_progress" else "remove")

    async def settle(self, change: IndexChange) -> None:
        """See `IngestionQueue.settle`."""
        await self._database.transact(lambda db: db.execute(queries.DELETE_CHANGE, {"number": change.number}))

    async def all(self) -> list[Owned]:
        """See `IngestionQueue.all`."""
        rows = await self._database.transact(lambda db: db.execute(queries.ALL_STORES).fetchall())
        return [Owned(*row) for row in rows]

    async def expire(self) -> list[Owned]:
        """See `IngestionQueue.expire`."""
        now_s = int(self._clock.now_s())

        def write(db: sqlite3.Connection) -> list[Owned]:
            expired = [Owned(*row) for row in db.execute(queries.EXPIRED_STORES, {"now_s": now_s}).fetchall()]
            for owner, vector_store in expired:
                key = {"owner": owner, "vector_store": vector_store}
                db.execute(queries.EXPIRE_STORE, {**key, "now_s": now_s})
                db.execute(queries.EMPTY_STORE, key)
                db.execute(queries.DELETE_CHANGES, key)
            return expired

        return await self._database.transact(write)


def _job(db: sqlite3.Connection, number: int) -> IngestionJob:
    row = db.execute(queries.JOB, {"number": number}).fetchone()
    *known, chunking, attributes, attempts = row
    names = ("number", "owner", "vector_store", "file_id", "blob", "filename", "media_type", "sha256")
    return IngestionJob(
        **dict(zip(names, known, strict=True)),
        chunking=msgspec.json.decode(chunking, type=Chunking),
        attributes=msgspec.json.decode(attributes, type=dict[str, Attribute]),
        attempts=attempts,
    )
