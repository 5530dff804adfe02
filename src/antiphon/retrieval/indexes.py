"""The indexes of all vector stores: each a directory, opened when it is first needed and closed when others are.

An index is used within a lease, and is neither closed nor deleted as long as one lasts.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from antiphon.retrieval.index import Index

Result = TypeVar("Result")

DEFAULT_MAX_OPEN = 64


class _Entry:
    """One index; ``users`` are those who lease it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.index: Index | None = None
        self.users = 0
        self.idle = asyncio.Event()
        self.idle.set()


class Indexes:
    """The open indexes by the ids of their vector stores, at most ``max_open`` of them unless more are in use."""

    def __init__(
        self,
        directory: Path,
        *,
        open_index: Callable[[Path], Index] = Index.open,
        max_open: int = DEFAULT_MAX_OPEN,
    ) -> None:
        self._directory = directory
        self._open_index = open_index
        self._max_open = max_open
        self._entries: dict[str, _Entry] = {}  # the least recently used first
        self._files: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}  # with how many want each

    @asynccontextmanager
    async def lease(self, vector_store_id: str) -> AsyncIterator[Index]:
        """The index of a vector store, made if it is not there.

        Raises:
            IndexDamaged: it cannot be opened.
        """
        entry = self._entries.pop(vector_store_id, None) or _Entry()
        self._entries[vector_store_id] = entry
        entry.users += 1
        entry.idle.clear()
        try:
            async with entry.lock:
                if entry.index is None:
                    directory = self._directory / vector_store_id
                    entry.index = await to_thread(lambda: self._open(directory))
            await self._close_idle()
            yield entry.index
        finally:
            entry.users -= 1
            if not entry.users:
                entry.idle.set()

    @asynccontextmanager
    async def file(self, vector_store_id: str, file_id: str) -> AsyncIterator[None]:
        """Whoever changes what an index has of a file does so alone."""
        key = (vector_store_id, file_id)
        lock, waiting = self._files.get(key, (asyncio.Lock(), 0))
        self._files[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._files.pop(key)
            if waiting > 1:
                self._files[key] = (lock, waiting - 1)

    async def has(self, vector_store_id: str) -> bool:
        """Whether there is an index of that vector store."""
        return await asyncio.to_thread((self._directory / vector_store_id).exists)

    async def drop(self, vector_store_id: str) -> None:
        """Delete the index of a vector store, once nobody uses it."""
        directory = self._directory / vector_store_id
        is_there = True
        while is_there:
            entry = self._entries.setdefault(vector_store_id, _Entry())
            await entry.idle.wait()
            async with entry.lock:
                # Neither in use again, nor forgotten by another who closed it, and opened anew since.
                if not entry.users and self._entries.get(vector_store_id) is entry:
                    await _close(entry)
                    await to_thread(lambda: shutil.rmtree(directory, ignore_errors=True))
                    is_there = False
        self._forget(vector_store_id, entry)

    async def sweep(self, known: Iterable[str]) -> None:
        """Delete the indexes of vector stores that are not ``known``: a crash left them."""
        kept = set(known)
        for vector_store_id in await asyncio.to_thread(self._names):
            if vector_store_id not in kept:
                await self.drop(vector_store_id)

    async def close(self) -> None:
        """Close all indexes. Nobody may use one any more."""
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            await _close(entry)

    def _open(self, directory: Path) -> Index:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._open_index(directory)

    def _names(self) -> list[str]:
        return [path.name for path in self._directory.iterdir()] if self._directory.exists() else []

    async def _close_idle(self) -> None:
        excess = len(self._entries) - self._max_open
        idle = [(vector_store_id, entry) for vector_store_id, entry in self._entries.items() if not entry.users]
        for vector_store_id, entry in idle[: max(excess, 0)]:
            async with entry.lock:  # who comes meanwhile waits, and opens it again
                if not entry.users:
                    await _close(entry)
            self._forget(vector_store_id, entry)

    def _forget(self, vector_store_id: str, entry: _Entry) -> None:
        if not entry.users and self._entries.get(vector_store_id) is entry:
            del self._entries[vector_store_id]


async def to_thread(call: Callable[[], Result]) -> Result:
    """What ``call`` gives, done in a thread; one that is cancelled still waits for its end.

    A thread cannot be stopped: what it works on must not be closed under its hands.
    """
    return await to_its_end(asyncio.to_thread(call))


async def to_its_end(work: Coroutine[Any, Any, Result]) -> Result:
    """What ``work`` gives; one that is cancelled still waits for its end."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait((working,))
        raise


async def _close(entry: _Entry) -> None:
    index, entry.index = entry.index, None
    if index is not None:
        await to_thread(index.close)
