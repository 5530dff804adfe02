"""Files and uploads in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from msgspec import UNSET

from antiphon.clock import Clock
from antiphon.errors import InvalidRequest, NotFound, RequestTooLarge
from antiphon.store import file_queries as queries
from antiphon.store import vector_store_queries
from antiphon.store.database import Database
from antiphon.store.files import DeletedFile, FilePage, Owned, StoredFile, StoredPart
from antiphon.store.pages import page_rows
from antiphon.wire.files import File, FilesQuery
from antiphon.wire.uploads import CreateUpload, Upload, UploadPart, UploadStatus


class SqliteFiles:
    """`Files` in the database of a `SqliteStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, owner: str, stored: StoredFile, *, max_total_bytes: int) -> None:
        """See `Files.add`."""

        def write(db: sqlite3.Connection) -> None:
            _check_room(db, owner, stored.file.bytes, max_total_bytes)
            _insert(db, owner, stored)

        await self._database.transact(write)

    async def get(self, owner: str, file_id: str) -> StoredFile:
        """See `Files.get`."""
        key = {"owner": owner, "file": file_id, "now_s": self._clock.now_s()}
        row = await self._database.transact(lambda db: db.execute(queries.FIND_FILE, key).fetchone())
        if row is None:
            raise NotFound("file", file_id)
        return _stored(row)

    async def page(self, owner: str, query: FilesQuery) -> FilePage:
        """See `Files.page`."""
        key = {"owner": owner, "purpose": query.purpose, "now_s": self._clock.now_s()}
        page, position = queries.FILE_PAGE, queries.FILE_POSITION
        rows, has_more = await self._database.transact(
            lambda db: page_rows(db, query, key, page=page, position=position, kind="file")
        )
        return FilePage([_stored(row).file for row in rows], has_more)

    async def delete(self, owner: str, file_id: str) -> DeletedFile:
        """See `Files.delete`."""
        key = {"owner": owner, "file": file_id}

        def write(db: sqlite3.Connection) -> DeletedFile:
            row = db.execute(queries.BLOB_OF_FILE, key).fetchone()
            if row is None:
                raise NotFound("file", file_id)
            stores = [store for (store,) in db.execute(queries.STORES_OF_FILE, key)]
            db.execute(vector_store_queries.INSERT_CHANGES_OF_FILE, key)
            db.execute(queries.DELETE_FILE, key)
            return DeletedFile(row[0], stores)

        deleted = await self._database.transact(write)
        await self._database.forget()
        return deleted

    async def used_bytes(self, owner: str) -> int:
        """See `Files.used_bytes`."""
        return await self._database.transact(lambda db: _used_bytes(db, owner))

    async def expired(self) -> list[Owned]:
        """See `Files.expired`."""
        key = {"now_s": self._clock.now_s()}
        rows = await self._database.transact(lambda db: db.execute(queries.EXPIRED_FILES, key).fetchall())
        return [Owned(*row) for row in rows]

    async def blobs(self) -> set[str]:
        """See `Files.blobs`."""
        rows = await self._database.transact(lambda db: db.execute(queries.BLOBS).fetchall())
        return {blob for (blob,) in rows}


class SqliteUploads:
    """`Uploads` in the database of a `SqliteStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, owner: str, upload_id: str, request: CreateUpload, *, expires_at_s: int) -> Upload:
        """See `Uploads.create`."""
        row = {
            "request": msgspec.json.encode(request).decode(),
            "created_at_s": int(self._clock.now_s()),
            "expires_at_s": expires_at_s,
        }

        def write(db: sqlite3.Connection) -> Upload:
            db.execute(queries.INSERT_UPLOAD, {"owner": owner, "upload": upload_id, **row})
            return self._find(db, owner, upload_id)

        return await self._database.transact(write)

    async def get(self, owner: str, upload_id: str) -> Upload:
        """See `Uploads.get`."""
        return await self._database.transact(lambda db: self._find(db, owner, upload_id))

    async def request(self, owner: str, upload_id: str) -> CreateUpload:
        """See `Uploads.request`."""
        return await self._database.transact(lambda db: self._pending(db, owner, upload_id))

    async def add_part(self, owner: str, upload_id: str, stored: StoredPart, *, max_total_bytes: int) -> None:
        """See `Uploads.add_part`."""
        key = {"owner": owner, "upload": upload_id}
        row = {
            "part": stored.part.id,
            "bytes": stored.bytes,
            "blob": stored.blob,
            "created_at_s": stored.part.created_at,
        }

        def write(db: sqlite3.Connection) -> None:
            announced = self._pending(db, owner, upload_id).bytes
            there = db.execute(queries.BYTES_OF_PARTS, key).fetchone()[0]
            if there + stored.bytes > announced:
                raise InvalidRequest(
                    f"The parts of upload {upload_id!r} would have {there + stored.bytes:,} bytes, but it was created"
                    f" with {announced:,}.",
                    param="data",
                )
            _check_room(db, owner, stored.bytes, max_total_bytes)
            db.execute(queries.INSERT_PART, {**key, **row})

        await self._database.transact(write)

    async def parts(self, owner: str, upload_id: str) -> dict[str, StoredPart]:
        """See `Uploads.parts`."""

        def read(db: sqlite3.Connection) -> list[Any]:
            self._find(db, owner, upload_id)
            return db.execute(queries.PARTS, {"owner": owner, "upload": upload_id}).fetchall()

        return {
            part: StoredPart(
                part=UploadPart(id=part, created_at=created_at_s, upload_id=upload_id), blob=blob, bytes=size
            )
            for part, size, blob, created_at_s in await self._database.transact(read)
        }

    async def complete(self, owner: str, upload_id: str, stored: StoredFile) -> Upload:
        """See `Uploads.complete`."""

        def write(db: sqlite3.Connection) -> Upload:
            self._pending(db, owner, upload_id)
            _insert(db, owner, stored)
            return self._end(db, owner, upload_id, "completed", msgspec.json.encode(stored.file).decode())

        return await self._database.transact(write)

    async def cancel(self, owner: str, upload_id: str) -> Upload:
        """See `Uploads.cancel`."""

        def write(db: sqlite3.Connection) -> Upload:
            self._pending(db, owner, upload_id)
            return self._end(db, owner, upload_id, "cancelled", None)

        return await self._database.transact(write)

    async def expired(self) -> list[Owned]:
        """See `Uploads.expired`."""
        key = {"now_s": self._clock.now_s()}
        rows = await self._database.transact(lambda db: db.execute(queries.EXPIRED_UPLOADS, key).fetchall())
        return [Owned(*row) for row in rows]

    async def drop_parts(self, owner: str, upload_id: str) -> None:
        """See `Uploads.drop_parts`."""
        key = {"owner": owner, "upload": upload_id}
        await self._database.transact(lambda db: db.execute(queries.DELETE_PARTS, key))

    def _end(
        self, db: sqlite3.Connection, owner: str, upload_id: str, status: UploadStatus, file: str | None
    ) -> Upload:
        key = {"owner": owner, "upload": upload_id}
        db.execute(queries.END_UPLOAD, {**key, "status": status, "file": file})
        db.execute(queries.DELETE_PARTS, key)
        return self._find(db, owner, upload_id)

    def _pending(self, db: sqlite3.Connection, owner: str, upload_id: str) -> CreateUpload:
        upload = self._find(db, owner, upload_id)
        if upload.status != "pending":
            raise InvalidRequest(f"Upload {upload_id!r} is {upload.status}: nothing can be added to it.")
        row = db.execute(queries.FIND_UPLOAD, {"owner": owner, "upload": upload_id}).fetchone()
        return msgspec.json.decode(row[0], type=CreateUpload)

    def _find(self, db: sqlite3.Connection, owner: str, upload_id: str) -> Upload:
        row = db.execute(queries.FIND_UPLOAD, {"owner": owner, "upload": upload_id}).fetchone()
        if row is None:
            raise NotFound("upload", upload_id)
        request = msgspec.json.decode(row[0], type=CreateUpload)
        has_expired = row[1] == "pending" and row[3] <= self._clock.now_s()
        return Upload(
            id=upload_id,
            bytes=request.bytes,
            created_at=row[2],
            expires_at=row[3],
            filename=request.filename,
            purpose=request.purpose,
            status="expired" if has_expired else row[1],
            file=msgspec.json.decode(row[4], type=File) if row[4] else UNSET,
        )


def _insert(db: sqlite3.Connection, owner: str, stored: StoredFile) -> None:
    file = stored.file
    row = {
        "owner": owner,
        "file": file.id,
        "filename": file.filename,
        "media_type": stored.media_type,
        "purpose": file.purpose,
        "bytes": file.bytes,
        "sha256": stored.sha256,
        "blob": stored.blob,
        "created_at_s": file.created_at,
        "expires_at_s": None if file.expires_at is UNSET else file.expires_at,
    }
    db.execute(queries.INSERT_FILE, row)


def _stored(row: Any) -> StoredFile:
    file_id, filename, media_type, purpose, size, sha256, blob, created_at_s, expires_at_s = row
    file = File(
        id=file_id,
        bytes=size,
        created_at=created_at_s,
        filename=filename,
        purpose=purpose,
        expires_at=UNSET if expires_at_s is None else expires_at_s,
    )
    return StoredFile(file=file, blob=blob, media_type=media_type, sha256=sha256)


def _used_bytes(db: sqlite3.Connection, owner: str) -> int:
    return int(db.execute(queries.USED_BYTES, {"owner": owner}).fetchone()[0])


def _check_room(db: sqlite3.Connection, owner: str, more: int, max_total_bytes: int) -> None:
    used = _used_bytes(db, owner)
    if used + more > max_total_bytes:
        raise RequestTooLarge(
            f"With these {more:,} bytes, your files would take {used + more:,}; together they may take"
            f" {max_total_bytes:,}. Delete some first."
        )
