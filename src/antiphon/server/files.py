"""The Files API: files that a client uploads, reads back and deletes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote

from msgspec import UNSET
from starlette.routing import Route

from antiphon.clock import Clock, Ids
from antiphon.errors import InvalidRequest
from antiphon.retrieval.stores import SearchableStores
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.server.forms import receive_form
from antiphon.server.streaming import while_connected
from antiphon.store.base import Store
from antiphon.store.blobs import Blobs
from antiphon.store.files import StoredFile
from antiphon.wire.files import CHOICES, File, FileExpiration, FilesQuery, checked_form
from antiphon.wire.lists import decode_query, object_list

_ONE = "/v1/files/{file_id}"

# OpenAI keeps these for thirty days unless told otherwise.
_BATCH_EXPIRES_S = 2_592_000

# RFC 9110, 14.1: one range of bytes.
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class FileLimits(NamedTuple):
    """How large a file may be, and all files of an owner together."""

    max_file_bytes: int
    max_total_bytes: int


class Files:
    """The routes under ``/v1/files``."""

    def __init__(
        self, store: Store, blobs: Blobs, stores: SearchableStores, clock: Clock, ids: Ids, *, limits: FileLimits
    ) -> None:
        self._files = store.files
        self._blobs = blobs
        self._stores = stores
        self._clock = clock
        self._ids = ids
        self._limits = limits

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("POST", "/v1/files", self.create),
            route("GET", "/v1/files", self.list),
            route("GET", _ONE, self.retrieve),
            route("DELETE", _ONE, self.delete),
            route("GET", f"{_ONE}/content", self.content),
        ]

    async def create(self, exchange: Exchange) -> None:
        """``POST /v1/files``: a form with the file."""
        blob = self._ids.new("blob")
        form = await receive_form(exchange, self._blobs, blob, file_field="file", max_bytes=self._limits.max_file_bytes)
        try:
            fields = checked_form(form.fields)
            assert form.file is not None
            if not form.file.bytes:
                raise InvalidRequest(f"The file {form.file.filename!r} is empty.", param="file", code="empty_file")
            file = described(
                new_file_id(self._ids),
                form.file.filename,
                form.file.bytes,
                purpose=fields.purpose,
                expires_after=fields.expires_after,
                now_s=self._clock.now_s(),
            )
            stored = StoredFile(file=file, blob=blob, media_type=form.file.media_type, sha256=form.file.sha256)
            await self._files.add(exchange.owner, stored, max_total_bytes=self._limits.max_total_bytes)
        except BaseException:
            await self._blobs.delete(blob)
            raise
        await exchange.respond_json(file)

    async def list(self, exchange: Exchange) -> None:
        """``GET /v1/files``."""
        page = await self._files.page(exchange.owner, decode_query(exchange.query, FilesQuery, choices=CHOICES))
        await exchange.respond_json(object_list(page.files, has_more=page.has_more))

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/files/{id}``."""
        await exchange.respond_json((await self._files.get(*_file(exchange))).file)

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/files/{id}``: it is in no vector store after that, and no search finds it."""
        owner, file_id = _file(exchange)
        deleted = await self._files.delete(owner, file_id)
        await self._stores.follow(deleted.vector_stores)
        await self._blobs.delete(deleted.blob)
        await exchange.respond_json({"id": file_id, "object": "file", "deleted": True})

    async def content(self, exchange: Exchange) -> None:
        """``GET /v1/files/{id}/content``: the bytes, or one range of them.

        Always as bytes of no known kind: a page that somebody uploaded must not be shown as one of this server.
        """
        stored = await self._files.get(*_file(exchange))
        size = stored.file.bytes
        wanted = _range(exchange.header(b"range"), size)
        start, end = wanted or (0, size)
        name = quote(stored.file.filename, safe="")
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % (end - start)),
            (b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"accept-ranges", b"bytes"),
            (b"etag", f'"{stored.sha256}"'.encode()),
        ]
        if wanted:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        pieces = self._blobs.read(stored.blob, start=start, end=end)
        await while_connected(exchange, _send(exchange, 206 if wanted else 200, headers, pieces))


def new_file_id(ids: Ids) -> str:
    """A new id of a file, such as ``file-6f…``: clients and models know files by this form."""
    return ids.new("file").replace("file_", "file-", 1)


def described(
    file_id: str, filename: str, size: int, *, purpose: str, expires_after: FileExpiration | None, now_s: float
) -> File:
    """The object of a new file."""
    seconds = expires_after.seconds if expires_after else _BATCH_EXPIRES_S if purpose == "batch" else None
    return File(
        id=file_id,
        bytes=size,
        created_at=int(now_s),
        filename=filename,
        purpose=purpose,
        expires_at=UNSET if seconds is None else int(now_s) + seconds,
    )


async def _send(
    exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], pieces: AsyncIterator[bytes]
) -> None:
    first = await anext(pieces, b"")  # before anything is answered: a failure has a status then
    await exchange.start(status, headers)
    await exchange.write(first)
    async for piece in pieces:
        await exchange.write(piece)
    await exchange.end()


def _file(exchange: Exchange) -> tuple[str, str]:
    return exchange.owner, exchange.parameter("file_id")


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes that a ``Range`` header asks for, as start and end; None for all. What is not understood is ignored."""
    found = _RANGE.fullmatch(header or "")
    if not found or not any(found.groups()):
        return None
    if not found[1]:  # the last so many
        start, end = max(size - int(found[2]), 0), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    return (start, end) if start < end else None
