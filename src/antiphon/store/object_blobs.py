"""The bytes of files in object storage: S3 and what speaks like it, Azure, Google, or a directory. Needs `obstore`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon.errors import ConfigError, StorageFailed
from antiphon.store.blobs import PIECE_BYTES, BlobWriter

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

# Of an upload in parts: what is held in memory is at most one more part than are under way.
_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 2

# The library would try for three minutes: longer than a client waits.
_RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}


class ObjectBlobs:
    """`Blobs` in a bucket, each an object below the prefix of the store's URL."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> ObjectBlobs:
        """The bucket and prefix of a URL such as ``s3://bucket/prefix``.

        Keys and region come from the environment, as the providers' own tools read them.

        Raises:
            ConfigError: `obstore` is not installed, or the URL is none it knows.
        """
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise ConfigError(
                f"[files] url is {url!r}, but obstore is not installed. Do it with `pip install 'antiphon[s3]'`."
            ) from error
        try:
            return cls(from_url(url, retry_config=_RETRIES))
        except (BaseError, ValueError) as error:
            raise ConfigError(f"[files] url {url!r} cannot be used: {error}") from error

    @asynccontextmanager
    async def create(self, name: str) -> AsyncIterator[BlobWriter]:
        """See `Blobs.create`: one request for a small blob, else an upload in parts, which is given up by a failure."""
        writer = _ObjectWriter(self._store, name)
        with _failures(name):
            try:
                yield writer
                await writer.finish()
            finally:
                await writer.close()

    async def read(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Blobs.read`."""
        import obstore

        options: Any = {"range": (start, end) if end is not None else {"offset": start}} if start or end else {}
        if end is not None and end <= start:
            return
        with _failures(name):
            found = await obstore.get_async(self._store, name, options=options)
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    @asynccontextmanager
    async def on_disk(self, name: str) -> AsyncIterator[Path]:
        """See `Blobs.on_disk`: a copy."""
        descriptor, path = await asyncio.to_thread(tempfile.mkstemp, prefix="antiphon-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for piece in self.read(name):
                    await asyncio.to_thread(file.write, piece)
            yield Path(path)
        finally:
            await asyncio.to_thread(Path(path).unlink, missing_ok=True)

    async def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        import obstore

        with _failures(name), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, name)

    async def names(self, *, before_s: float) -> AsyncIterator[str]:
        """See `Blobs.names`."""
        import obstore

        with _failures("the list"):
            async for page in obstore.list(self._store):
                for each in page:
                    if each["last_modified"].timestamp() < before_s:
                        yield each["path"]


class _ObjectWriter:
    """Holds what fits into one part; what does not is handed to an upload, which reads it a few pieces later."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name
        self._held = bytearray()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_PARTS_AT_ONCE)
        self._upload: asyncio.Future[Any] | None = None
        self._is_given_up = False

    async def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= _PART_BYTES:
            await self._hand_over(self._taken())

    async def finish(self) -> None:
        import obstore

        if self._upload is None:
            await obstore.put_async(self._store, self._name, self._taken(), use_multipart=False)
            return
        await self._hand_over(self._taken())
        await self._hand_over(None)
        await self._upload

    async def close(self) -> None:
        """Give the upload up, if it is not done: what it has read until then is forgotten."""
        if self._upload is None:
            return
        if not self._upload.done():
            self._is_given_up = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)
            await asyncio.wait((self._upload,))
        if not self._upload.cancelled():
            self._upload.exception()  # seen, whether it is raised or not

    def _taken(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held

    async def _hand_over(self, piece: bytes | None) -> None:
        import obstore

        if self._upload is None:
            put = obstore.put_async(
                self._store, self._name, self._pieces(), chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )
            self._upload = asyncio.ensure_future(put)
        putting = asyncio.ensure_future(self._queue.put(piece))
        try:
            await asyncio.wait((putting, self._upload), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not putting.done():
                putting.cancel()
        if putting.cancelled() or not putting.done():
            self._upload.result()  # raises why nothing is read any more

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            if piece:
                yield piece
        if self._is_given_up:
            raise StorageFailed("given up")


@contextlib.contextmanager
def _failures(name: str) -> Iterator[None]:
    """Raise what the object storage raises as `StorageFailed`, its cause kept."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise StorageFailed(f"The bytes of a file ({name}) are missing in the object storage.") from error
    except (BaseError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]  # what follows is for the authors of the library
        raise StorageFailed(f"The object storage failed over a file ({name}): {reason}") from error
