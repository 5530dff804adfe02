"""The index of one vector store: chunks, words and vectors in a directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from antiphon.retrieval.chunking import Chunk
from antiphon.retrieval.filters import Attributes, Filter

if TYPE_CHECKING:
    from antiphon.retrieval.embedding import Vectors


class Embedded(msgspec.Struct, frozen=True):
    """The vectors of a file's chunks, a row for each, and the model that made them."""

    model: str
    vectors: Vectors


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that one way of looking found; ``score`` is between 0 and 1."""

    chunk_id: int
    score: float


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk, with what is known of its file."""

    chunk_id: int
    file_id: str
    filename: str
    chunk_no: int
    text: str
    start: int
    end: int
    attributes: Attributes


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is; ``model`` and ``dimensions`` of the vectors, if there are any."""

    files: int
    chunks: int
    chunks_without_vector: int
    bytes: int
    model: str | None
    dimensions: int | None


class Index:
    """Chunks of files, found by words and by vectors. All methods are synchronous, and safe from any thread."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the index in a directory, or make one there.

        Raises:
            IndexDamaged: its chunks cannot be read.
        """
        raise NotImplementedError

    def add(
        self,
        file_id: str,
        chunks: Sequence[Chunk],
        embedded: Embedded | None = None,
        attributes: Attributes | None = None,
        *,
        filename: str = "",
    ) -> None:
        """Index a file, in place of what was there of it. Durable, and found by every later search.

        Raises:
            EmbeddingMismatch: the vectors are of another model or length than those that are there.
        """
        raise NotImplementedError

    def remove(self, file_id: str) -> bool:
        """Forget a file; whether there was one."""
        raise NotImplementedError

    def set_attributes(self, file_id: str, attributes: Attributes) -> None:
        """Replace a file's attributes.

        Raises:
            NotFound: there is no such file.
        """
        raise NotImplementedError

    def text_of(self, file_id: str) -> str:
        """The whole text of a file.

        Raises:
            NotFound: there is no such file.
        """
        raise NotImplementedError

    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]:
        """The chunks of these ids, as far as they are still there."""
        raise NotImplementedError

    def by_words(self, query: str, *, count: int, wanted: Filter | None = None) -> list[Found]:
        """The best ``count`` chunks by BM25, of files that a filter wants."""
        raise NotImplementedError

    def by_vector(self, embedded: Embedded, *, count: int, wanted: Filter | None = None) -> list[Found]:
        """The ``count`` chunks nearest to a vector, of files that a filter wants.

        Raises:
            EmbeddingMismatch: the vector is of another model or length.
        """
        raise NotImplementedError

    def stats(self) -> Stats:
        """How much there is."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the directory. Closing twice is harmless."""
        raise NotImplementedError
