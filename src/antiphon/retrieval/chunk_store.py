"""The truth of an index: files, their chunks, attributes and vectors, in one SQLite file.

What finds chunks (words, vectors in memory) is made from this and can be made again. A file's number and its chunks'
ids grow and are never given twice, so what still names a chunk that is gone can never mean another. The generation
counts the writes; a lexical index that knows its own generation knows what it has missed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import IndexDamaged, NotFound, RetrievalError
from antiphon.retrieval.chunking import Chunk
from antiphon.retrieval.filters import Attributes

FORMAT = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE files (
    no INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, filename TEXT NOT NULL, attributes TEXT NOT NULL,
    generation INTEGER NOT NULL, first_chunk INTEGER NOT NULL, chunks INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX files_by_generation ON files (generation);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, position INTEGER NOT NULL, text TEXT NOT NULL,
    context TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL);
CREATE INDEX chunks_by_file ON chunks (file, position);
CREATE TABLE models (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dimensions INTEGER NOT NULL);
CREATE TABLE vectors (file INTEGER NOT NULL, model INTEGER NOT NULL, matrix BLOB NOT NULL, PRIMARY KEY (file, model));
CREATE TABLE removed (file INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
"""
_READ_META = "SELECT value FROM meta WHERE key = ?"
_WRITE_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_FILE = "SELECT no, id, filename, attributes, first_chunk, chunks, bytes FROM files"
_ADD_FILE = """INSERT INTO files (id, filename, attributes, generation, first_chunk, chunks, bytes)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_ADD_CHUNK = "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)"
_PASSAGES = """SELECT chunks.id, files.id, files.filename, chunks.position, chunks.text, chunks.start, chunks."end",
    files.attributes FROM chunks JOIN files ON files.no = chunks.file WHERE chunks.id IN ({})"""
_TEXTS_SINCE = """SELECT chunks.file, chunks.id, chunks.context, chunks.text FROM files JOIN chunks
    ON chunks.file = files.no WHERE files.generation > ? ORDER BY chunks.id"""
_WITHOUT_VECTORS = """SELECT id FROM files WHERE chunks > 0 AND NOT EXISTS (SELECT 1 FROM vectors JOIN models
    ON models.no = vectors.model WHERE vectors.file = files.no AND models.name = ?) ORDER BY no LIMIT ?"""

_encode = msgspec.json.Encoder().encode


class FileRow(msgspec.Struct, frozen=True):
    """A file as it is indexed; its chunks' ids are ``first_chunk`` and those that follow."""

    no: int
    id: str
    filename: str
    attributes: dict[str, Any]
    first_chunk: int
    chunks: int
    bytes: int


class ModelRow(msgspec.Struct, frozen=True):
    """An embedding model whose vectors are here."""

    no: int
    name: str
    dimensions: int


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


class ChunkStore:
    """One SQLite file, with one connection; its caller sees to it that one thread at a time is here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._set_up()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[int]:
        """Keep all that is written within, or nothing of it; gives the generation of the write."""
        with self._explained(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            generation = self.generation + 1
            self._db.execute(_WRITE_META, ("generation", generation))
            yield generation

    @property
    def generation(self) -> int:
        """How many writes there were."""
        return int(self.meta("generation") or 0)

    def meta(self, key: str) -> Any:
        """A note about the index itself; None where there is none."""
        with self._explained():
            row = self._db.execute(_READ_META, (key,)).fetchone()
        return row[0] if row else None

    # --- files, within a transaction where they are written ------------------------------------------

    def files(self) -> Iterator[FileRow]:
        """All files, oldest first."""
        with self._explained():
            for row in self._db.execute(f"{_FILE} ORDER BY no"):
                yield _file(row)

    def maybe_file(self, file_id: str) -> FileRow | None:
        """The file of this id."""
        with self._explained():
            row = self._db.execute(f"{_FILE} WHERE id = ?", (file_id,)).fetchone()
        return _file(row) if row else None

    def file(self, file_id: str) -> FileRow:
        """The file of this id.

        Raises:
            NotFound: there is none.
        """
        found = self.maybe_file(file_id)
        if found is None:
            raise NotFound("file", file_id)
        return found

    def add_file(
        self, file_id: str, filename: str, attributes: Attributes, chunks: Sequence[Chunk], generation: int
    ) -> FileRow:
        """Write a file and its chunks; there must be none of this id."""
        first = int(self.meta("next_chunk") or 1)
        size = sum(len(chunk.text.encode()) for chunk in chunks)
        row = (file_id, filename, _encode(dict(attributes)).decode(), generation, first, len(chunks), size)
        no = self._db.execute(_ADD_FILE, row).lastrowid
        assert no is not None
        self._db.execute(_WRITE_META, ("next_chunk", first + len(chunks)))
        self._db.executemany(
            _ADD_CHUNK,
            ((first + n, no, n, each.text, each.context, each.start, each.end) for n, each in enumerate(chunks)),
        )
        return FileRow(no, file_id, filename, dict(attributes), first, len(chunks), size)

    def remove_file(self, file: FileRow, generation: int) -> None:
        """Delete a file with all that belongs to it, and note that a lexical index may still have it."""
        self._db.execute("DELETE FROM files WHERE no = ?", (file.no,))
        self._db.execute("DELETE FROM chunks WHERE file = ?", (file.no,))
        self._db.execute("DELETE FROM vectors WHERE file = ?", (file.no,))
        self._db.execute("INSERT INTO removed VALUES (?, ?)", (file.no, generation))

    def set_attributes(self, file: FileRow, attributes: Attributes) -> None:
        """Replace a file's attributes."""
        encoded = _encode(dict(attributes)).decode()
        self._db.execute("UPDATE files SET attributes = ? WHERE no = ?", (encoded, file.no))

    # --- chunks --------------------------------------------------------------------------------------

    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]:
        """The chunks of these ids, as far as they are still there."""
        with self._explained():
            rows = self._db.execute(_PASSAGES.format(",".join("?" * len(chunk_ids))), chunk_ids).fetchall()
        return {
            row[0]: Passage(
                chunk_id=row[0],
                file_id=row[1],
                filename=row[2],
                chunk_no=row[3],
                text=row[4],
                start=row[5],
                end=row[6],
                attributes=msgspec.json.decode(row[7]),
            )
            for row in rows
        }

    def chunks_of(self, file: FileRow) -> list[Chunk]:
        """A file's chunks, in order."""
        with self._explained():
            rows = self._db.execute(
                'SELECT text, context, start, "end" FROM chunks WHERE file = ? ORDER BY position', (file.no,)
            ).fetchall()
        return [Chunk(text=text, context=context, start=start, end=end) for text, context, start, end in rows]

    def texts_since(self, generation: int) -> Iterator[tuple[int, int, str]]:
        """File number, chunk id and indexed text of all chunks that were written after a generation."""
        with self._explained():
            for file, chunk_id, context, text in self._db.execute(_TEXTS_SINCE, (generation,)):
                yield file, chunk_id, Chunk(text=text, context=context, start=0, end=0).indexed_text

    def removed_since(self, generation: int) -> list[int]:
        """Numbers of the files that were removed after a generation."""
        with self._explained():
            rows = self._db.execute("SELECT file FROM removed WHERE generation > ?", (generation,)).fetchall()
        return [row[0] for row in rows]

    def forget_removed(self, generation: int) -> None:
        """Drop the notes of removals up to a generation: no index needs them."""
        self._db.execute("DELETE FROM removed WHERE generation <= ?", (generation,))

    # --- vectors -------------------------------------------------------------------------------------

    def model(self, role: str) -> ModelRow | None:
        """The model that is ``current``, or ``next`` while the index is embedded anew."""
        name = self.meta(f"{role}_model")
        return self.maybe_model(name) if name is not None else None

    def maybe_model(self, name: str) -> ModelRow | None:
        """The model of this name."""
        with self._explained():
            row = self._db.execute("SELECT no, name, dimensions FROM models WHERE name = ?", (name,)).fetchone()
        return ModelRow(*row) if row else None

    def add_model(self, name: str, dimensions: int) -> ModelRow:
        """Note a model that vectors are of."""
        no = self._db.execute("INSERT INTO models (name, dimensions) VALUES (?, ?)", (name, dimensions)).lastrowid
        assert no is not None
        return ModelRow(no, name, dimensions)

    def set_meta(self, key: str, value: object) -> None:
        """Write a note about the index itself."""
        self._db.execute(_WRITE_META, (key, value))

    def keep_only(self, model: ModelRow | None) -> None:
        """Forget all other models and their vectors."""
        no = model.no if model else -1
        self._db.execute("DELETE FROM vectors WHERE model != ?", (no,))
        self._db.execute("DELETE FROM models WHERE no != ?", (no,))

    def has_vectors(self) -> bool:
        """Whether any file has vectors."""
        return self._db.execute("SELECT 1 FROM vectors LIMIT 1").fetchone() is not None

    def put_vectors(self, file: FileRow, model: ModelRow, matrix: bytes) -> None:
        """Write the vectors of a file's chunks, a row after the other."""
        self._db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", (file.no, model.no, matrix))

    def vectors(self, model: ModelRow) -> Iterator[tuple[int, bytes]]:
        """File number and matrix of all files that have vectors of a model."""
        with self._explained():
            yield from self._db.execute("SELECT file, matrix FROM vectors WHERE model = ? ORDER BY file", (model.no,))

    def files_without_vectors(self, model: str, count: int) -> list[str]:
        """Ids of files that have no vectors of a model, oldest first."""
        with self._explained():
            return [row[0] for row in self._db.execute(_WITHOUT_VECTORS, (model, count)).fetchall()]

    # --- the file ------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise IndexDamaged(f"{self._path} was written by a newer version of Antiphon. Upgrade, or index anew.")
        if version == 0:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"
            self._db.executescript(script)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary part of an extended code
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise IndexDamaged(f"{self._path} is damaged ({error}). Index its files again.") from error
            raise RetrievalError(f"The index {self._path} cannot be used: {error}.") from error


def _file(row: tuple[Any, ...]) -> FileRow:
    no, file_id, filename, attributes, first_chunk, chunks, size = row
    return FileRow(no, file_id, filename, msgspec.json.decode(attributes), first_chunk, chunks, size)
