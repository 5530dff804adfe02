"""sqlite-vec with FTS5, and chroma, over the same collection; run by a Python that has them (see bench/README.md)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import retrieval_data as data
from retrieval_measuring import Searches, main

_WORD = re.compile(r"\w+")
_CANDIDATES = 50
_BATCH = 5_000


def fused(lists: list[list[int]], count: int) -> list[int]:
    """Reciprocal rank fusion."""
    scores: dict[int, float] = {}
    for found in lists:
        for rank, row in enumerate(found):
            scores[row] = scores.get(row, 0) + 1 / (61 + rank)
    return sorted(scores, key=lambda row: -scores[row])[:count]


class SqliteVec:
    """Vectors in sqlite-vec (exact), words in FTS5 (BM25), one file."""

    def __init__(self, directory: Path, dtype: str) -> None:
        import apsw
        import sqlite_vec

        self._dtype = dtype
        self._db = apsw.Connection(str(directory / "peer.db"))
        self._db.enable_load_extension(True)
        self._db.load_extension(sqlite_vec.loadable_path())
        self._db.execute("PRAGMA journal_mode = WAL")

    def build(self, collection: Path) -> None:
        """Index the collection."""
        texts = data.load(collection, "texts")
        dimensions = data.rows(collection, 0, 1).shape[1]
        self._db.execute(
            f"CREATE VIRTUAL TABLE vectors USING vec0(v {self._dtype}[{dimensions}] distance_metric=cosine)"
        )
        self._db.execute("CREATE VIRTUAL TABLE words USING fts5(text, tokenize='porter unicode61')")
        for start in range(0, len(texts), _BATCH):
            with self._db:
                for n, vector in enumerate(data.rows(collection, start, start + _BATCH), start):
                    self.add(n, texts[n], vector)

    def add(self, row: int, text: str, vector: np.ndarray) -> None:
        """Index one more chunk."""
        wrapped = "vec_int8(?)" if self._dtype == "int8" else "?"
        self._db.execute(f"INSERT INTO vectors (rowid, v) VALUES (?, {wrapped})", (row, self._packed(vector)))
        self._db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, text))

    def vector(self, query: np.ndarray, count: int) -> list[int]:
        """The nearest rows."""
        wrapped = "vec_int8(?)" if self._dtype == "int8" else "?"
        sql = f"SELECT rowid FROM vectors WHERE v MATCH {wrapped} AND k = ? ORDER BY distance"
        return [row for (row,) in self._db.execute(sql, (self._packed(query), count))]

    def words(self, query: str, count: int) -> list[int]:
        """The best rows by BM25."""
        asked = " OR ".join(f'"{word}"' for word in _WORD.findall(query))
        sql = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        return [row for (row,) in self._db.execute(sql, (asked, count))]

    def hybrid(self, query: str, vector: np.ndarray, count: int) -> list[int]:
        """The best rows by both."""
        return fused([self.vector(vector, _CANDIDATES), self.words(query, _CANDIDATES)], count)

    def _packed(self, vector: np.ndarray) -> bytes:
        if self._dtype == "int8":
            return np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8).tobytes()
        return vector.astype(np.float32).tobytes()


class Chroma:
    """Chroma's own HNSW; it has no ranked search by words, so vectors are all it is asked for."""

    def __init__(self, directory: Path) -> None:
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        client = chromadb.PersistentClient(path=str(directory), settings=settings)
        self._collection = client.get_or_create_collection("bench", metadata={"hnsw:space": "cosine"})

    def build(self, collection: Path) -> None:
        """Index the collection."""
        texts = data.load(collection, "texts")
        for start in range(0, len(texts), _BATCH):
            rows = range(start, min(start + _BATCH, len(texts)))
            self._collection.add(
                ids=[str(n) for n in rows],
                embeddings=data.rows(collection, rows.start, rows.stop),
                documents=texts[rows.start : rows.stop],
            )

    def add(self, row: int, text: str, vector: np.ndarray) -> None:
        """Index one more chunk."""
        self._collection.add(ids=[str(row)], embeddings=[vector], documents=[text])

    def vector(self, query: np.ndarray, count: int) -> list[int]:
        """The nearest rows."""
        found = self._collection.query(query_embeddings=[query], n_results=count, include=[])
        return [int(row) for row in found["ids"][0]]


TARGETS: dict[str, Callable[[Path], Searches]] = {
    "sqlite-vec + FTS5": lambda directory: SqliteVec(directory, "float"),
    "sqlite-vec int8 + FTS5": lambda directory: SqliteVec(directory, "int8"),
    "chroma": Chroma,
}

if __name__ == "__main__":
    sys.exit(main(TARGETS))
