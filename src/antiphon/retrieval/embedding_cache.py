"""Vectors of texts that were embedded before, by a hash of the text, in one SQLite file that can be lost.

Kept in half precision: it costs half the disk, and less than the index's own rounding.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Vector = np.ndarray[tuple[int], np.dtype[Any]]

_log = logging.getLogger(__name__)

# 0.3 GB of vectors with 768 dimensions.
DEFAULT_MAX_ENTRIES = 200_000

_SCHEMA = """CREATE TABLE IF NOT EXISTS vectors (
    no INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, hash BLOB NOT NULL, vector BLOB NOT NULL,
    UNIQUE (model, hash))"""
_GET = "SELECT vector FROM vectors WHERE model = ? AND hash = ?"
_PUT = "INSERT OR IGNORE INTO vectors (model, hash, vector) VALUES (?, ?, ?)"
_PRUNE = "DELETE FROM vectors WHERE no <= (SELECT max(no) FROM vectors) - ?"


class EmbeddingCache:
    """Vectors by model and text; safe from any thread. A file that cannot be used is made anew, or done without."""

    def __init__(self, path: Path, *, max_entries: int = DEFAULT_MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._db = _opened(path)

    def get(self, model: str, texts: Sequence[str]) -> dict[str, Vector]:
        """The vectors that are known, by text."""
        import numpy as np

        found: dict[str, Vector] = {}
        with self._lock, _done_without("read"):
            for text in texts:
                row = self._db.execute(_GET, (model, _hash(text))).fetchone()
                if row is not None:
                    found[text] = np.frombuffer(row[0], dtype="<f2").astype(np.float32)
        return found

    def put(self, model: str, vectors: Mapping[str, Vector]) -> None:
        """Keep vectors; the oldest go when there are too many."""
        rows = [(model, _hash(text), vector.astype("<f2").tobytes()) for text, vector in vectors.items()]
        with self._lock, _done_without("written"), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_PUT, rows)
            self._db.execute(_PRUNE, (self._max_entries,))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()


def _opened(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(sqlite3.Error):
        return _connected(str(path))
    try:
        path.unlink(missing_ok=True)
        return _connected(str(path))
    except (sqlite3.Error, OSError) as error:
        _say("made anew", error)
        return _connected(":memory:")


@contextlib.contextmanager
def _done_without(what: str) -> Iterator[None]:
    """What is lost is embedded again: it is no error, but it is said, since it costs calls."""
    try:
        yield
    except sqlite3.Error as error:
        _say(what, error)


def _say(what: str, error: Exception) -> None:
    _log.warning("the embedding cache could not be %s, so texts may be embedded again: %s", what, error)


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # what is lost is embedded again
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()
