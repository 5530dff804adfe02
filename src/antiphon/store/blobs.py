"""The bytes of files: written once, read in pieces, deleted. What they are is known to the database alone.

A blob is there when it is whole and on the disk, and not before; what was cut off in the middle leaves nothing. No blob
is ever held in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from antiphon.errors import StorageFailed

# Read and written at once; smaller pieces cost more in going to a thread and back than in reading.
PIECE_BYTES = 1024 * 1024

_UNFINISHED = ".part"


class BlobWriter(Protocol):
    """A blob that is being written."""

    async def write(self, data: bytes) -> None:
        """Add bytes at its end.

        Raises:
            StorageFailed: they cannot be kept.
        """
        ...


class Blobs(Protocol):
    """Where bytes are kept, by names that are given once."""

    def create(self, name: str) -> AbstractAsyncContextManager[BlobWriter]:
        """A new blob: kept when the context is left, or not at all if it is left by an exception.

        Raises:
            StorageFailed: it cannot be kept.
        """
        ...

    def read(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to ``end``, or to the last, in pieces.

        Raises:
            StorageFailed: they cannot be read.
        """
        ...

    def on_disk(self, name: str) -> AbstractAsyncContextManager[Path]:
        """The blob as a file of this machine, to be read only, as long as the context lasts.

        Raises:
            StorageFailed: it cannot be read.
        """
        ...

    async def delete(self, name: str) -> None:
        """Forget a blob. One that is not there is gone already.

        Raises:
            StorageFailed: it cannot be deleted.
        """
        ...

    def names(self, *, before_s: float) -> AsyncIterator[str]:
        """The blobs that were written before that time, in seconds since the Unix epoch."""
        ...


class LocalBlobs:
    """`Blobs` as files below a directory, readable by this user alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def create(self, name: str) -> AsyncIterator[BlobWriter]:
        """See `Blobs.create`: written beside its place, brought to the disk, then moved there."""
        path = self._path(name)
        writer = _LocalWriter(await asyncio.to_thread(_begin, path), name)
        try:
            yield writer
            await writer.finish(path)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(writer.discard))
            raise

    async def read(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Blobs.read`."""
        with failures(name):
            file = await asyncio.to_thread(self._path(name).open, "rb")
            with contextlib.closing(file):
                file.seek(start)
                left = os.fstat(file.fileno()).st_size - start if end is None else end - start
                while left > 0:
                    piece = await asyncio.to_thread(file.read, min(left, PIECE_BYTES))
                    if not piece:
                        raise StorageFailed(f"The bytes of a file ({name}) are shorter than they were.")
                    left -= len(piece)
                    yield piece

    @asynccontextmanager
    async def on_disk(self, name: str) -> AsyncIterator[Path]:
        """See `Blobs.on_disk`: the file itself."""
        path = self._path(name)
        if not await asyncio.to_thread(path.exists):
            raise StorageFailed(f"The bytes of a file ({name}) are missing.")
        yield path

    async def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        with failures(name):
            await asyncio.to_thread(self._path(name).unlink, missing_ok=True)

    async def names(self, *, before_s: float) -> AsyncIterator[str]:
        """See `Blobs.names`; what was left unfinished is deleted on the way."""
        for name in await asyncio.to_thread(lambda: [*_names(self._directory, before_s)]):
            yield name

    def _path(self, name: str) -> Path:
        """Spread over directories: with too many files in one, some file systems are slow."""
        return self._directory / name[-2:] / name


class _LocalWriter:
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._held = bytearray()

    async def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= PIECE_BYTES:
            await self._flush()

    async def finish(self, path: Path) -> None:
        await self._flush()
        with failures(self._name):
            await asyncio.to_thread(self._move, path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    async def _flush(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        with failures(self._name):
            await asyncio.to_thread(self._file.write, held)

    def _move(self, path: Path) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        Path(self._file.name).replace(path)
        if os.name == "posix":  # the name is in the directory, which has to be on the disk as well
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def _begin(path: Path) -> BinaryIO:
    with failures(path.name):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + _UNFINISHED)
        return open(unfinished, "xb", opener=lambda place, flags: os.open(place, flags, 0o600))


def _names(directory: Path, before_s: float) -> Iterator[str]:
    for path in directory.glob("*/*"):
        try:
            if path.stat().st_mtime >= before_s:
                continue
            if path.suffix == _UNFINISHED:
                path.unlink()
            else:
                yield path.name
        except OSError:
            continue  # deleted meanwhile


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Raise what the system raises as `StorageFailed`, its cause kept; ``name`` is the blob."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageFailed(f"The bytes of a file ({name}) are missing.") from error
    except OSError as error:
        raise StorageFailed(f"The bytes of a file ({name}) cannot be kept or read: {error}.") from error
