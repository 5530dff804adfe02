"""The index of one vector store: chunks, words and vectors in a directory.

`antiphon.retrieval.chunk_store` is the truth and is written first; the words (`antiphon.retrieval.words`) are brought
up to it when the index is opened, and vectors and attributes are held in memory. So whenever the process dies, what was
added is there, and what was being added is there whole or not at all.

Writers wait for each other. Searches look at the memory as it was at one moment and hold no lock while they compute.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from antiphon.errors import IndexDamaged, NotFound, RetrievalError
from antiphon.retrieval.attributes import AttributeTable
from antiphon.retrieval.chunk_store import ChunkStore, FileRow, ModelRow, Passage
from antiphon.retrieval.chunking import Chunk
from antiphon.retrieval.filters import Attributes, Filter
from antiphon.retrieval.models import Embedded, check_dimensions, floats_of, matrix_of, model_for
from antiphon.retrieval.vectors import Rows, View
from antiphon.retrieval.words import MOST_FILES_IN_QUERY, Allowed, Words
from antiphon.store.locking import lock_directory

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[tuple[int], np.dtype[Any]]
    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

__all__ = ["Embedded", "Found", "Index", "Passage", "Stats", "Unembedded"]

_CHUNKS = "chunks.db"
_WORDS = "words"


class Found(msgspec.Struct, frozen=True):
    """A chunk that one way of looking found; ``score`` is between 0 and 1."""

    chunk_id: int
    score: float


class Unembedded(msgspec.Struct, frozen=True):
    """A file that lacks vectors, and what is to be embedded of it; ``version`` changes when it is indexed again."""

    file_id: str
    version: int
    texts: list[str]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is; ``bytes`` of text, ``model`` and ``dimensions`` of the vectors, if there are any."""

    files: int
    chunks: int
    chunks_without_vector: int
    bytes: int
    model: str | None
    dimensions: int | None


class Index:
    """Chunks of files, found by words and by vectors. All methods are synchronous, and safe from any thread."""

    def __init__(self, directory: Path, opened: ExitStack) -> None:
        self._writer = ChunkStore(directory / _CHUNKS)
        opened.callback(self._writer.close)
        self._reader = ChunkStore(directory / _CHUNKS)
        opened.callback(self._reader.close)
        self._words = Words(directory / _WORDS)
        opened.callback(self._words.close)
        self._opened = opened
        self._is_open = True
        self._write_lock = threading.RLock()
        self._read_lock = threading.Lock()
        self._memory_lock = threading.Lock()
        self._model: ModelRow | None = None
        self._is_stale = True  # what is in the words is not known to be what is in the chunk store
        self._load()
        self._refresh()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the index in a directory, or make one there; only one can have it open.

        Raises:
            IndexDamaged: its chunks cannot be read.
            StoreLocked: it is open already.
        """
        with ExitStack() as opened:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                opened.enter_context(lock_directory(directory))
            except OSError as error:
                raise RetrievalError(f"The directory {directory} cannot be used: {error}.") from error
            index = cls(directory, opened)
            index._opened = opened.pop_all()
            return index

    def close(self) -> None:
        """Let go of the directory. Closing twice is harmless."""
        with self._write_lock, self._read_lock:
            if self._is_open and self._words.is_pending and not self._is_stale:
                self._words.flush()  # else it would be done when it is next opened
            self._is_open = False
            self._opened.close()

    # --- writing -------------------------------------------------------------------------------------

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

        Without vectors it is found by its words alone.

        Raises:
            EmbeddingMismatch: the vectors are of another model or length than those that are there.
        """
        matrix = matrix_of(embedded, len(chunks)) if embedded is not None and chunks else None
        with self._writing():
            old = self._writer.maybe_file(file_id)
            with self._writer.transaction() as generation:
                self._writer.forget_removed(self._words.caught_up)
                if old is not None:
                    self._writer.remove_file(old, generation)
                    self._forget_model_if_last()
                row = self._writer.add_file(file_id, filename, attributes or {}, chunks, generation)
                if embedded is not None and matrix is not None:
                    model = model_for(self._writer, embedded.model, matrix.shape[1])
                    self._writer.put_vectors(row, model, matrix.tobytes())
            with self._memory_lock:
                if old is not None:
                    self._take_out(old)
                self._note_model()
                shown = embedded is not None and self._model is not None and embedded.model == self._model.name
                self._take_in(row, matrix if shown else None)
            texts = ((row.no, row.first_chunk + n, chunk.indexed_text) for n, chunk in enumerate(chunks))
            self._write_words(texts, [old.no] if old is not None else [], generation)

    def remove(self, file_id: str) -> bool:
        """Forget a file at once; whether there was one."""
        with self._writing():
            old = self._writer.maybe_file(file_id)
            if old is None:
                return False
            with self._writer.transaction() as generation:
                self._writer.remove_file(old, generation)
                self._forget_model_if_last()
            with self._memory_lock:
                self._take_out(old)
                self._note_model()
            self._write_words((), [old.no], generation)
            return True

    def set_attributes(self, file_id: str, attributes: Attributes) -> None:
        """Replace a file's attributes.

        Raises:
            NotFound: there is no such file.
        """
        with self._writing():
            row = self._writer.file(file_id)
            with self._writer.transaction():
                self._writer.set_attributes(row, attributes)
            with self._memory_lock:
                self._attributes.replace(self._slots[row.no], attributes)

    # --- another model -------------------------------------------------------------------------------

    @property
    def model(self) -> str | None:
        """The model whose vectors are searched; None where there are none."""
        model = self._model
        return model.name if model else None

    def prepare_model(self, model: str) -> None:
        """From now on also take vectors of this model; they are searched once it is `use_model`'s."""
        with self._writing(), self._writer.transaction():
            self._writer.set_meta("next_model", model)

    def unembedded(self, model: str, count: int = 100) -> list[Unembedded]:
        """At most ``count`` files that have no vectors of this model, oldest first."""
        with self._reading():
            rows = [self._reader.file(file_id) for file_id in self._reader.files_without_vectors(model, count)]
            return [
                Unembedded(row.id, row.no, [chunk.indexed_text for chunk in self._reader.chunks_of(row)])
                for row in rows
            ]

    def set_vectors(self, file: Unembedded, embedded: Embedded) -> bool:
        """Give a file its vectors; whether it was still there as it was.

        Raises:
            EmbeddingMismatch: the vectors are of a model that is neither used nor prepared, or of another length.
        """
        matrix = matrix_of(embedded, len(file.texts))
        with self._writing():
            row = self._writer.maybe_file(file.file_id)
            if row is None or row.no != file.version:
                return False
            with self._writer.transaction():
                model = model_for(self._writer, embedded.model, matrix.shape[1])
                self._writer.put_vectors(row, model, matrix.tobytes())
            with self._memory_lock:
                self._note_model()
                if self._model == model:
                    self._rows.put_vectors(row.first_chunk, matrix)
            return True

    def use_model(self, model: str) -> None:
        """Search the vectors of this model from now on, and forget those of others.

        Raises:
            NotFound: there are no vectors of it.
        """
        with self._writing():
            row = self._writer.maybe_model(model)
            if row is None:
                raise NotFound("embedding model", model)
            with self._writer.transaction():
                self._writer.set_meta("current_model", model)
                self._writer.set_meta("next_model", None)
                self._writer.keep_only(row)
            self._load()

    # --- reading -------------------------------------------------------------------------------------

    def by_words(self, query: str, *, count: int, wanted: Filter | None = None) -> list[Found]:
        """The best ``count`` chunks by BM25, of files that a filter wants.

        A score of 1 is what a text would have that holds nothing but the words of the query.
        """
        self._refresh()
        view, mask, files = self._moment(wanted)
        allowed = Allowed(lambda chunk_ids: _only(view.row_of(chunk_ids), mask), files)
        try:
            hits = self._words.search(query, count, allowed)
        except RetrievalError:  # whatever is wrong with it, it can be made again
            self._is_stale = True
            self._refresh()
            hits = self._words.search(query, count, allowed)
        return [Found(int(view.chunk_ids[hit.row]), hit.score) for hit in hits]

    def by_vector(self, query: Embedded, *, count: int, wanted: Filter | None = None) -> list[Found]:
        """The ``count`` chunks nearest to a vector, of files that a filter wants; the score is the cosine, at least 0.

        Raises:
            EmbeddingMismatch: the vector is of another model or length.
        """
        dimensions = matrix_of(query, 1).shape[1]
        with self._memory_lock:
            if self._model is None:
                return []
            check_dimensions(self._model, query.model, dimensions)
        view, mask, _ = self._moment(wanted)
        rows, similarities = view.nearest(floats_of(query), count, mask)
        return [
            Found(int(view.chunk_ids[row]), min(1.0, max(0.0, float(similarity))))
            for row, similarity in zip(rows, similarities, strict=True)
        ]

    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]:
        """The chunks of these ids, as far as they are still there."""
        with self._reading():
            return self._reader.passages(chunk_ids)

    def has(self, file_id: str) -> bool:
        """Whether a file is indexed."""
        with self._reading():
            return self._reader.maybe_file(file_id) is not None

    def text_of(self, file_id: str) -> str:
        """The whole text of a file, as its chunks cover it.

        Raises:
            NotFound: there is no such file.
        """
        with self._reading():
            chunks = self._reader.chunks_of(self._reader.file(file_id))
        pieces: list[str] = []
        end = 0
        for chunk in chunks:
            if chunk.end > end:
                pieces.append(chunk.text[max(0, end - chunk.start) :])
                end = chunk.end
        return "".join(pieces)

    def stats(self) -> Stats:
        """How much there is."""
        with self._memory_lock:
            return Stats(
                files=len(self._slots),
                chunks=self._rows.alive,
                chunks_without_vector=self._rows.without_vector,
                bytes=self._bytes,
                model=self._model.name if self._model else None,
                dimensions=self._model.dimensions if self._model else None,
            )

    def flush(self) -> None:
        """Bring the lexical index up to date now, so that no search has to, and let go of what writing needs."""
        self._refresh()
        with self._writing():
            self._words.rest()

    # --- within --------------------------------------------------------------------------------------

    def _writing(self) -> _Held:
        return _Held(self, self._write_lock)

    def _reading(self) -> _Held:
        return _Held(self, self._read_lock)

    def _moment(self, wanted: Filter | None) -> tuple[View, Mask | None, list[int] | None]:
        """The rows as they are now, which of them a filter wants, and the numbers of the files, if they are few."""
        with self._memory_lock:
            view = self._rows.view()
            if wanted is None:
                return view, None, None
            slots = self._attributes.mask(wanted)
            few = slots.sum() <= MOST_FILES_IN_QUERY
            files = [self._file_of_slot[slot] for slot in slots.nonzero()[0]] if few else None
        return view, slots[view.files], files

    def _refresh(self) -> None:
        """Let the lexical index hold what the chunk store does."""
        if not self._is_stale and not self._words.is_pending:
            return
        with self._writing():
            if self._is_stale:
                self._catch_up()
            try:
                self._words.flush()
            except RetrievalError:
                self._is_stale = True
                raise

    def _catch_up(self) -> None:
        self._words.close()  # what is written and not committed is written again
        generation, alive = self._writer.generation, self._rows.alive
        known = self._words.maybe_generation()
        if known is not None and known < generation:
            try:
                self._words.write(self._writer.texts_since(known), self._writer.removed_since(known), generation)
                self._words.flush()
            except RetrievalError:
                known = None
        if known is None or known > generation or self._words.chunks != alive:
            self._words.start_anew()
            self._words.write(self._writer.texts_since(-1), (), generation)
            self._words.flush()
        if self._words.chunks != alive:
            raise RetrievalError(f"The lexical index has {self._words.chunks} chunks after it was made of {alive}.")
        self._is_stale = False

    def _write_words(self, added: Iterable[tuple[int, int, str]], removed: Sequence[int], generation: int) -> None:
        """What failed here is done by the next search: the chunk store already has it."""
        try:
            self._words.write(added, removed, generation)
        except RetrievalError:
            self._is_stale = True

    def _forget_model_if_last(self) -> None:
        """An index without vectors is of no model, and takes any."""
        if self._model is not None and not self._writer.has_vectors():
            self._writer.set_meta("current_model", None)
            self._writer.keep_only(None)

    def _note_model(self) -> None:
        model = self._writer.model("current")
        if model != self._model:
            self._rows.forget_vectors()
            self._model = model

    def _load(self) -> None:
        """Read vectors and attributes into memory."""
        rows, attributes = Rows(), AttributeTable()
        with self._memory_lock:
            self._rows, self._attributes = rows, attributes
            self._slots: dict[int, int] = {}  # file number -> row of its attributes
            self._file_of_slot: list[int] = []  # of all that ever were, since a search may still look at them
            self._bytes = 0
            self._model = self._writer.model("current")
            files = list(self._writer.files())
            rows.reserve(sum(file.chunks for file in files))
            matrices = self._writer.vectors(self._model) if self._model else iter(())
            ahead = next(matrices, None)
            for file in files:
                matrix = None
                if ahead is not None and ahead[0] == file.no:
                    matrix = self._read_matrix(ahead[1], file)
                    ahead = next(matrices, None)
                self._take_in(file, matrix)

    def _read_matrix(self, blob: bytes, file: FileRow) -> Any:
        import numpy as np

        assert self._model is not None
        if len(blob) != file.chunks * self._model.dimensions:
            raise IndexDamaged(f"The vectors of {file.id} are not whole. Index its file again.")
        return np.frombuffer(blob, dtype=np.int8).reshape(file.chunks, self._model.dimensions)

    def _take_in(self, file: FileRow, matrix: Any) -> None:
        slot = self._attributes.append(file.attributes)
        self._slots[file.no] = slot
        self._file_of_slot.append(file.no)
        self._bytes += file.bytes
        self._rows.append(file.first_chunk, file.chunks, slot, matrix)

    def _take_out(self, file: FileRow) -> None:
        self._attributes.replace(self._slots.pop(file.no), {})
        self._bytes -= file.bytes
        self._rows.kill(file.first_chunk, file.chunks)


class _Held:
    """A lock, held while the index is open."""

    def __init__(self, index: Index, lock: Any) -> None:
        self._index = index
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._index._is_open:
            self._lock.release()
            raise RetrievalError("The index is closed.")

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def _only(rows: Numbers, mask: Mask | None) -> Numbers:
    """The rows, with -1 in place of those that are not wanted."""
    import numpy as np

    return rows if mask is None else np.where((rows >= 0) & mask[rows], rows, -1)
