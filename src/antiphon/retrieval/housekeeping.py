"""What nobody asks for and has to be done.

What has expired is let go of, and what a crash left behind; what another model embedded is embedded anew.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from antiphon.clock import Clock
from antiphon.errors import AntiphonError, NotFound
from antiphon.retrieval.embedding import Embedder
from antiphon.retrieval.indexes import Indexes
from antiphon.retrieval.reembedding import reembed_all
from antiphon.retrieval.stores import SearchableStores
from antiphon.store.base import Store
from antiphon.store.blobs import Blobs

_EVERY_S = 60.0

# A blob that no row has may be one that is being written; an upload takes less than this.
_ORPHANED_AFTER_S = 24 * 3600

_log = logging.getLogger(__name__)


class Housekeeping:
    """Does it at the start and every minute, from `start` to `close`."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        stores: SearchableStores,
        indexes: Indexes,
        clock: Clock,
        *,
        embedder: Embedder | None,
        mark: Path,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._stores = stores
        self._indexes = indexes
        self._clock = clock
        self._embedder = embedder
        self._mark = mark
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep(), name="housekeeping")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def recover(self) -> None:
        """Bring indexes in line with the database; nothing may be written meanwhile but by this."""
        known = await self._store.ingestion.all()
        await self._indexes.sweep([each.id for each in known])
        for owner, vector_store_id in known:
            if not await self._indexes.has(vector_store_id):
                # Somebody deleted it, or a restored database is older than it.
                await self._store.ingestion.requeue(owner, vector_store_id)
        await self._stores.follow()

    async def sweep(self) -> None:
        """Delete blobs that belong to nothing."""
        before_s = self._clock.now_s() - _ORPHANED_AFTER_S
        found = [name async for name in self._blobs.names(before_s=before_s)]
        known = await self._store.files.blobs() if found else set()
        for name in found:
            if name not in known:
                await self._blobs.delete(name)

    async def expire(self) -> None:
        """Let go of files, uploads and vector stores whose time has come."""
        for owner, file_id in await self._store.files.expired():
            try:
                deleted = await self._store.files.delete(owner, file_id)
            except NotFound:
                continue  # its owner was faster
            await self._blobs.delete(deleted.blob)
        for owner, upload_id in await self._store.uploads.expired():
            for part in (await self._store.uploads.parts(owner, upload_id)).values():
                await self._blobs.delete(part.blob)
            await self._store.uploads.drop_parts(owner, upload_id)
        for _, vector_store_id in await self._store.ingestion.expire():
            await self._stores.drop(vector_store_id)
        await self._stores.follow()

    async def reembed(self) -> None:
        """Give all vector stores vectors of the model that is set now; see `reembed_all`."""
        await reembed_all(self._store.ingestion, self._indexes, self._embedder, self._mark)

    async def _keep(self) -> None:
        once = [self.sweep, self.reembed]
        while True:
            try:
                await self.expire()
                while once:
                    await once[0]()
                    del once[0]
            except AntiphonError as error:
                _log.error("housekeeping failed, and is tried again: %s", error.message)
            except Exception:  # noqa: BLE001 - a defect in one of them must not end the others for ever
                _log.exception("housekeeping failed, and is tried again")
            await asyncio.sleep(_EVERY_S)
