"""Vector stores in SQLite, and which files are in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from antiphon.clock import Clock
from antiphon.errors import InvalidRequest, NotFound
from antiphon.store import vector_store_queries as queries
from antiphon.store.database import Database
from antiphon.store.pages import page_rows
from antiphon.store.vector_stores import Searchable, StoreFilePage, VectorStorePage
from antiphon.wire.vector_stores import (
    AttachFile,
    Attribute,
    AutoChunking,
    Chunking,
    CreateVectorStore,
    FileBatch,
    FileCounts,
    FileError,
    FileStatus,
    StoreExpiration,
    StoreFilesQuery,
    StoreStatus,
    UpdateVectorStore,
    VectorStore,
    VectorStoreFile,
    VectorStoresQuery,
    shown_chunking,
)

_DAY_S = 86_400

_AttributeMap = dict[str, Attribute]


class SqliteVectorStores:
    """`VectorStores` in the database of a `SqliteStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    # --- stores ------------------------------------------------------------------------------

    async def create(self, owner: str, vector_store_id: str, request: CreateVectorStore) -> VectorStore:
        """See `VectorStores.create`."""
        row = {
            "name": request.name or "",
            "description": request.description,
            "metadata": _json(request.metadata or {}),
            "now_s": self._now_s,
            "expires_days": request.expires_after and request.expires_after.days,
        }
        files = [
            AttachFile(file_id=file_id, chunking_strategy=request.chunking_strategy)
            for file_id in request.file_ids or ()
        ]

        def write(db: sqlite3.Connection) -> VectorStore:
            db.execute(queries.INSERT_STORE, {"owner": owner, "vector_store": vector_store_id, **row})
            self._attach(db, owner, vector_store_id, files, batch_id=None)
            return self._find(db, owner, vector_store_id)

        return await self._database.transact(write)

    async def get(self, owner: str, vector_store_id: str) -> VectorStore:
        """See `VectorStores.get`."""
        return await self._database.transact(lambda db: self._find(db, owner, vector_store_id))

    async def page(self, owner: str, query: VectorStoresQuery) -> VectorStorePage:
        """See `VectorStores.page`."""
        page, position = queries.STORE_PAGE, queries.STORE_POSITION
        rows, has_more = await self._database.transact(
            lambda db: page_rows(db, query, {"owner": owner}, page=page, position=position, kind="vector store")
        )
        return VectorStorePage([_store(row, self._now_s) for row in rows], has_more)

    async def update(self, owner: str, vector_store_id: str, request: UpdateVectorStore) -> VectorStore:
        """See `VectorStores.update`."""

        def write(db: sqlite3.Connection) -> VectorStore:
            there = self._usable(db, owner, vector_store_id)
            expiration = there.expires_after if request.expires_after is UNSET else request.expires_after
            row = {
                "owner": owner,
                "vector_store": vector_store_id,
                "name": there.name if request.name is UNSET else request.name or "",
                "metadata": _json(there.metadata if request.metadata is UNSET else request.metadata or {}),
                "expires_days": expiration.days if isinstance(expiration, StoreExpiration) else None,
            }
            db.execute(queries.UPDATE_STORE, row)
            return self._use(db, owner, vector_store_id)

        return await self._database.transact(write)

    async def delete(self, owner: str, vector_store_id: str) -> None:
        """See `VectorStores.delete`."""
        key = {"owner": owner, "vector_store": vector_store_id}

        def write(db: sqlite3.Connection) -> None:
            self._find(db, owner, vector_store_id)
            db.execute(queries.DELETE_STORE, key)
            db.execute(queries.DELETE_CHANGES, key)

        await self._database.transact(write)
        await self._database.forget()

    async def use(self, owner: str, vector_store_id: str) -> VectorStore:
        """See `VectorStores.use`."""

        def write(db: sqlite3.Connection) -> VectorStore:
            self._usable(db, owner, vector_store_id)
            return self._use(db, owner, vector_store_id)

        return await self._database.transact(write)

    # --- files -------------------------------------------------------------------------------

    async def attach(
        self, owner: str, vector_store_id: str, files: Sequence[AttachFile], *, batch_id: str | None = None
    ) -> list[VectorStoreFile]:
        """See `VectorStores.attach`."""

        def write(db: sqlite3.Connection) -> list[VectorStoreFile]:
            self._usable(db, owner, vector_store_id)
            self._use(db, owner, vector_store_id)
            if batch_id is not None:
                batch = {"owner": owner, "vector_store": vector_store_id, "batch": batch_id, "now_s": self._now_s}
                db.execute(queries.INSERT_BATCH, batch)
            self._attach(db, owner, vector_store_id, files, batch_id=batch_id)
            return [_find_file(db, owner, vector_store_id, file.file_id) for file in files]

        return await self._database.transact(write)

    async def file(self, owner: str, vector_store_id: str, file_id: str) -> VectorStoreFile:
        """See `VectorStores.file`."""

        def read(db: sqlite3.Connection) -> VectorStoreFile:
            self._find(db, owner, vector_store_id)
            return _find_file(db, owner, vector_store_id, file_id)

        return await self._database.transact(read)

    async def files(
        self, owner: str, vector_store_id: str, query: StoreFilesQuery, *, batch_id: str | None = None
    ) -> StoreFilePage:
        """See `VectorStores.files`."""
        key = {"owner": owner, "vector_store": vector_store_id, "batch": batch_id, "status": query.filter}
        page, position = queries.STORE_FILE_PAGE, queries.STORE_FILE_POSITION

        def read(db: sqlite3.Connection) -> StoreFilePage:
            self._find(db, owner, vector_store_id)
            if batch_id is not None:
                _find_batch(db, owner, vector_store_id, batch_id)
            rows, has_more = page_rows(db, query, key, page=page, position=position, kind="file")
            return StoreFilePage([_file(row, vector_store_id) for row in rows], has_more)

        return await self._database.transact(read)

    async def set_attributes(
        self, owner: str, vector_store_id: str, file_id: str, attributes: _AttributeMap
    ) -> VectorStoreFile:
        """See `VectorStores.set_attributes`."""
        key = {"owner": owner, "vector_store": vector_store_id, "file": file_id}

        def write(db: sqlite3.Connection) -> VectorStoreFile:
            self._find(db, owner, vector_store_id)
            _find_file(db, owner, vector_store_id, file_id)
            db.execute(queries.SET_ATTRIBUTES, {**key, "attributes": _json(attributes)})
            db.execute(queries.INSERT_CHANGE, key)
            return _find_file(db, owner, vector_store_id, file_id)

        return await self._database.transact(write)

    async def detach(self, owner: str, vector_store_id: str, file_id: str) -> None:
        """See `VectorStores.detach`."""
        key = {"owner": owner, "vector_store": vector_store_id, "file": file_id}

        def write(db: sqlite3.Connection) -> None:
            self._find(db, owner, vector_store_id)
            _find_file(db, owner, vector_store_id, file_id)
            db.execute(queries.INSERT_CHANGE, key)
            db.execute(queries.DELETE_STORE_FILE, key)

        await self._database.transact(write)

    async def searchable(self, owner: str, vector_store_id: str, file_ids: Sequence[str]) -> dict[str, Searchable]:
        """See `VectorStores.searchable`."""
        key = {"owner": owner, "vector_store": vector_store_id, "files": _json(file_ids), "now_s": self._now_s}
        rows = await self._database.transact(lambda db: db.execute(queries.SEARCHABLE, key).fetchall())
        return {
            file_id: Searchable(filename, msgspec.json.decode(attributes, type=_AttributeMap))
            for file_id, filename, attributes in rows
        }

    # --- batches -----------------------------------------------------------------------------

    async def batch(self, owner: str, vector_store_id: str, batch_id: str) -> FileBatch:
        """See `VectorStores.batch`."""

        def read(db: sqlite3.Connection) -> FileBatch:
            self._find(db, owner, vector_store_id)
            return _find_batch(db, owner, vector_store_id, batch_id)

        return await self._database.transact(read)

    async def cancel_batch(self, owner: str, vector_store_id: str, batch_id: str) -> FileBatch:
        """See `VectorStores.cancel_batch`."""
        key = {"owner": owner, "batch": batch_id}

        def write(db: sqlite3.Connection) -> FileBatch:
            self._find(db, owner, vector_store_id)
            _find_batch(db, owner, vector_store_id, batch_id)
            db.execute(queries.INSERT_CHANGES_OF_BATCH, key)
            db.execute(queries.CANCEL_FILES, key)
            db.execute(queries.CANCEL_BATCH, {**key, "now_s": self._now_s})
            return _find_batch(db, owner, vector_store_id, batch_id)

        return await self._database.transact(write)

    # --- within a transaction ----------------------------------------------------------------

    @property
    def _now_s(self) -> int:
        return int(self._clock.now_s())

    def _find(self, db: sqlite3.Connection, owner: str, vector_store_id: str) -> VectorStore:
        row = db.execute(queries.FIND_STORE, {"owner": owner, "vector_store": vector_store_id}).fetchone()
        if row is None:
            raise NotFound("vector store", vector_store_id)
        return _store(row, self._now_s)

    def _usable(self, db: sqlite3.Connection, owner: str, vector_store_id: str) -> VectorStore:
        store = self._find(db, owner, vector_store_id)
        if store.status == "expired":
            raise InvalidRequest(
                f"Vector store {vector_store_id!r} has expired. Make a new one, and put the files into that.",
                code="vector_store_expired",
            )
        return store

    def _use(self, db: sqlite3.Connection, owner: str, vector_store_id: str) -> VectorStore:
        db.execute(queries.USE_STORE, {"owner": owner, "vector_store": vector_store_id, "now_s": self._now_s})
        return self._find(db, owner, vector_store_id)

    def _attach(
        self,
        db: sqlite3.Connection,
        owner: str,
        vector_store_id: str,
        files: Sequence[AttachFile],
        *,
        batch_id: str | None,
    ) -> None:
        ids = {"files": _json([file.file_id for file in files]), "owner": owner, "now_s": self._now_s}
        if missing := db.execute(queries.MISSING_FILES, ids).fetchone():
            raise NotFound("file", missing[0], param="file_id")
        for file in files:
            row = {
                "owner": owner,
                "vector_store": vector_store_id,
                "file": file.file_id,
                "batch": batch_id,
                "chunking": _json(file.chunking_strategy or AutoChunking()),
                "attributes": _json(file.attributes or {}),
                "now_s": self._now_s,
            }
            db.execute(queries.INSERT_STORE_FILE, row)


# --- rows ------------------------------------------------------------------------------------


def _store(row: Any, now_s: int) -> VectorStore:
    store_id, name, description, metadata, created_at_s, last_active_at_s, days, expired_at_s, size, *counts = row
    expires_at_s = None if days is None else last_active_at_s + days * _DAY_S
    counted = _counts(counts)
    status: StoreStatus = "in_progress" if counted.in_progress else "completed"
    if expired_at_s is not None or (expires_at_s is not None and expires_at_s <= now_s):
        status = "expired"
    return VectorStore(
        id=store_id,
        created_at=created_at_s,
        name=name,
        usage_bytes=size,
        file_counts=counted,
        status=status,
        last_active_at=last_active_at_s,
        expires_at=expires_at_s,
        expires_after=UNSET if days is None else StoreExpiration(anchor="last_active_at", days=days),
        description=UNSET if description is None else description,
        metadata=msgspec.json.decode(metadata, type=dict[str, str]),
    )


def _find_file(db: sqlite3.Connection, owner: str, vector_store_id: str, file_id: str) -> VectorStoreFile:
    key = {"owner": owner, "vector_store": vector_store_id, "file": file_id}
    row = db.execute(queries.FIND_STORE_FILE, key).fetchone()
    if row is None:
        raise NotFound("file", file_id, hint=f" It is not in vector store {vector_store_id!r}.")
    return _file(row, vector_store_id)


def _file(row: Any, vector_store_id: str) -> VectorStoreFile:
    file_id, status, error, chunking, attributes, usage_bytes, created_at_s = row
    return VectorStoreFile(
        id=file_id,
        usage_bytes=usage_bytes,
        created_at=created_at_s,
        vector_store_id=vector_store_id,
        status=status,
        last_error=msgspec.json.decode(error, type=FileError) if error else None,
        chunking_strategy=shown_chunking(msgspec.json.decode(chunking, type=Chunking)),
        attributes=msgspec.json.decode(attributes, type=_AttributeMap),
    )


def _find_batch(db: sqlite3.Connection, owner: str, vector_store_id: str, batch_id: str) -> FileBatch:
    key = {"owner": owner, "vector_store": vector_store_id, "batch": batch_id}
    row = db.execute(queries.FIND_BATCH, key).fetchone()
    if row is None:
        raise NotFound("file batch", batch_id)
    created_at_s, cancelled_at_s, *counts = row
    counted = _counts(counts)
    return FileBatch(
        id=batch_id,
        created_at=created_at_s,
        vector_store_id=vector_store_id,
        status="cancelled" if cancelled_at_s is not None else _batch_status(counted),
        file_counts=counted,
    )


def _counts(row: Sequence[int]) -> FileCounts:
    in_progress, completed, failed, cancelled, total = row
    return FileCounts(in_progress=in_progress, completed=completed, failed=failed, cancelled=cancelled, total=total)


def _batch_status(counts: FileCounts) -> FileStatus:
    """A batch has failed if nothing of it could be indexed."""
    if counts.in_progress:
        return "in_progress"
    return "failed" if counts.failed and counts.failed == counts.total else "completed"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
