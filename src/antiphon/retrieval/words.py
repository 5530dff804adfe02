"""The words of an index: BM25 over tantivy, in a directory that can be lost.

What is written becomes part of the index when it is next searched, or at `flush`: a commit takes as long as twenty
searches, and many files are often added in a row. Each commit writes down the generation of the chunk store that it
has caught up with, so that after a crash only what is missing is written again; if anything else is wrong, all is.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from antiphon.errors import RetrievalError
from antiphon.retrieval.terms import searchable

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[tuple[int], np.dtype[Any]]
    Rows = Callable[[Numbers], Numbers]

# Names what is in the index and how its words are made; anything else in the directory is made again.
FORMAT = "words-1"

_WRITER_BYTES = 32_000_000
_LONGEST_WORD = 80
_K1 = 1.2  # tantivy's BM25
_MOST_TERMS = 256  # of a query

# A filter that leaves fewer files than this is part of the query; others are applied to what was found, of which ever
# more is taken. Measured for 100,000 chunks: 1,000 files in the query take 2 ms, as 10,000 results do.
MOST_FILES_IN_QUERY = 1_000
_TAKEN = (1_000, 10_000, 100_000)


class WordHit(msgspec.Struct, frozen=True):
    """A row of the index, and how much of the best score that any text could have for the query it has."""

    row: int
    score: float


class Allowed(msgspec.Struct, frozen=True):
    """Which chunks may be found.

    ``rows_of`` gives a row for each chunk id, or -1. ``files`` are the numbers of those that a filter wants, if there
    are at most `MOST_FILES_IN_QUERY`; None where nothing is filtered, or more are wanted.
    """

    rows_of: Rows
    files: list[int] | None = None


class Words:
    """One tantivy index, and its only writer; its caller sees to it that one thread at a time writes.

    Everything raises `RetrievalError` where tantivy fails; `start_anew` helps.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: Any = None
        self._pending: int | None = None
        self.caught_up = -1  # the generation that is committed, as far as it is known
        try:
            self._open()
        except RetrievalError:
            self.start_anew()

    @property
    def chunks(self) -> int:
        """How many chunks are in it, as far as it is committed."""
        return max(0, self._searcher.num_docs - 1)  # one document is the note about itself

    @property
    def is_pending(self) -> bool:
        """Whether something was written that is not found yet."""
        return self._pending is not None

    def maybe_generation(self) -> int | None:
        """The generation it has caught up with; None where it is new, unreadable, or of another format."""
        query = self._tantivy.Query.term_query(self._schema, "format", FORMAT)
        with contextlib.suppress(RetrievalError), _explained():
            hits = self._searcher.search(query, 2, count=False).hits
            if len(hits) == 1:
                self.caught_up = int(cast(int, self._searcher.fast_field_values("generation", [hits[0][1]])[0]))
                return self.caught_up
        return None

    def write(self, added: Iterable[tuple[int, int, str]], removed: Iterable[int], generation: int) -> None:
        """Take chunks (file number, chunk id, text) in, and all chunks of files out; found from the next `flush` on."""
        with _explained():
            writer = self._open_writer()
            for file in removed:
                writer.delete_documents_by_term("file", file)
            for file, chunk_id, text in added:
                document = self._tantivy.Document()
                document.add_unsigned("file", file)
                document.add_unsigned("chunk", chunk_id)
                document.add_text("words", searchable(text))
                writer.add_document(document)
        self._pending = generation

    def flush(self) -> None:
        """Let all that was written be found, and survive."""
        if self._pending is None:
            return
        with _explained():
            writer = self._open_writer()
            writer.delete_documents_by_term("format", FORMAT)
            note = self._tantivy.Document()
            note.add_unsigned("generation", self._pending)
            note.add_text("format", FORMAT)
            writer.add_document(note)
            writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
        self.caught_up, self._pending = self._pending, None

    def rest(self) -> None:
        """Give back the memory and the threads that writing takes; the next `write` takes them again."""
        if self._pending is None:
            self.close()

    def start_anew(self) -> None:
        """Forget everything, whatever state it is in."""
        self.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        self.caught_up = -1
        self._open()

    def close(self) -> None:
        """Let go of the directory; what was not flushed is lost. A later `write` opens it again."""
        self._pending = None
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with contextlib.suppress(RetrievalError), _explained():
                writer.rollback()
                writer.wait_merging_threads()

    def search(self, query: str, count: int, allowed: Allowed) -> list[WordHit]:
        """The best ``count`` chunks among those that are allowed, best first."""
        with _explained():
            return self._search(self._searcher, query, count, allowed)

    def _search(self, searcher: Any, query: str, count: int, allowed: Allowed) -> list[WordHit]:
        terms = self._terms(query)
        best = sum(_most(searcher.doc_freq("words", term), searcher.num_docs) for term in terms)
        if not terms or not count or not best:
            return []
        q = self._tantivy.Query
        asked = q.boolean_query(
            [
                (self._tantivy.Occur.Should, q.term_query(self._schema, "words", term, index_option="freq"))
                for term in terms
            ]
        )
        if allowed.files is not None:
            files = q.const_score_query(q.term_set_query(self._schema, "file", allowed.files), 0.0)
            asked = q.boolean_query([(self._tantivy.Occur.Must, asked), (self._tantivy.Occur.Must, files)])
        hits: list[WordHit] = []
        for taken in (count + 16, *_TAKEN, searcher.num_docs):
            if taken < count:
                continue
            found = searcher.search(asked, taken, count=False).hits
            hits = self._judged(searcher, found, count, allowed, best)
            if len(hits) == count or len(found) < taken:
                break
        return hits

    def _judged(self, searcher: Any, found: list[Any], count: int, allowed: Allowed, best: float) -> list[WordHit]:
        import numpy as np

        if not found:
            return []
        ids = searcher.fast_field_values("chunk", [address for _, address in found])
        rows = allowed.rows_of(np.array([-1 if each is None else each for each in ids], dtype=np.int64))
        kept = np.flatnonzero(rows >= 0)[:count]
        return [WordHit(int(rows[n]), min(1.0, max(0.0, (found[n][0]) / best))) for n in kept]

    def _terms(self, query: str) -> list[str]:
        text = searchable(query)
        terms = dict.fromkeys(self._telling.analyze(text)) or dict.fromkeys(self._analyzer.analyze(text))
        return list(terms)[:_MOST_TERMS]

    def _open(self) -> None:
        import tantivy

        self._tantivy: Any = tantivy
        self._schema = _schema(tantivy)
        self._analyzer = _analyzer(tantivy, without_stop_words=False)
        self._telling = _analyzer(tantivy, without_stop_words=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        with _explained():
            self._index = tantivy.Index(self._schema, path=str(self._directory))
            self._index.register_tokenizer("words", self._analyzer)
            self._index.reload()
            self._searcher = self._index.searcher()

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(_WRITER_BYTES, 1)
        return self._writer


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise whatever tantivy raises as `RetrievalError`; its panics are no `Exception`."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise RetrievalError(f"The lexical index failed: {error}") from error
        raise


def _most(found_in: int, documents: int) -> float:
    """The most that one word can add to a score: its weight, for a text that holds nothing else."""
    return (_K1 + 1) * math.log(1 + (documents - found_in + 0.5) / (found_in + 0.5))


def _schema(tantivy: Any) -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("words", stored=False, tokenizer_name="words", index_option="freq")
    builder.add_text_field("format", stored=False, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("generation", stored=False, indexed=False, fast=True)
    builder.add_unsigned_field("chunk", stored=False, indexed=True, fast=True)
    builder.add_unsigned_field("file", stored=False, indexed=True, fast=False)
    return builder.build()


def _analyzer(tantivy: Any, *, without_stop_words: bool) -> Any:
    kinds = tantivy.Filter
    filters = [kinds.remove_long(_LONGEST_WORD), kinds.lowercase(), kinds.ascii_fold()]
    if without_stop_words:
        filters.append(kinds.stopword("english"))
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for each in [*filters, kinds.stemmer("english")]:
        builder = builder.filter(each)
    return builder.build()
