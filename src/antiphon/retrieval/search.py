"""One question to one or several indexes: by words, by vectors, or both, fused by rank."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from antiphon.retrieval.embedding import Embedder
from antiphon.retrieval.filters import Attributes, Filter
from antiphon.retrieval.index import Index

Mode = Literal["hybrid", "vector", "lexical"]

# Makes better search queries of a question.
Rewriter = Callable[[str], Awaitable[list[str]]]


class RankingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How what was found is ranked.

    ``auto`` fuses by reciprocal rank: scores say how well a hit did among all. ``none`` takes the weighted mean of
    similarities, so that a threshold cuts by how near a hit is.
    """

    ranker: Literal["auto", "none"] = "auto"
    score_threshold: float = 0.0
    embedding_weight: float = 1.0
    text_weight: float = 1.0


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


def ranking_options(wire: object, *, param: str = "ranking_options") -> RankingOptions:
    """The options that a request's JSON means.

    Raises:
        InvalidRequest: it is none.
    """
    raise NotImplementedError


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

    Without an embedder, ``hybrid`` searches by words, and says so.

    Raises:
        InvalidRequest: no query, or ``vector`` where a source has no embedder.
        RetrievalError, ProviderError, TransportError: a search failed; never an empty result instead.
    """
    raise NotImplementedError
