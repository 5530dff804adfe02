"""The bytes of files in object storage: S3 and what speaks like it, Azure, Google, or a directory. Needs `obstore`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon.errors import ConfigError, StorageFailed
from antiphon.store.blobs import PIECE_BYTES, BlobWriter

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Of an upload in parts: what is held in memory is at most one more part than are under way.
_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 2


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
            return cls(from_url(url))
        except (BaseError, ValueError) as error:
            raise ConfigError(f"[files] url {url!r} cannot be used: {error}") from error

    @asynccontextmanager
    async def create(self, name: str) -> AsyncIterator[BlobWriter]:
        """See `Blobs.create`: an upload in parts, which ends with the context or is given up."""
        import obstore

        pieces = _Pieces()
        with _failures(name):
            put = asyncio.ensure_future(
                obstore.put_async(
                    self._store, name, pieces.each(), chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
                )
            )
            try:
                pieces.watch(put)
                yield pieces
                await pieces.end()
                await put
            finally:
                if not put.done():
                    await pieces.give_up()
                    await asyncio.wait((put,))
                if not put.cancelled():
                    put.exception()  # seen, whether it is raised or not

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


class _Pieces:
    """What is written on one side is read on the other, a few pieces later at most."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(2)
        self._held = bytearray()
        self._reader: asyncio.Future[Any] | None = None

    def watch(self, reader: asyncio.Future[Any]) -> None:
        """Nothing is written for a reader that has failed."""
        self._reader = reader

    async def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= PIECE_BYTES:
            await self._flush()

    async def end(self) -> None:
        await self._flush()
        await self._hand_over(None)

    async def give_up(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(StorageFailed("given up"))

    async def each(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def _flush(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        if held:
            await self._hand_over(held)

    async def _hand_over(self, piece: bytes | None) -> None:
        assert self._reader is not None
        putting = asyncio.ensure_future(self._queue.put(piece))
        await asyncio.wait((putting, self._reader), return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()
            self._reader.result()  # raises why it has ended


@contextlib.contextmanager
def _failures(name: str) -> Iterator[None]:
    """Raise what the object storage raises as `StorageFailed`, its cause kept."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise StorageFailed(f"The bytes of a file ({name}) are missing in the object storage.") from error
    except (BaseError, OSError, ValueError) as error:
        raise StorageFailed(f"The object storage failed over a file ({name}): {error}") from error
