import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.errors import EmbeddingError, EmbeddingMismatch, IndexDamaged, NotFound, RetrievalError, StoreLocked
from antiphon.retrieval import index as index_module
from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.index import Embedded, Found, Index
from retrieval.corpora import DIMENSIONS, cut, direction, directions


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index")
    yield opened
    opened.close()


def files_of(index: Index, found: list[Found]) -> list[str]:
    passages = index.passages([each.chunk_id for each in found])
    return [passages[each.chunk_id].file_id for each in found]


def words(index: Index, query: str, **options: Any) -> list[str]:
    return files_of(index, index.by_words(query, count=10, **options))


def near(index: Index, seed: int, count: int = 10, **options: Any) -> list[str]:
    return files_of(index, index.by_vector(direction(seed), count=count, **options))


# --- finding ------------------------------------------------------------------------------------


def test_a_file_is_found_by_its_words_and_by_its_vector_as_soon_as_it_is_added(index: Index) -> None:
    index.add("file-a", cut("Llamas have experts."), direction(1))
    index.add("file-b", cut("Bread is baked."), direction(2))
    assert words(index, "expert") == ["file-a"]
    assert near(index, 2, count=1) == ["file-b"]


def test_a_passage_says_where_it_stands(index: Index) -> None:
    index.add("file-a", cut("One. ", "Two."), directions([1, 2]), {"year": 2020}, filename="a.txt")
    (found,) = index.by_vector(direction(2), count=1)
    passage = index.passages([found.chunk_id])[found.chunk_id]
    assert (passage.file_id, passage.filename, passage.chunk_no) == ("file-a", "a.txt", 1)
    assert (passage.text, passage.start, passage.end, passage.attributes) == ("Two.", 5, 9, {"year": 2020})
    assert found.score == pytest.approx(1, abs=1e-3)


def test_scores_are_between_nothing_and_one(index: Index) -> None:
    for n in range(20):
        index.add(f"file-{n}", cut("bread " * (n + 1) + "and salt"), direction(n))
    found = index.by_words("bread pepper", count=20) + index.by_vector(direction(3), count=20)
    assert len(found) == 40
    assert all(0 <= each.score <= 1 for each in found)


def test_a_replaced_file_is_found_by_what_it_says_now(index: Index) -> None:
    index.add("file-a", cut("Llamas."), direction(1))
    index.add("file-a", cut("Zebras."), direction(2))
    assert words(index, "llamas") == []
    assert words(index, "zebras") == ["file-a"]
    assert len(index.by_vector(direction(1), count=5)) == 1


def test_a_removed_file_is_not_found(index: Index) -> None:
    index.add("file-a", cut("Llamas."), direction(1))
    assert index.remove("file-a")
    assert not index.remove("file-a")
    assert (words(index, "llamas"), near(index, 1)) == ([], [])
    assert not index.has("file-a")


def test_a_file_that_is_removed_between_search_and_look_up_is_not_there(index: Index) -> None:
    index.add("file-a", cut("Llamas."))
    (found,) = index.by_words("llamas", count=1)
    index.remove("file-a")
    assert index.passages([found.chunk_id]) == {}


def test_without_vectors_there_are_words(index: Index) -> None:
    index.add("file-a", cut("Llamas."))
    index.add("file-b", cut("Zebras."), direction(1))
    assert words(index, "llamas") == ["file-a"]
    assert near(index, 1) == ["file-b"]
    assert index.stats().chunks_without_vector == 1


@pytest.mark.parametrize("query", ["", "   ", "?!", "the", 'a AND (b OR "', "field:value", "\x00", "日本", "x" * 5000])
def test_any_text_is_a_query(index: Index, query: str) -> None:
    index.add("file-a", cut("Llamas and zebras."))
    index.by_words(query, count=3)


def test_a_query_of_common_words_alone_is_still_asked(index: Index) -> None:
    index.add("file-a", cut("To be or not to be."))
    assert words(index, "to be") == ["file-a"]


def test_names_of_code_and_unspaced_scripts_are_found_by_their_parts(index: Index) -> None:
    index.add("file-a", cut("def getUserName(): parse HTTPServer"))
    index.add("file-b", cut("東京都の天気は晴れです"))
    assert words(index, "user name") == words(index, "getUserName") == words(index, "server") == ["file-a"]
    assert words(index, "天気") == ["file-b"]


# --- filters ------------------------------------------------------------------------------------


@pytest.fixture
def many(index: Index) -> Index:
    """100 files, alike but for their attributes; every twenty-fifth is rare."""
    for n in range(100):
        attributes = {"rare": n % 25 == 0, "half": n % 2 == 0, "n": n}
        index.add(f"file-{n}", cut(f"bread number {n}", "bread and more bread"), directions([n, 1000 + n]), attributes)
    return index


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "eq", "key": "rare", "value": True},
        {"type": "eq", "key": "half", "value": True},
        {"type": "ne", "key": "rare", "value": True},
        {"type": "gte", "key": "n", "value": 0},
    ],
)
def test_a_filter_leaves_as_many_results_as_were_asked_for(many: Index, wire: dict[str, Any]) -> None:
    wanted = compile_filter(wire)
    exact = sorted(many.by_vector(direction(7), count=200), key=lambda each: -each.score)
    allowed = {each.chunk_id for each in many.by_vector(direction(7), count=200, wanted=wanted)}
    found = many.by_vector(direction(7), count=8, wanted=wanted)
    assert [each.score for each in found] == [each.score for each in exact if each.chunk_id in allowed][:8]
    assert len(many.by_words("bread", count=8, wanted=wanted)) == 8


def test_a_filter_that_wants_nothing_finds_nothing(many: Index) -> None:
    wanted = compile_filter({"type": "eq", "key": "no", "value": 1})
    assert many.by_vector(direction(7), count=8, wanted=wanted) == many.by_words("bread", count=8, wanted=wanted) == []


def test_the_words_go_on_looking_when_the_best_are_not_wanted(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MOST_FILES_IN_QUERY", 0)
    index.add("good", cut(*["bread"] * 1500), None, {"wanted": False})
    index.add("weak", cut(*["bread with salt and pepper"] * 1500), None, {"wanted": True})
    wanted = compile_filter({"type": "eq", "key": "wanted", "value": True})
    assert words(index, "bread") == ["good"] * 10
    assert words(index, "bread", wanted=wanted) == ["weak"] * 10


def test_changed_attributes_count_at_once_and_stay(index: Index, tmp_path: Path) -> None:
    index.add("file-a", cut("Llamas."), direction(1), {"year": 2020})
    index.set_attributes("file-a", {"year": 2021})
    wanted = compile_filter({"type": "eq", "key": "year", "value": 2021})
    assert words(index, "llamas", wanted=wanted) == near(index, 1, wanted=wanted) == ["file-a"]
    index.close()
    again = Index.open(tmp_path / "index")
    assert words(again, "llamas", wanted=wanted) == ["file-a"]
    again.close()


def test_attributes_of_an_unknown_file_cannot_be_set(index: Index) -> None:
    with pytest.raises(NotFound):
        index.set_attributes("file-x", {})


# --- texts --------------------------------------------------------------------------------------


def test_the_whole_text_comes_back_from_overlapping_chunks(index: Index) -> None:
    from antiphon.retrieval.chunking import Chunk

    text = "0123456789abcdefghij"
    spans = [(0, 8), (4, 12), (8, 16), (12, 20)]
    index.add("file-a", [Chunk(text=text[start:end], start=start, end=end) for start, end in spans])
    assert index.text_of("file-a") == text
    with pytest.raises(NotFound):
        index.text_of("file-b")


def test_an_empty_file_is_a_file(index: Index) -> None:
    index.add("file-a", [], directions([]))
    assert index.has("file-a")
    assert index.text_of("file-a") == ""
    assert index.stats().files == 1


# --- models -------------------------------------------------------------------------------------


def test_vectors_of_another_model_or_length_are_refused(index: Index) -> None:
    index.add("file-a", cut("Llamas."), direction(1))
    for other in (direction(1, model="other"), direction(1, dimensions=8)):
        with pytest.raises(EmbeddingMismatch, match="m with 16 dimensions"):
            index.add("file-b", cut("Zebras."), other)
        with pytest.raises(EmbeddingMismatch):
            index.by_vector(other, count=1)
    assert words(index, "zebras") == []


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_is_refused(index: Index, value: float) -> None:
    with pytest.raises(EmbeddingError):
        index.add("file-a", cut("Llamas."), Embedded("m", np.full((1, DIMENSIONS), value, dtype=np.float32)))


def test_there_must_be_a_vector_for_each_chunk(index: Index) -> None:
    with pytest.raises(EmbeddingMismatch):
        index.add("file-a", cut("One.", "Two."), direction(1))


def test_an_index_that_lost_its_last_vectors_takes_another_model(index: Index) -> None:
    index.add("file-a", cut("Llamas."), direction(1))
    index.remove("file-a")
    index.add("file-b", cut("Zebras."), direction(1, model="other", dimensions=8))
    assert (index.stats().model, index.stats().dimensions) == ("other", 8)


def test_an_index_is_embedded_anew_while_the_old_vectors_serve(index: Index, tmp_path: Path) -> None:
    index.add("file-a", cut("Llamas."), direction(1))
    index.add("file-b", cut("Zebras."), direction(2))
    index.prepare_model("new")
    for n, file in enumerate(index.unembedded("new")):
        assert index.set_vectors(file, direction(10 + n, model="new", dimensions=8))
        assert near(index, 1, count=1) == ["file-a"]
    index.add("file-c", cut("Late."), direction(12, model="new", dimensions=8))
    assert index.unembedded("new") == []
    index.use_model("new")
    found = index.by_vector(direction(11, model="new", dimensions=8), count=1)
    assert files_of(index, found) == ["file-b"]
    index.close()
    again = Index.open(tmp_path / "index")
    assert (again.stats().model, again.stats().chunks_without_vector) == ("new", 0)
    again.close()


def test_vectors_can_come_after_the_words(index: Index) -> None:
    index.add("file-a", cut("Llamas."))
    index.add("file-b", cut("Zebras."), direction(2))
    (file,) = index.unembedded("m")
    assert file.texts == ["Llamas."]
    assert index.set_vectors(file, direction(1))
    assert near(index, 1, count=1) == ["file-a"]


def test_vectors_of_a_text_that_changed_meanwhile_are_not_taken(index: Index) -> None:
    index.add("file-a", cut("Llamas."))
    (file,) = index.unembedded("m")
    index.add("file-a", cut("Zebras."))
    assert not index.set_vectors(file, direction(1))


# --- what is left of it -------------------------------------------------------------------------


def test_what_was_added_is_there_when_it_is_opened_again(index: Index, tmp_path: Path) -> None:
    index.add("file-a", cut("Llamas."), direction(1))
    index.add("file-b", cut("Zebras."), direction(2))
    index.remove("file-b")
    before = index.stats()
    index.close()
    again = Index.open(tmp_path / "index")
    assert again.stats() == before
    assert words(again, "llamas zebras") == near(again, 1) == ["file-a"]
    again.close()


def torn(directory: Path) -> None:
    for path in directory.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(directory: Path) -> None:
    for path in directory.iterdir():
        path.write_bytes(b"")


def without_segments(directory: Path) -> None:
    for path in directory.iterdir():
        if path.suffix not in {".json", ".lock"}:
            path.unlink()


@pytest.mark.parametrize("harm", [shutil.rmtree, torn, emptied, without_segments], ids=lambda harm: harm.__name__)
def test_a_lexical_index_that_is_missing_or_torn_is_made_again(index: Index, tmp_path: Path, harm: Any) -> None:
    for n in range(30):
        index.add(f"file-{n}", cut(f"bread number {n}"))
    index.flush()
    index.close()
    harm(tmp_path / "index" / "words")
    again = Index.open(tmp_path / "index")
    assert len(again.by_words("bread", count=50)) == 30
    assert words(again, "17") == ["file-17"]
    again.close()


def test_a_lexical_index_of_another_history_is_made_again(index: Index, tmp_path: Path) -> None:
    index.add("file-a", cut("Llamas."))
    index.flush()
    shutil.copytree(tmp_path / "index" / "words", tmp_path / "old")
    index.add("file-b", cut("Zebras."))
    index.remove("file-a")
    index.flush()
    index.add("file-c", cut("Bread."))
    index.close()
    shutil.rmtree(tmp_path / "index" / "words")
    shutil.copytree(tmp_path / "old", tmp_path / "index" / "words")
    again = Index.open(tmp_path / "index")
    assert sorted(words(again, "llamas zebras bread")) == ["file-b", "file-c"]
    again.close()


def test_chunks_that_cannot_be_read_are_an_error_and_not_an_empty_index(index: Index, tmp_path: Path) -> None:
    index.add("file-a", cut("Llamas."))
    index.close()
    (tmp_path / "index" / "chunks.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(IndexDamaged):
        Index.open(tmp_path / "index")


def test_an_index_of_a_newer_version_is_refused(index: Index, tmp_path: Path) -> None:
    index.close()
    with sqlite3.connect(tmp_path / "index" / "chunks.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(IndexDamaged, match="newer version"):
        Index.open(tmp_path / "index")


def test_an_index_is_open_once(index: Index, tmp_path: Path) -> None:
    with pytest.raises(StoreLocked):
        Index.open(tmp_path / "index")


def test_a_closed_index_says_so(index: Index) -> None:
    index.close()
    index.close()
    with pytest.raises(RetrievalError, match="closed"):
        index.add("file-a", cut("Llamas."))


def test_many_removals_leave_no_trace_in_memory(index: Index) -> None:
    for n in range(3):
        index.add(f"file-{n}", cut(*["bread"] * 900), directions(range(900)))
    index.remove("file-0")
    index.add("file-1", cut("salt"), direction(5000))
    assert index.stats().chunks == 901
    assert len(index.by_vector(direction(0), count=1000)) == 901
    assert near(index, 5000, count=1) == ["file-1"]


def test_what_the_lexical_index_could_not_take_is_there_in_the_next_search(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("file-a", cut("Llamas."))

    def fails(*given: Any) -> None:
        raise RetrievalError("The lexical index failed: the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(index._words, "write", fails)
        index.add("file-b", cut("Zebras."))
    assert sorted(words(index, "llamas zebras")) == ["file-a", "file-b"]
    with monkeypatch.context() as broken:
        broken.setattr(index._words, "flush", fails)
        index.add("file-c", cut("Bread."))
        with pytest.raises(RetrievalError, match="the disk is full"):
            index.by_words("bread", count=1)
    assert words(index, "bread") == ["file-c"]
    assert index.remove("file-a")
    assert words(index, "llamas") == []


def test_notes_of_removals_are_dropped_when_nobody_needs_them(index: Index, tmp_path: Path) -> None:
    for n in range(4):
        index.add("file-a", cut(f"Llamas {n}."))
        index.flush()
    index.close()
    with sqlite3.connect(tmp_path / "index" / "chunks.db") as database:
        (count,) = database.execute("SELECT count(*) FROM removed").fetchone()
    database.close()
    assert count == 1
