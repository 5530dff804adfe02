"""Files that an agent searches: a vector store in a directory, without a server."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from antiphon.agent.models import Model
from antiphon.errors import NotFound, UsageError
from antiphon.tools.base import ToolResult
from antiphon.tools.file_search import Found, search_files
from antiphon.wire.hosted import DEFAULT_FILE_SEARCH_NAME, DEFAULT_RESULTS

if TYPE_CHECKING:
    from antiphon.retrieval.chunking import Chunk
    from antiphon.retrieval.embedding import Embedder
    from antiphon.retrieval.index import Embedded, Index
    from antiphon.retrieval.search import SearchResult


class VectorStore:
    """Files, searched by their words and, with ``embeddings``, by their meaning; a tool of any `Agent`.

    What is added is kept in ``path``, and found by the next process too. A file is known by its name: adding it again
    puts the new one in the place of the old one.

    Args:
        path: A directory of its own.
        embeddings: The model that makes vectors: a `Model`, a name such as ``openai/text-embedding-3-small``, or an
            `Embedder`. Without one, words alone are searched.
        tool_name: What the model knows the search as.
        max_num_results: How many passages one search gives the model.
        filters: Which files the model may find, by their attributes; in the form of the API.

    Raises:
        UsageError: there is no such upstream, or its key is missing.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        embeddings: Model | str | Embedder | None = None,
        tool_name: str = DEFAULT_FILE_SEARCH_NAME,
        max_num_results: int = DEFAULT_RESULTS,
        filters: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = Path(path)
        self._embeddings = Model(embeddings) if isinstance(embeddings, str) else embeddings
        self._max_num_results = max_num_results
        self._filters = dict(filters) if filters is not None else None
        self._index: Index | None = None
        self._opening = threading.Lock()  # not asyncio's: each sync run of an agent has a loop of its own
        self.tool_name = tool_name

    def __repr__(self) -> str:
        return f"<vector store {self._path}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def definition(self) -> dict[str, Any]:
        """The search as the Responses API describes it."""
        return {"type": "file_search", "vector_store_ids": [self._path.name or "files"], "name": self.tool_name}

    async def add(
        self,
        source: str | Path | bytes,
        *,
        name: str | None = None,
        attributes: Mapping[str, str | float | bool] | None = None,
    ) -> str:
        """Index a file: a path, or bytes with a ``name`` such as ``report.pdf``. Its id, by which it is cited.

        Raises:
            UsageError: bytes without a name.
            OSError: the file cannot be read.
            ExtractionError: there is no text in it that can be read; it says why.
            EmbeddingError, TransportError, ProviderError: there are no vectors of it.
        """
        if isinstance(source, bytes) and name is None:
            raise UsageError("A file of bytes needs a name, such as add(data, name='report.pdf').")
        filename = name or Path(source).name  # type: ignore[arg-type]  # bytes have a name
        chunks = await asyncio.to_thread(_chunks, source if isinstance(source, bytes) else Path(source), filename)
        embedded = await self._embedded(chunks)
        index, file_id = await self._opened(), _file_id(filename)
        if embedded is not None and index.model not in (None, embedded.model):
            await asyncio.to_thread(index.use_model, embedded.model)
        await asyncio.to_thread(index.add, file_id, chunks, embedded, dict(attributes or {}), filename=filename)
        return file_id

    async def remove(self, name: str) -> None:
        """Forget a file; no search finds it after that.

        Raises:
            NotFound: there is none of that name.
        """
        index = await self._opened()
        if not await asyncio.to_thread(index.remove, _file_id(name)):
            raise NotFound("file", name)

    async def search(
        self, query: str | Sequence[str], *, max_num_results: int | None = None, filters: object = None
    ) -> SearchResult:
        """The passages that fit best, as ``hits``; ``mode`` says whether words, vectors or both were searched.

        Raises:
            InvalidRequest: the query is empty, or the filters are none.
            RetrievalError, ProviderError, TransportError: the search failed; never an empty result instead.
        """
        from antiphon.retrieval.filters import compile_filter
        from antiphon.retrieval.search import Source, search

        index = await self._opened()
        async with AsyncExitStack() as stack:
            source = Source(store_id="", index=index, embedder=await self._embedder(stack))
            return await search(
                query,
                [source],
                filters=compile_filter(self._filters if filters is None else filters),
                max_num_results=max_num_results or self._max_num_results,
            )

    async def answer(self, queries: Sequence[str]) -> ToolResult:
        """What a model that called the search is told.

        Raises:
            ToolError: the search failed.
        """

        async def found() -> Found:
            result = await self.search(queries)
            return Found([_shown(hit) for hit in result.hits], result.queries, result.notes)

        return await search_files(found())

    async def close(self) -> None:
        """Release the directory. The next use opens it again."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._opening:
            index, self._index = self._index, None
            if index is not None:
                index.close()

    async def _opened(self) -> Index:
        return await asyncio.to_thread(self._open)

    def _open(self) -> Index:
        from antiphon.retrieval.index import Index

        with self._opening:
            if self._index is None:
                self._path.mkdir(parents=True, exist_ok=True)
                self._index = Index.open(self._path)
            return self._index

    async def _embedder(self, stack: AsyncExitStack) -> Embedder | None:
        if not isinstance(self._embeddings, Model):
            return self._embeddings
        from antiphon.retrieval.embedding import UpstreamEmbedder

        provider = await stack.enter_async_context(self._embeddings.provider())
        return UpstreamEmbedder(provider, self._embeddings.name)

    async def _embedded(self, chunks: list[Chunk]) -> Embedded | None:
        from antiphon.retrieval.index import Embedded

        async with AsyncExitStack() as stack:
            embedder = await self._embedder(stack)
            if embedder is None or not chunks:
                return None
            return Embedded(embedder.model, await embedder.embed([chunk.indexed_text for chunk in chunks]))


def _chunks(source: Path | bytes, filename: str) -> list[Chunk]:
    from antiphon.retrieval.chunking import ChunkingStrategy, chunks
    from antiphon.retrieval.extraction import extract

    found = extract(source, filename=filename, media_type=None)
    return chunks(found.text, kind=found.kind, strategy=ChunkingStrategy(), title=found.title or filename)


def _file_id(name: str) -> str:
    return f"file-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _shown(hit: Any) -> dict[str, Any]:
    return {
        "file_id": hit.file_id,
        "filename": hit.filename,
        "score": hit.score,
        "attributes": dict(hit.attributes),
        "text": hit.text,
    }
