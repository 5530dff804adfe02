"""The Vector Stores API: stores, the files in them, batches of those, and searches."""

from __future__ import annotations

import msgspec
from starlette.routing import Route

from antiphon.clock import Ids
from antiphon.retrieval.ingestion import Ingestion
from antiphon.retrieval.search import RankingOptions
from antiphon.retrieval.stores import SearchableStores
from antiphon.server.app import route
from antiphon.server.exchange import JSON, Exchange
from antiphon.store.base import Store
from antiphon.wire.lists import decode_query, object_list
from antiphon.wire.vector_stores import (
    CHOICES,
    AttachFile,
    CreateFileBatch,
    CreateVectorStore,
    FileBatch,
    SearchVectorStore,
    StoreFilesQuery,
    UpdateAttributes,
    UpdateVectorStore,
    VectorStoreFile,
    VectorStoresQuery,
    attached_files,
    content_page,
    decode_vector_store_request,
    search_page,
)

_ALL = "/v1/vector_stores"
_ONE = f"{_ALL}/{{vector_store_id}}"
_FILES = f"{_ONE}/files"
_FILE = f"{_FILES}/{{file_id}}"
_BATCHES = f"{_ONE}/file_batches"
_BATCH = f"{_BATCHES}/{{batch_id}}"

# The SDKs would wait for a second.
_POLL = (b"openai-poll-after-ms", b"100")


class VectorStores:
    """The routes under ``/v1/vector_stores``."""

    def __init__(self, store: Store, stores: SearchableStores, ingestion: Ingestion, ids: Ids) -> None:
        self._rows = store.vector_stores
        self._stores = stores
        self._ingestion = ingestion
        self._ids = ids

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("POST", _ALL, self.create),
            route("GET", _ALL, self.list),
            route("GET", _ONE, self.retrieve),
            route("POST", _ONE, self.update),
            route("DELETE", _ONE, self.delete),
            route("POST", f"{_ONE}/search", self.search),
            route("POST", _FILES, self.add_file),
            route("GET", _FILES, self.list_files),
            route("GET", _FILE, self.retrieve_file),
            route("POST", _FILE, self.update_file),
            route("DELETE", _FILE, self.remove_file),
            route("GET", f"{_FILE}/content", self.file_content),
            route("POST", _BATCHES, self.create_batch),
            route("GET", _BATCH, self.retrieve_batch),
            route("POST", f"{_BATCH}/cancel", self.cancel_batch),
            route("GET", f"{_BATCH}/files", self.list_batch_files),
        ]

    # --- stores ------------------------------------------------------------------------------

    async def create(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores``."""
        request = decode_vector_store_request(await exchange.body(), CreateVectorStore)
        made = await self._rows.create(exchange.owner, self._ids.new("vs"), request)
        self._ingestion.wake()
        await exchange.respond_json(made)

    async def list(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores``."""
        query = decode_query(exchange.query, VectorStoresQuery, choices=CHOICES)
        page = await self._rows.page(exchange.owner, query)
        await exchange.respond_json(object_list(page.vector_stores, has_more=page.has_more))

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores/{id}``."""
        await exchange.respond_json(await self._rows.get(*_store(exchange)))

    async def update(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores/{id}``."""
        request = decode_vector_store_request(await exchange.body(), UpdateVectorStore)
        await exchange.respond_json(await self._rows.update(*_store(exchange), request))

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/vector_stores/{id}``: its index goes with it, the files stay."""
        owner, vector_store_id = _store(exchange)
        await self._rows.delete(owner, vector_store_id)
        await self._stores.drop(vector_store_id)
        await exchange.respond_json({"id": vector_store_id, "object": "vector_store.deleted", "deleted": True})

    async def search(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores/{id}/search``; a header says whether vectors, words or both were searched."""
        request = decode_vector_store_request(await exchange.body(), SearchVectorStore)
        owner, vector_store_id = _store(exchange)
        found = await self._stores.search(
            owner,
            [vector_store_id],
            request.query,
            filters=request.filters,
            ranking=_ranking(request),
            max_num_results=request.max_num_results,
            rewrite_query=request.rewrite_query,
        )
        mode = (b"x-antiphon-search", found.mode.encode())
        page = search_page(found.queries, found.results)
        await exchange.respond(200, msgspec.json.encode(page), [JSON, mode])

    # --- files -------------------------------------------------------------------------------

    async def add_file(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores/{id}/files``: answers before the file is indexed."""
        request = decode_vector_store_request(await exchange.body(), AttachFile)
        [added] = await self._rows.attach(*_store(exchange), [request])
        self._ingestion.wake()
        await exchange.respond_json(added)

    async def list_files(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores/{id}/files``."""
        query = decode_query(exchange.query, StoreFilesQuery, choices=CHOICES)
        page = await self._rows.files(*_store(exchange), query)
        await exchange.respond_json(object_list(page.files, has_more=page.has_more))

    async def retrieve_file(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores/{id}/files/{file_id}``."""
        await _respond(exchange, await self._rows.file(*_store(exchange), exchange.parameter("file_id")))

    async def update_file(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores/{id}/files/{file_id}``: its attributes, anew."""
        request = decode_vector_store_request(await exchange.body(), UpdateAttributes)
        file_id, attributes = exchange.parameter("file_id"), request.attributes or {}
        changed = await self._rows.set_attributes(*_store(exchange), file_id, attributes)
        await self._stores.follow()
        await exchange.respond_json(changed)

    async def remove_file(self, exchange: Exchange) -> None:
        """``DELETE /v1/vector_stores/{id}/files/{file_id}``: no search finds it after that; the file stays."""
        file_id = exchange.parameter("file_id")
        await self._rows.detach(*_store(exchange), file_id)
        await self._stores.follow()
        await exchange.respond_json({"id": file_id, "object": "vector_store.file.deleted", "deleted": True})

    async def file_content(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores/{id}/files/{file_id}/content``: the text that was taken out of it."""
        text = await self._stores.text_of(*_store(exchange), exchange.parameter("file_id"))
        await exchange.respond_json(content_page(text))

    # --- batches -----------------------------------------------------------------------------

    async def create_batch(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores/{id}/file_batches``: answers before the files are indexed."""
        request = decode_vector_store_request(await exchange.body(), CreateFileBatch)
        batch_id = self._ids.new("vsfb")
        await self._rows.attach(*_store(exchange), attached_files(request), batch_id=batch_id)
        self._ingestion.wake()
        await exchange.respond_json(await self._rows.batch(*_store(exchange), batch_id))

    async def retrieve_batch(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores/{id}/file_batches/{batch_id}``."""
        await _respond(exchange, await self._rows.batch(*_store(exchange), exchange.parameter("batch_id")))

    async def cancel_batch(self, exchange: Exchange) -> None:
        """``POST /v1/vector_stores/{id}/file_batches/{batch_id}/cancel``: what is indexed by then stays."""
        cancelled = await self._rows.cancel_batch(*_store(exchange), exchange.parameter("batch_id"))
        await self._stores.follow()
        await exchange.respond_json(cancelled)

    async def list_batch_files(self, exchange: Exchange) -> None:
        """``GET /v1/vector_stores/{id}/file_batches/{batch_id}/files``."""
        query = decode_query(exchange.query, StoreFilesQuery, choices=CHOICES)
        page = await self._rows.files(*_store(exchange), query, batch_id=exchange.parameter("batch_id"))
        await exchange.respond_json(object_list(page.files, has_more=page.has_more))


async def _respond(exchange: Exchange, found: VectorStoreFile | FileBatch) -> None:
    """Answer; while there is something to wait for, with when to ask again, as OpenAI's SDKs understand it."""
    headers = [JSON, _POLL] if found.status == "in_progress" else [JSON]
    await exchange.respond(200, msgspec.json.encode(found), headers)


def _store(exchange: Exchange) -> tuple[str, str]:
    return exchange.owner, exchange.parameter("vector_store_id")


def _ranking(request: SearchVectorStore) -> RankingOptions:
    options = request.ranking_options
    if options is None:
        return RankingOptions()
    # OpenAI's own rankers are all one here: the best there is.
    return RankingOptions(
        ranker="none" if options.ranker == "none" else "auto", score_threshold=options.score_threshold
    )
