"""From settings to files, vector stores and the worker that indexes: what is connected to what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from starlette.routing import Route

from antiphon.agent.loop import Target
from antiphon.clock import Clock, Ids
from antiphon.config import Settings
from antiphon.errors import ConfigError, ModelNotFound
from antiphon.retrieval.embedding import Embedder, UpstreamEmbedder
from antiphon.retrieval.embedding_cache import EmbeddingCache
from antiphon.retrieval.housekeeping import Housekeeping
from antiphon.retrieval.indexes import Indexes
from antiphon.retrieval.ingestion import Ingestion, IngestionLimits
from antiphon.retrieval.reading import ReaderProcesses
from antiphon.retrieval.stores import SearchableStores
from antiphon.server.files import FileLimits, Files
from antiphon.server.uploads import Uploads
from antiphon.server.vector_stores import VectorStores
from antiphon.store.base import Store
from antiphon.store.blobs import Blobs, LocalBlobs
from antiphon.store.object_blobs import ObjectBlobs

# Below the data directory.
FILES = "files"
INDEXES = "indexes"
EMBEDDINGS = "embeddings.db"


class Filing(NamedTuple):
    """What serves files: the bytes, the searches, and the routes."""

    blobs: Blobs
    stores: SearchableStores
    routes: list[Route]


@asynccontextmanager
async def open_filing(
    settings: Settings, store: Store, resolve: Callable[[str], Sequence[Target]], clock: Clock, ids: Ids
) -> AsyncIterator[Filing]:
    """Files and vector stores as the settings have them, with the worker at work; closed with the block.

    Raises:
        ConfigError: no upstream has the model for embeddings, or the object storage cannot be used.
    """
    blobs = _blobs(settings)
    embedder = _embedder(settings, resolve)
    indexes = Indexes(settings.data_dir / INDEXES)
    stores = SearchableStores(store, indexes, embedder=embedder)
    limits = IngestionLimits(
        max_concurrent_files=settings.retrieval.max_concurrent_files,
        file_timeout_s=settings.retrieval.file_timeout_s,
    )
    ingestion = Ingestion(store, blobs, indexes, ReaderProcesses(), embedder=embedder, limits=limits)
    housekeeping = Housekeeping(store, blobs, stores, indexes, clock)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(indexes.close)
        await housekeeping.recover()
        stack.push_async_callback(ingestion.close)
        ingestion.start()
        stack.push_async_callback(housekeeping.close)
        housekeeping.start()
        sizes = FileLimits(settings.files.max_file_bytes, settings.files.max_total_bytes)
        routes = [
            *Files(store, blobs, stores, clock, ids, limits=sizes).routes(),
            *Uploads(store, blobs, clock, ids, limits=sizes).routes(),
            *VectorStores(store, stores, ingestion, ids).routes(),
        ]
        yield Filing(blobs, stores, routes)


def _blobs(settings: Settings) -> Blobs:
    if settings.files.url is not None:
        return ObjectBlobs.open(settings.files.url)
    return LocalBlobs(settings.data_dir / FILES)


def _embedder(settings: Settings, resolve: Callable[[str], Sequence[Target]]) -> Embedder | None:
    model = settings.retrieval.embeddings
    if model is None:
        return None
    try:
        target = resolve(model)[0]
    except ModelNotFound as error:
        raise ConfigError(f"[retrieval] embeddings: {error.message}") from error
    cache = EmbeddingCache(settings.data_dir / EMBEDDINGS)
    return UpstreamEmbedder(target.provider, target.model, dimensions=settings.retrieval.dimensions, cache=cache)
