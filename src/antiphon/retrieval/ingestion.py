"""The worker that indexes files in the background.

What is to be done stands in the database, so that a restart goes on with it. An index takes a file whole or not at all,
and the database says `completed` after that: what is killed in between is indexed again, in place of itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from antiphon.errors import (
    AntiphonError,
    EmbeddingError,
    EmbeddingMismatch,
    ExtractionError,
    ProviderError,
    StorageFailed,
    TransportError,
)
from antiphon.retrieval.chunking import Chunk, ChunkingStrategy
from antiphon.retrieval.embedding import Embedder
from antiphon.retrieval.index import Embedded
from antiphon.retrieval.indexes import Indexes, to_thread
from antiphon.retrieval.reading import Reader, Reading
from antiphon.store.base import Store
from antiphon.store.blobs import Blobs
from antiphon.store.vector_stores import IngestionJob
from antiphon.wire.vector_stores import (
    AutoChunking,
    Chunking,
    ContextualChunking,
    ErrorCode,
    FileError,
    StaticChunking,
    sizes_of,
)

# Of a file over which the process died so often, that it is taken for the reason.
MAX_ATTEMPTS = 3

_STRATEGIES: dict[type[Chunking], Literal["auto", "static", "contextual"]] = {
    AutoChunking: "auto",
    StaticChunking: "static",
    ContextualChunking: "contextual",
}

# How long an upstream that is busy or away is waited for, before each further try.
_RETRY_AFTER_S = (1.0, 5.0, 20.0, 60.0)

_log = logging.getLogger(__name__)


class IngestionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many files are worked at at once, and how long one may take to be read."""

    max_concurrent_files: int = 4
    file_timeout_s: float = 120.0


class Ingestion:
    """Indexes what the queue holds, from `start` to `close`; `wake` says that there is more."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        indexes: Indexes,
        reader: Reader,
        *,
        embedder: Embedder | None = None,
        limits: IngestionLimits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._queue = store.ingestion
        self._blobs = blobs
        self._indexes = indexes
        self._reader = reader
        self._embedder = embedder
        self._limits = limits or IngestionLimits()
        self._sleep = sleep
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._running: dict[asyncio.Task[None], IngestionJob] = {}
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._worker = asyncio.create_task(self._work(), name="ingestion")

    def wake(self) -> None:
        """There is something to do."""
        self._idle.clear()
        self._more.set()

    async def idle(self) -> None:
        """Wait until nothing is to be done."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop; what is not done is done after the next start."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait((self._worker,))
        running = dict(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task, job in running.items():
            if task.cancelled():
                await self._queue.put_back(job)
        await self._reader.close()

    async def _work(self) -> None:
        await self._queue.release()
        while True:
            self._more.clear()
            free = self._limits.max_concurrent_files - len(self._running)
            for job in await self._queue.claim(free) if free > 0 else ():
                task = asyncio.create_task(self._do(job), name=f"ingestion of {job.file_id}")
                self._running[task] = job
                task.add_done_callback(self._done)
            if not self._running and not self._more.is_set():
                self._idle.set()
            await self._more.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._more.set()

    async def _do(self, job: IngestionJob) -> None:
        try:
            if job.attempts > MAX_ATTEMPTS:
                raise ExtractionError(
                    "invalid_file", f"The server stopped {MAX_ATTEMPTS} times while it worked at this file."
                )
            await self._index(job)
        except AntiphonError as error:
            await self._queue.fail(job, failure(error))
        except Exception:  # noqa: BLE001 - one bad file must not stop the others
            _log.exception("indexing %s failed", job.file_id)
            message = "Internal error while indexing the file. The log of the server has more."
            await self._queue.fail(job, FileError(code="server_error", message=message))

    async def _index(self, job: IngestionJob) -> None:
        if not await self._queue.wanted(job.number):
            return
        async with self._blobs.on_disk(job.blob) as path:
            reading = Reading(
                path=str(path),
                filename=job.filename,
                media_type=job.media_type,
                strategy=strategy_of(job.chunking),
            )
            chunks = await self._reader.read(reading, timeout_s=self._limits.file_timeout_s)
        if not await self._queue.wanted(job.number):
            return
        embedded = await self._embedded(chunks)
        await self._put(job, chunks, embedded)

    async def _put(self, job: IngestionJob, chunks: list[Chunk], embedded: Embedded | None) -> None:
        vectors_bytes = 0 if embedded is None else embedded.vectors.nbytes
        usage_bytes = sum(len(chunk.text.encode()) for chunk in chunks) + vectors_bytes
        place = (job.vector_store, job.file_id)
        async with self._indexes.file(*place), self._indexes.lease(job.vector_store) as index:
            # Under the lease: the store may have been deleted, with its index, just before it began.
            if await self._queue.wanted(job.number):
                await to_thread(lambda: index.add(job.file_id, chunks, embedded, job.attributes, filename=job.filename))
                await self._queue.complete(job, usage_bytes=usage_bytes)

    async def _embedded(self, chunks: list[Chunk]) -> Embedded | None:
        if self._embedder is None or not chunks:
            return None
        texts = [chunk.indexed_text for chunk in chunks]
        for pause_s in _RETRY_AFTER_S:
            try:
                return Embedded(self._embedder.model, await self._embedder.embed(texts))
            except (ProviderError, TransportError) as error:
                if isinstance(error, ProviderError) and not error.retryable:
                    raise
                await self._sleep(getattr(error, "retry_after_s", None) or pause_s)
        return Embedded(self._embedder.model, await self._embedder.embed(texts))


def strategy_of(chunking: Chunking) -> ChunkingStrategy:
    """How a text is to be cut, as a request says it."""
    sizes = sizes_of(chunking)
    return ChunkingStrategy(
        type=_STRATEGIES[type(chunking)],
        max_tokens=sizes.max_chunk_size_tokens,
        overlap_tokens=sizes.chunk_overlap_tokens,
    )


def failure(error: AntiphonError) -> FileError:
    """What is noted at a file that cannot be indexed: one of OpenAI's codes, and the reason in words."""
    if isinstance(error, ExtractionError):
        code: ErrorCode = "unsupported_file" if error.reason == "unsupported_file" else "invalid_file"
        return FileError(code=code, message=error.message)
    about = {
        EmbeddingError: "Embedding the file failed",
        EmbeddingMismatch: "The vectors do not fit the vector store",
        StorageFailed: "The file cannot be read",
        ProviderError: "Embedding the file failed",
        TransportError: "Embedding the file failed",
    }
    what = next((words for kind, words in about.items() if isinstance(error, kind)), "Indexing the file failed")
    return FileError(code="server_error", message=f"{what}: {error.message}")
