"""One question to one or several indexes: by words, by vectors, or both, fused by rank."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from antiphon.errors import EmbeddingMismatch, InvalidRequest
from antiphon.retrieval.embedding import Embedder
from antiphon.retrieval.filters import Attributes, Filter
from antiphon.retrieval.index import Embedded, Found, Index, Passage
from antiphon.retrieval.ranking import Lists, Ranked, RankingOptions, Way, fused, ranking_options

__all__ = ["Hit", "Mode", "RankingOptions", "Rewriter", "SearchResult", "Source", "ranking_options", "search"]

Mode = Literal["hybrid", "vector", "lexical"]

# Makes better search queries of a question.
Rewriter = Callable[[str], Awaitable[list[str]]]

MAX_RESULTS = 50  # OpenAI's
MAX_QUERIES = 32
MAX_QUERY_CHARS = 20_000

# How deep each way looks, at the least: what is far down in both lists may well be first in the fused one.
_LEAST_DEPTH = 50
# Looked up beyond what was asked for, as a file may be removed meanwhile.
_SPARE = 10


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A vector store to search: its index, and the embedder of its vectors, if it has any."""

    store_id: str
    index: Index
    embedder: Embedder | None = None


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found. All scores are between 0 and 1; None where that way did not find it."""

    store_id: str
    file_id: str
    filename: str
    chunk_no: int
    score: float
    text: str
    start: int
    end: int
    attributes: Attributes
    vector_score: float | None = None
    text_score: float | None = None


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, best first.

    ``queries`` were asked (rewritten ones, if so), ``mode`` says how it was really searched, and ``notes`` what the
    asker should know, such as files without vectors.
    """

    hits: list[Hit]
    queries: list[str]
    mode: Mode
    notes: list[str] = []


class _Key(NamedTuple):
    """A chunk of one of the sources."""

    source: int
    chunk_id: int


class _Question(NamedTuple):
    """What is asked of every source."""

    queries: list[str]
    wanted: Filter | None
    ranking: RankingOptions
    max_num_results: int


class _Found(NamedTuple):
    """What one source found for one query."""

    text: list[Found] | None
    vector: list[Found] | None


async def search(
    query: str | Sequence[str],
    sources: Sequence[Source],
    *,
    filters: Filter | None = None,
    ranking: RankingOptions | None = None,
    max_num_results: int = 10,
    mode: Mode = "hybrid",
    rewrite: Rewriter | None = None,
) -> SearchResult:
    """The best chunks of all sources, best first.

    Without an embedder, or where nothing has vectors, ``hybrid`` searches by words, and says so.

    Raises:
        InvalidRequest: no query, or ``vector`` where a source has no vectors.
        EmbeddingMismatch: the vectors of a source are of another model than its embedder.
        RetrievalError, ProviderError, TransportError: a search failed; never an empty result instead.
    """
    ranking = ranking or RankingOptions()
    queries = await _queries(query, rewrite)
    if not 1 <= max_num_results <= MAX_RESULTS:
        message = f"max_num_results is {max_num_results}; it must be from 1 to {MAX_RESULTS}."
        raise InvalidRequest(message, param="max_num_results")
    ways, notes = _ways(sources, mode, ranking)
    vectors = await _vectors(queries, sources, ways)
    asked = _Question(queries, filters, ranking, max_num_results)
    # In one thread, one source after the other: a scan of vectors takes all cores by itself.
    hits = await asyncio.to_thread(_hits, asked, sources, ways, vectors)
    used = {each for way in ways for each in way}
    really: Mode = "hybrid" if len(used) == 2 else "vector" if used == {"vector"} else "lexical"
    return SearchResult(hits=hits, queries=queries, mode=really, notes=notes)


async def _queries(query: str | Sequence[str], rewrite: Rewriter | None) -> list[str]:
    """What is really asked: each once, none blank."""
    given = [query] if isinstance(query, str) else list(query)
    if not given or not all(isinstance(each, str) and each.strip() for each in given):
        raise InvalidRequest("The query is empty. Say what to search for.", param="query")
    if len(given) > MAX_QUERIES or max(map(len, given)) > MAX_QUERY_CHARS:
        message = f"At most {MAX_QUERIES} queries of {MAX_QUERY_CHARS:,} characters are searched for at a time."
        raise InvalidRequest(message, param="query")
    if rewrite is not None:
        rewritten = [[each for each in await rewrite(one) if each.strip()] or [one] for one in given]
        given = [each for group in rewritten for each in group][:MAX_QUERIES]
    return list(dict.fromkeys(each.strip() for each in given))


def _ways(sources: Sequence[Source], mode: Mode, ranking: RankingOptions) -> tuple[list[set[Way]], list[str]]:
    """How each source is searched, and what is to be said about it."""
    notes: list[str] = []
    wanted: set[Way] = {"lexical": {"text"}, "vector": {"vector"}, "hybrid": {"text", "vector"}}[mode]  # type: ignore[assignment]
    if mode == "hybrid":
        weights: dict[Way, float] = {"vector": ranking.embedding_weight, "text": ranking.text_weight}
        wanted = {way for way in wanted if weights[way] > 0}
    ways: list[set[Way]] = []
    for source in sources:
        if "vector" not in wanted:
            ways.append(wanted)
            continue
        objection = _objection(source, notes)
        if objection and wanted == {"vector"}:
            message = f"The vector store {source.store_id} cannot be searched by vectors: {objection}."
            raise InvalidRequest(message, param="mode")
        if objection:
            notes.append(f"{source.store_id} was searched by words alone: {objection}.")
        ways.append({"text"} if objection else wanted)
    return ways, notes


def _objection(source: Source, notes: list[str]) -> str:
    """Why a source has no vectors to search, or ``""``."""
    stats = source.index.stats()
    if source.embedder is None:
        return "no embedding model is set for it"
    if stats.model is None:
        return "none of its files has vectors" if stats.chunks else ""
    if stats.model != source.embedder.model:
        raise EmbeddingMismatch(
            f"The vector store {source.store_id} has vectors of {stats.model}, and is searched with those of"
            f" {source.embedder.model}. Embed its files again, or set the model it was made with."
        )
    if stats.chunks_without_vector:
        missing = f"{stats.chunks_without_vector:,} of {stats.chunks:,} chunks"
        notes.append(f"{missing} of {source.store_id} have no vectors yet, and are found by their words alone.")
    return ""


async def _vectors(queries: list[str], sources: Sequence[Source], ways: list[set[Way]]) -> dict[int, Embedded]:
    """The queries' vectors, by embedder: each is asked once."""
    embedders = {
        id(source.embedder): source.embedder
        for source, way in zip(sources, ways, strict=True)
        if "vector" in way and source.embedder is not None
    }
    made = await asyncio.gather(*(embedder.embed(queries) for embedder in embedders.values()))
    return {
        name: Embedded(embedder.model, vectors)
        for (name, embedder), vectors in zip(embedders.items(), made, strict=True)
    }


def _hits(asked: _Question, sources: Sequence[Source], ways: list[set[Way]], vectors: dict[int, Embedded]) -> list[Hit]:
    found = [
        _look(source.index, asked, way, vectors.get(id(source.embedder)))
        for source, way in zip(sources, ways, strict=True)
    ]
    ranked = fused([_lists(query_no, found) for query_no in range(len(asked.queries))], asked.ranking)
    return _looked_up(ranked[: asked.max_num_results + _SPARE], sources)[: asked.max_num_results]


def _look(index: Index, asked: _Question, ways: set[Way], vectors: Embedded | None) -> list[_Found]:
    """What one source finds for each query, by each way."""
    depth = max(_LEAST_DEPTH, 4 * asked.max_num_results)
    found = []
    for n, query in enumerate(asked.queries):
        text = index.by_words(query, count=depth, wanted=asked.wanted) if "text" in ways else None
        vector = None
        if "vector" in ways and vectors is not None:
            one = Embedded(vectors.model, vectors.vectors[n : n + 1])
            vector = index.by_vector(one, count=depth, wanted=asked.wanted)
        found.append(_Found(text, vector))
    return found


def _lists(query_no: int, found: Sequence[list[_Found]]) -> Lists[_Key]:
    """What all sources found for a query, as one list for each way: a store's best is not everybody's best."""
    lists: dict[Way, Any] = {}
    for way in ("vector", "text"):
        of_sources = [(n, getattr(each[query_no], way)) for n, each in enumerate(found)]
        together = [(_Key(n, hit.chunk_id), hit.score) for n, hits in of_sources for hit in hits or ()]
        if any(hits is not None for _, hits in of_sources):
            lists[way] = sorted(together, key=lambda each: -each[1])
    return lists


def _looked_up(ranked: Sequence[Ranked[_Key]], sources: Sequence[Source]) -> list[Hit]:
    passages: dict[_Key, Passage] = {}
    for n, source in enumerate(sources):
        chunk_ids = [each.key.chunk_id for each in ranked if each.key.source == n]
        if chunk_ids:
            there = source.index.passages(chunk_ids)
            passages |= {_Key(n, chunk_id): passage for chunk_id, passage in there.items()}
    return [
        _hit(each, passages[each.key], sources[each.key.source].store_id) for each in ranked if each.key in passages
    ]


def _hit(ranked: Ranked[_Key], passage: Passage, store_id: str) -> Hit:
    return Hit(
        store_id=store_id,
        file_id=passage.file_id,
        filename=passage.filename,
        chunk_no=passage.chunk_no,
        score=min(1.0, ranked.score),
        text=passage.text.strip(),
        start=passage.start,
        end=passage.end,
        attributes=passage.attributes,
        vector_score=ranked.vector_score,
        text_score=ranked.text_score,
    )
