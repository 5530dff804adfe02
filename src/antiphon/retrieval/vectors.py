"""Vectors of an index in memory: int8, searched exactly; where there are many, those whose signs are near.

A vector is scaled so that its largest component is 127. What counts is the angle, so no scale has to be kept, and for
768 dimensions the angle changes by less than the difference between neighbours (bench/README.md has the recall). There
is nothing to build, a row can be searched as soon as it is written, and a filter costs less than no filter.

Rows are only ever appended, and what a view shows of them never changes: searches need no lock. A row that is gone is
no longer alive, and its place is reclaimed when there are many of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.errors import EmbeddingError, EmbeddingMismatch
from antiphon.retrieval.signs import signs_of, worth_comparing

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[tuple[int, int], np.dtype[np.float32]]
    Bits = np.ndarray[tuple[int, int], np.dtype[np.uint64]]
    Bytes = np.ndarray[tuple[int, int], np.dtype[np.int8]]
    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
    Numbers = np.ndarray[tuple[int], np.dtype[Any]]

GROWTH = 1.25
# Of more rows than this, only those are compared whose signs are nearest, and at least so many of them: at 100,000 rows
# that takes a third of the time; bench/README.md has what it costs in recall.
MANY = 20_000
COMPARED = 5_000


def quantised(vectors: Floats) -> Bytes:
    """Vectors as int8, each with its own scale.

    Raises:
        EmbeddingError: one is all zeros, or holds something that is no number.
    """
    import numpy as np

    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    if not np.all(np.isfinite(largest)) or not np.all(largest > 0):
        raise EmbeddingError("An embedding is all zeros, or holds something that is not a number.")
    matrix: Bytes = np.rint(vectors * (127 / largest)).astype(np.int8)
    return matrix


class View(msgspec.Struct, frozen=True):
    """The rows as they were at one moment."""

    chunk_ids: Numbers
    files: Numbers
    alive: Mask
    has_vector: Mask
    matrix: Bytes | None
    signs: Bits | None = None

    def row_of(self, chunk_ids: Numbers) -> Numbers:
        """The rows of these chunks, -1 where there is none that is alive."""
        import numpy as np

        if not len(self.chunk_ids):
            return np.full(len(chunk_ids), -1)
        rows = np.minimum(np.searchsorted(self.chunk_ids, chunk_ids), len(self.chunk_ids) - 1)
        return np.where((self.chunk_ids[rows] == chunk_ids) & self.alive[rows], rows, -1)

    def nearest(self, vector: Floats, count: int, wanted: Mask | None) -> tuple[Numbers, Numbers]:
        """Rows and similarities (cosines) of the nearest ``count`` rows that are alive and wanted, nearest first.

        The vector, one row of floats, is rounded for the scan only: what that finds is compared with it as it is, which
        mends the half of the rounding that makes neighbours change places.
        """
        import numpy as np

        rows = self._scanned(quantised(vector), count + count // 4 + 8, wanted)
        if self.matrix is None or not len(rows):
            return rows, np.zeros(0, dtype=np.float32)
        candidates = self.matrix[rows].astype(np.float32)
        lengths = np.linalg.norm(candidates, axis=1) * np.linalg.norm(vector)
        similarities = candidates @ vector.reshape(-1) / lengths
        order = np.argsort(-similarities, kind="stable")[:count]
        return rows[order], similarities[order]

    def _scanned(self, vector: Bytes, count: int, wanted: Mask | None) -> Numbers:
        """The nearest rows by the rounded vector, nearest first."""
        import numpy as np

        nothing = np.zeros(0, dtype=np.int64)
        if self.matrix is None:
            return nothing
        mask = self.alive & self.has_vector
        if wanted is not None:
            mask &= wanted
        left = int(np.count_nonzero(mask))
        if not left:
            return nothing
        is_all = left == len(mask)
        if left > MANY and self.signs is not None:
            near = worth_comparing(self.signs, vector, COMPARED, None if is_all else mask)
            return near[_scan(self.matrix[near], vector, count)]
        if is_all:
            return _scan(self.matrix, vector, count)
        positions = np.flatnonzero(mask)
        return positions[_scan(self.matrix[positions], vector, count)]


class Rows:
    """All chunks of an index, a row for each, in the order of their ids."""

    def __init__(self) -> None:
        import numpy as np

        self._count = 0
        self._chunk_ids = np.zeros(0, dtype=np.int64)
        self._files = np.zeros(0, dtype=np.int32)
        self._alive = np.zeros(0, dtype=np.bool_)
        self._has_vector = np.zeros(0, dtype=np.bool_)
        self._matrix: Bytes | None = None
        self._signs: Bits | None = None
        self.dead = 0

    @property
    def alive(self) -> int:
        """How many chunks there are."""
        return self._count - self.dead

    @property
    def without_vector(self) -> int:
        """How many of them have no vector."""
        view = self.view()
        return int((view.alive & ~view.has_vector).sum())

    def view(self) -> View:
        """What there is now."""
        n = self._count
        matrix = None if self._matrix is None else self._matrix[:n]
        signs = None if self._signs is None else self._signs[:, :n]
        return View(self._chunk_ids[:n], self._files[:n], self._alive[:n], self._has_vector[:n], matrix, signs)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all, so that adding them copies nothing."""
        import numpy as np

        if rows <= len(self._chunk_ids):
            return
        self._chunk_ids = _grown(self._chunk_ids, rows)
        self._files = _grown(self._files, rows)
        self._alive = _grown(self._alive, rows)
        self._has_vector = _grown(self._has_vector, rows)
        if self._matrix is not None:
            self._matrix = _grown(self._matrix, rows)
        if self._signs is not None:
            self._signs = np.ascontiguousarray(_grown(self._signs.T, rows).T)

    def append(self, first_chunk: int, count: int, file: int, matrix: Bytes | None) -> None:
        """Add a file's chunks: ``file`` is the row of its attributes."""
        import numpy as np

        start, end = self._count, self._count + count
        if end > len(self._chunk_ids):
            self.reserve(max(end, int(GROWTH * end), 64))
        self._chunk_ids[start:end] = np.arange(first_chunk, first_chunk + count)
        self._files[start:end] = file
        self._alive[start:end] = True
        self._has_vector[start:end] = matrix is not None
        if matrix is not None:
            self._write(start, matrix)
        self._count = end

    def put_vectors(self, first_chunk: int, matrix: Bytes) -> None:
        """Give vectors to chunks that had none."""
        import numpy as np

        start = int(np.searchsorted(self._chunk_ids[: self._count], first_chunk))
        self._write(start, matrix)
        has_vector = self._has_vector.copy()
        has_vector[start : start + len(matrix)] = True
        self._has_vector = has_vector

    def forget_vectors(self) -> None:
        """Leave every chunk without a vector."""
        self._matrix = self._signs = None
        self._has_vector = self._has_vector & False

    def kill(self, first_chunk: int, count: int) -> None:
        """Let a file's chunks be found no more."""
        import numpy as np

        start = int(np.searchsorted(self._chunk_ids[: self._count], first_chunk))
        alive = self._alive.copy()
        alive[start : start + count] = False
        self._alive = alive
        self.dead += count
        if self.dead > 1_000 and self.dead > self._count // 4:
            self._compact()

    def _write(self, start: int, added: Bytes) -> None:
        import numpy as np

        signs = signs_of(added)
        if self._matrix is None or self._signs is None:
            self._matrix = np.zeros((len(self._chunk_ids), added.shape[1]), dtype=np.int8)
            self._signs = np.zeros((len(signs), len(self._chunk_ids)), dtype=np.uint64)
        if self._matrix.shape[1] != added.shape[1]:
            raise EmbeddingMismatch(f"The index has {self._matrix.shape[1]} dimensions, the vectors {added.shape[1]}.")
        self._matrix[start : start + len(added)] = added
        self._signs[:, start : start + len(added)] = signs

    def _compact(self) -> None:
        kept = self._alive[: self._count].nonzero()[0]
        self._chunk_ids = self._chunk_ids[kept]
        self._files = self._files[kept]
        self._has_vector = self._has_vector[kept]
        self._matrix = None if self._matrix is None else self._matrix[kept]
        self._signs = None if self._signs is None else self._signs[:, kept]
        self._alive = self._alive[kept]
        self._count, self.dead = len(kept), 0


def _grown(array: Any, rows: int) -> Any:
    import numpy as np

    grown = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _scan(matrix: Bytes, vector: Bytes, count: int) -> Numbers:
    from usearch.index import search

    found: Any = search(matrix, vector.reshape(-1), min(count, len(matrix)), exact=True)  # by the angle
    rows: Numbers = found.keys.astype("int64")
    return rows
