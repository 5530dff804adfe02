"""Vector stores as they are searched: what the database says of them, and an index for each.

The database is right. An index follows it: what is deleted there is taken out here before the deletion is answered, and
a chunk whose file is not in the store any more is never shown, whatever the index says.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

from antiphon.errors import AntiphonError, InvalidRequest, NotFound
from antiphon.retrieval.embedding import Embedder
from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.index import Index
from antiphon.retrieval.indexes import Indexes, to_its_end, to_thread
from antiphon.retrieval.search import Hit, Mode, RankingOptions, Rewriter, Source, search
from antiphon.store.base import Store
from antiphon.store.vector_stores import IndexChange
from antiphon.wire.vector_stores import SearchResult

_log = logging.getLogger(__name__)


class Results(NamedTuple):
    """What a search found, best first; the rest as in `antiphon.retrieval.search.SearchResult`."""

    results: list[SearchResult]
    hits: list[Hit]
    queries: list[str]
    mode: Mode
    notes: list[str]


class SearchableStores:
    """Searches the vector stores of an owner, and keeps their indexes as the database wants them."""

    def __init__(
        self,
        store: Store,
        indexes: Indexes,
        *,
        embedder: Embedder | None = None,
        rewriter: Rewriter | None = None,
    ) -> None:
        self._rows = store.vector_stores
        self._queue = store.ingestion
        self._indexes = indexes
        self._embedder = embedder
        self._rewriter = rewriter

    async def search(
        self,
        owner: str,
        vector_store_ids: Sequence[str],
        query: str | Sequence[str],
        *,
        filters: object = None,
        ranking: RankingOptions | None = None,
        max_num_results: int = 10,
        mode: Mode = "hybrid",
        rewrite_query: bool = False,
    ) -> Results:
        """The best chunks of all these stores; ``filters`` is the JSON of a request.

        Raises:
            NotFound: a store is not there for this owner.
            InvalidRequest: a store has expired, or the filters or the query are none.
            RetrievalError, ProviderError, TransportError: the search failed; never an empty result instead.
        """
        wanted = compile_filter(filters)
        if not vector_store_ids:
            raise InvalidRequest("Give at least one vector store to search.", param="vector_store_ids")
        async with AsyncExitStack() as leases:
            sources = []
            for vector_store_id in dict.fromkeys(vector_store_ids):
                await self._rows.use(owner, vector_store_id)
                index = await leases.enter_async_context(self._indexes.lease(vector_store_id))
                sources.append(self._source(vector_store_id, index))
            searching = search(
                query,
                sources,
                filters=wanted,
                ranking=ranking,
                max_num_results=max_num_results,
                mode=mode,
                rewrite=self._rewriter if rewrite_query else None,
            )
            found = await to_its_end(searching)  # its threads use the indexes
        notes = found.notes
        if rewrite_query and self._rewriter is None:
            notes = [*notes, "The query was not rewritten: no model is set for it."]
        shown = await self._shown(owner, found.hits)
        return Results([result for _, result in shown], [hit for hit, _ in shown], found.queries, found.mode, notes)

    async def require(self, owner: str, vector_store_id: str) -> None:
        """See that a store can be searched.

        Raises:
            NotFound: it is not there for this owner.
        """
        await self._rows.get(owner, vector_store_id)

    async def text_of(self, owner: str, vector_store_id: str, file_id: str) -> str:
        """The text that was taken out of a file.

        Raises:
            NotFound: there is no such store, no such file in it, or the file is not indexed.
        """
        file = await self._rows.file(owner, vector_store_id, file_id)
        if file.status != "completed":
            raise NotFound("file", file_id, hint=f" It is {file.status}: there is no text of it.")
        async with self._indexes.lease(vector_store_id) as index:
            return await to_thread(lambda: index.text_of(file_id))

    async def follow(self, vector_store_ids: Collection[str] | None = None) -> None:
        """Let the indexes of these stores, or of all, follow what has changed in the database.

        An index that cannot follow is tried again later; searches show nothing of what is gone meanwhile.
        """
        for change in await self._queue.changes():
            if vector_store_ids is not None and change.vector_store not in vector_store_ids:
                continue
            try:
                await self._follow(change)
            except AntiphonError as error:
                _log.error("the index of %s cannot follow: %s", change.vector_store, error.message)

    async def drop(self, vector_store_id: str) -> None:
        """Delete the index of a store that is not in the database any more."""
        await self._indexes.drop(vector_store_id)

    def _source(self, vector_store_id: str, index: Index) -> Source:
        """One that has vectors of another model, until it has new ones, is searched by words."""
        is_ready = self._embedder is not None and index.model in (None, self._embedder.model)
        return Source(store_id=vector_store_id, index=index, embedder=self._embedder if is_ready else None)

    async def _follow(self, change: IndexChange) -> None:
        async with self._indexes.file(change.vector_store, change.file_id):
            target = await self._queue.target(change)
            if target.action != "wait" and await self._indexes.has(change.vector_store):
                async with self._indexes.lease(change.vector_store) as index:
                    if target.action == "remove":
                        await to_thread(lambda: index.remove(change.file_id))
                    else:
                        with suppress(NotFound):
                            await to_thread(lambda: index.set_attributes(change.file_id, target.attributes))
            await self._queue.settle(change)

    async def _shown(self, owner: str, hits: Sequence[Hit]) -> list[tuple[Hit, SearchResult]]:
        """The hits as results, without those whose files are gone."""
        by_store: dict[str, set[str]] = {}
        for hit in hits:
            by_store.setdefault(hit.store_id, set()).add(hit.file_id)
        known = {
            store_id: await self._rows.searchable(owner, store_id, [*files]) for store_id, files in by_store.items()
        }
        return [
            (
                hit,
                SearchResult(
                    file_id=hit.file_id,
                    filename=file.filename,
                    score=hit.score,
                    attributes=file.attributes,
                    content=[{"type": "text", "text": hit.text}],
                ),
            )
            for hit in hits
            if (file := known[hit.store_id].get(hit.file_id)) is not None
        ]
