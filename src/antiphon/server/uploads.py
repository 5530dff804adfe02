"""The Uploads API: a file that comes in parts, in any order, each of which can be sent again."""

from __future__ import annotations

import hashlib

from starlette.routing import Route

from antiphon.clock import Clock, Ids
from antiphon.errors import InvalidRequest, RequestTooLarge
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.server.files import FileLimits, described, new_file_id
from antiphon.server.forms import receive_form, safe_filename
from antiphon.store.base import Store
from antiphon.store.blobs import Blobs
from antiphon.store.files import StoredFile, StoredPart
from antiphon.wire.bodies import decode_body
from antiphon.wire.files import CHOICES
from antiphon.wire.uploads import CompleteUpload, CreateUpload, UploadPart

_ONE = "/v1/uploads/{upload_id}"

# OpenAI's: an hour for all parts, and how large one may be.
_UPLOAD_EXPIRES_S = 3600
_MAX_PART_BYTES = 64 * 1024 * 1024


class Uploads:
    """The routes under ``/v1/uploads``."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock, ids: Ids, *, limits: FileLimits) -> None:
        self._uploads = store.uploads
        self._files = store.files
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._limits = limits

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("POST", "/v1/uploads", self.create),
            route("POST", f"{_ONE}/parts", self.add_part),
            route("POST", f"{_ONE}/complete", self.complete),
            route("POST", f"{_ONE}/cancel", self.cancel),
        ]

    async def create(self, exchange: Exchange) -> None:
        """``POST /v1/uploads``: one that announces too much is refused before any of it comes."""
        request = decode_body(await exchange.body(), CreateUpload, choices=CHOICES)
        if request.bytes > self._limits.max_file_bytes:
            raise RequestTooLarge(
                f"The upload would have {request.bytes:,} bytes, but a file may have {self._limits.max_file_bytes:,}."
            )
        if (used := await self._files.used_bytes(exchange.owner)) + request.bytes > self._limits.max_total_bytes:
            raise RequestTooLarge(
                f"With this upload, your files would take {used + request.bytes:,} bytes; together they may take"
                f" {self._limits.max_total_bytes:,}. Delete some first."
            )
        expires_at_s = int(self._clock.now_s()) + _UPLOAD_EXPIRES_S
        made = await self._uploads.create(exchange.owner, self._ids.new("upload"), request, expires_at_s=expires_at_s)
        await exchange.respond_json(made)

    async def add_part(self, exchange: Exchange) -> None:
        """``POST /v1/uploads/{id}/parts``: a form with the bytes."""
        owner, upload_id = _upload(exchange)
        announced = await self._uploads.request(owner, upload_id)
        blob = self._ids.new("blob")
        most = min(_MAX_PART_BYTES, announced.bytes)
        form = await receive_form(exchange, self._blobs, blob, file_field="data", max_bytes=most)
        try:
            assert form.file is not None
            if not form.file.bytes:
                raise InvalidRequest("The part is empty.", param="data", code="empty_file")
            part = UploadPart(id=self._ids.new("part"), created_at=int(self._clock.now_s()), upload_id=upload_id)
            stored = StoredPart(part=part, blob=blob, bytes=form.file.bytes)
            await self._uploads.add_part(owner, upload_id, stored, max_total_bytes=self._limits.max_total_bytes)
        except BaseException:
            await self._blobs.delete(blob)
            raise
        await exchange.respond_json(part)

    async def complete(self, exchange: Exchange) -> None:
        """``POST /v1/uploads/{id}/complete``: the parts in their order become the file."""
        owner, upload_id = _upload(exchange)
        request = decode_body(await exchange.body(), CompleteUpload)
        announced = await self._uploads.request(owner, upload_id)
        parts = await self._uploads.parts(owner, upload_id)
        ordered = [_part(parts, part_id, position) for position, part_id in enumerate(request.part_ids)]
        size = sum(part.bytes for part in ordered)
        if size != announced.bytes:
            raise InvalidRequest(
                f"The parts have {size:,} bytes together, but the upload was created with {announced.bytes:,}.",
                param="part_ids",
                code="bytes_mismatch",
            )
        blob = self._ids.new("blob")
        sha256 = await self._join(ordered, blob, md5=request.md5)
        try:
            file = described(
                new_file_id(self._ids),
                safe_filename(announced.filename),
                size,
                purpose=announced.purpose,
                expires_after=announced.expires_after,
                now_s=self._clock.now_s(),
            )
            stored = StoredFile(file=file, blob=blob, media_type=announced.mime_type, sha256=sha256)
            completed = await self._uploads.complete(owner, upload_id, stored)
        except BaseException:
            await self._blobs.delete(blob)
            raise
        await self._delete(parts)
        await exchange.respond_json(completed)

    async def cancel(self, exchange: Exchange) -> None:
        """``POST /v1/uploads/{id}/cancel``."""
        owner, upload_id = _upload(exchange)
        parts = await self._uploads.parts(owner, upload_id)
        cancelled = await self._uploads.cancel(owner, upload_id)
        await self._delete(parts)
        await exchange.respond_json(cancelled)

    async def _join(self, parts: list[StoredPart], blob: str, *, md5: str | None) -> str:
        """Write the parts as one blob; gives its SHA-256."""
        sha256, found_md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        async with self._blobs.create(blob) as writer:
            for part in parts:
                async for piece in self._blobs.read(part.blob):
                    sha256.update(piece)
                    found_md5.update(piece)
                    await writer.write(piece)
            if md5 is not None and md5.lower() != found_md5.hexdigest():
                raise InvalidRequest(
                    f"The MD5 of the parts is {found_md5.hexdigest()}, not {md5}. Check their order.",
                    param="md5",
                    code="md5_mismatch",
                )
        return sha256.hexdigest()

    async def _delete(self, parts: dict[str, StoredPart]) -> None:
        for part in parts.values():
            await self._blobs.delete(part.blob)


def _upload(exchange: Exchange) -> tuple[str, str]:
    return exchange.owner, exchange.parameter("upload_id")


def _part(parts: dict[str, StoredPart], part_id: str, position: int) -> StoredPart:
    if part_id not in parts:
        param = f"part_ids[{position}]"
        raise InvalidRequest(f"Invalid '{param}': there is no part {part_id!r}.", param=param, code="invalid_value")
    return parts[part_id]
