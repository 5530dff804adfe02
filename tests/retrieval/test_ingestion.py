"""Files become indexed in the background, once each, and every failure stands at its file."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.clock import FakeClock
from antiphon.errors import (
    AntiphonError,
    EmbeddingError,
    ExtractionError,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestRejected,
    StoreError,
)
from antiphon.retrieval import ingestion
from antiphon.retrieval.chunking import Chunk
from antiphon.retrieval.housekeeping import Housekeeping
from antiphon.retrieval.indexes import Indexes
from antiphon.retrieval.ingestion import Ingestion, IngestionLimits
from antiphon.retrieval.reading import Reading
from antiphon.retrieval.stores import SearchableStores
from antiphon.store.blobs import LocalBlobs
from antiphon.store.files import StoredFile
from antiphon.store.sqlite import SqliteStore
from antiphon.wire.files import File
from antiphon.wire.vector_stores import AttachFile, CreateVectorStore, StoreExpiration, VectorStoreFile

DAY_S = 86_400


class LineReader:
    """A reader that makes a chunk of each line, and remembers what it read; a gate holds it up while it is closed."""

    def __init__(self) -> None:
        self.read_files: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def read(self, reading: Reading, *, timeout_s: float) -> list[Chunk]:
        self.read_files.append(reading.filename)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.set()
        try:
            await self.gate.wait()
            text = Path(reading.path).read_text()  # noqa: ASYNC240
        finally:
            self.at_once -= 1
        if text.startswith("bad"):
            raise ExtractionError("unsupported_file", f"{reading.filename} is bad.")
        if text.startswith("bug"):
            raise RuntimeError("nobody thought of that")
        return [Chunk(text=line, start=0, end=len(line)) for line in text.splitlines()]

    async def close(self) -> None:
        pass


class LengthEmbedder:
    """Vectors that say how long a text is; ``failures`` are raised first, one for each call."""

    model = "lengths"

    def __init__(self, *failures: AntiphonError) -> None:
        self.failures = [*failures]
        self.embedded: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> Any:
        self.begun.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.embedded += texts
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


class House:
    """Everything that indexes, over a directory; closed and opened again, it is a restart."""

    def __init__(self, directory: Path, embedder: LengthEmbedder | None = None, **limits: Any) -> None:
        self.clock = FakeClock()
        self.store = SqliteStore.open(directory, clock=self.clock)
        self.blobs = LocalBlobs(directory / "files")
        self.reader = LineReader()
        self.indexes = Indexes(directory / "indexes")
        self.stores = SearchableStores(self.store, self.indexes, embedder=embedder)
        self.ingestion = Ingestion(
            *(self.store, self.blobs, self.indexes, self.reader),
            embedder=embedder,
            limits=IngestionLimits(**limits),
        )
        self.housekeeping = Housekeeping(
            *(self.store, self.blobs, self.stores, self.indexes, self.clock),
            embedder=embedder,
            mark=directory / "embedded-by",
        )

    async def keep(self, **files: str) -> None:
        for file_id, text in files.items():
            async with self.blobs.create(f"blob_{file_id}") as blob:
                await blob.write(text.encode())
            file = File(id=file_id, bytes=len(text), created_at=0, filename=f"{file_id}.txt", purpose="assistants")
            stored = StoredFile(file=file, blob=f"blob_{file_id}", media_type="text/plain", sha256=file_id)
            await self.store.files.add("ada", stored, max_total_bytes=2**40)

    async def make(self, **files: str) -> None:
        await self.keep(**files)
        await self.store.vector_stores.create("ada", "vs", CreateVectorStore(file_ids=[*files]))

    async def file(self, file_id: str) -> VectorStoreFile:
        return await self.store.vector_stores.file("ada", "vs", file_id)

    async def indexed(self) -> set[str]:
        """The files that the index itself has, of those that there ever are."""
        async with self.indexes.lease("vs") as index:
            return {file_id for file_id in "abcdefgh" if index.has(file_id)}

    async def close(self) -> None:
        await self.ingestion.close()
        await self.indexes.close()
        await self.store.close()


def in_a_house(
    directory: Path, test: Callable[[House], Awaitable[None]], *, embedder: LengthEmbedder | None = None, **limits: Any
) -> None:
    async def main() -> None:
        house = House(directory, embedder, **limits)
        try:
            async with asyncio.timeout(20):
                await test(house)
        finally:
            await house.close()

    asyncio.run(main())


def test_files_are_indexed_and_found(tmp_path: Path) -> None:
    embedder = LengthEmbedder()

    async def test(house: House) -> None:
        house.ingestion.start()
        await house.make(a="green tea\nblack tea", b="coffee")
        house.ingestion.wake()
        await house.ingestion.idle()
        assert (await house.file("a")).status == "completed"
        assert (await house.file("a")).usage_bytes == len("green teablack tea") + 2 * 2 * 4
        assert await house.stores.text_of("ada", "vs", "b") == "coffee"
        assert sorted(embedder.embedded) == ["black tea", "coffee", "green tea"]
        assert await house.indexed() == {"a", "b"}

    in_a_house(tmp_path, test, embedder=embedder)


def test_each_failure_stands_at_its_file(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.make(a="good", b="bad", c="bug", d="good")
        await house.blobs.delete("blob_d")
        house.ingestion.start()
        await house.ingestion.idle()
        assert [(await house.file(each)).status for each in "abcd"] == ["completed", "failed", "failed", "failed"]
        errors = [(await house.file(each)).last_error for each in "bcd"]
        assert [(error.code, error.message) for error in errors if error] == [
            ("unsupported_file", "b.txt is bad."),
            ("server_error", "Internal error while indexing the file. The log of the server has more."),
            ("server_error", "The file cannot be read: The bytes of a file (blob_d) are missing."),
        ]
        with pytest.raises(NotFound, match="It is failed"):
            await house.stores.text_of("ada", "vs", "b")

    in_a_house(tmp_path, test)


@pytest.mark.parametrize(
    "failure", [RateLimited("Slow down.", status=429), RequestRejected("No.", status=404), EmbeddingError("No.")]
)
def test_what_cannot_be_embedded_has_failed_and_is_not_searched_by_words_alone(
    tmp_path: Path, failure: AntiphonError
) -> None:
    async def test(house: House) -> None:
        await house.make(a="tea")
        house.ingestion.start()
        await house.ingestion.idle()
        error = (await house.file("a")).last_error
        assert error is not None
        assert (error.code, error.message) == ("server_error", f"Embedding the file failed: {failure.message}")
        assert await house.indexed() == set()

    in_a_house(tmp_path, test, embedder=LengthEmbedder(failure))


def test_another_model_embeds_everything_anew(tmp_path: Path) -> None:
    before, after = LengthEmbedder(), LengthEmbedder()
    after.model = "other lengths"

    async def made(house: House) -> None:
        await house.make(a="tea", b="coffee")
        house.ingestion.start()
        await house.ingestion.idle()
        await house.housekeeping.reembed()

    async def changed(house: House) -> None:
        assert (await house.stores.search("ada", ["vs"], "tea")).mode == "lexical"  # until that is done
        await house.keep(c="milk")
        await house.store.vector_stores.attach("ada", "vs", [AttachFile(file_id="c")])
        house.ingestion.start()
        await house.ingestion.idle()
        await house.housekeeping.reembed()
        assert sorted(after.embedded) == ["coffee", "milk", "tea"]
        assert (await house.stores.search("ada", ["vs"], "tea")).mode == "hybrid"
        await house.housekeeping.reembed()
        assert len(after.embedded) == 4  # and the query

    in_a_house(tmp_path, made, embedder=before)
    in_a_house(tmp_path, changed, embedder=after)


def test_no_more_files_are_read_at_once_than_may_be(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.make(**dict.fromkeys("abcdefgh", "tea"))
        house.reader.gate.clear()
        house.ingestion.start()
        for _ in range(50):
            await asyncio.sleep(0.001)
        house.reader.gate.set()
        await house.ingestion.idle()
        assert house.reader.most_at_once == 3
        assert len(house.reader.read_files) == 8

    in_a_house(tmp_path, test, max_concurrent_files=3)


def test_what_was_interrupted_is_done_after_a_restart_and_nothing_twice(tmp_path: Path) -> None:
    async def interrupted(house: House) -> None:
        await house.make(a="tea", b="coffee")
        house.ingestion.start()
        await house.ingestion.idle()
        await house.keep(c="milk")
        await house.store.vector_stores.attach("ada", "vs", [AttachFile(file_id="c")])
        house.reader.gate.clear()
        house.reader.begun.clear()
        house.ingestion.wake()
        await house.reader.begun.wait()

    async def restarted(house: House) -> None:
        assert (await house.file("c")).status == "in_progress"
        await house.housekeeping.recover()
        house.ingestion.start()
        await house.ingestion.idle()
        assert house.reader.read_files == ["c.txt"]
        assert await house.indexed() == {"a", "b", "c"}

    in_a_house(tmp_path, interrupted)
    in_a_house(tmp_path, restarted)


def test_a_file_over_which_the_process_keeps_dying_is_given_up(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.make(a="tea")
        for _ in range(3):
            await house.store.ingestion.claim(1)
            await house.store.ingestion.release()
        house.ingestion.start()
        await house.ingestion.idle()
        error = (await house.file("a")).last_error
        assert error is not None
        assert "stopped 3 times" in error.message

    in_a_house(tmp_path, test)


@pytest.mark.parametrize("where", ["read", "embedded"])
@pytest.mark.parametrize("what", ["file", "place", "batch", "store"])
def test_what_is_deleted_while_it_is_indexed_is_in_no_index(tmp_path: Path, what: str, where: str) -> None:
    embedder = LengthEmbedder()

    async def test(house: House) -> None:
        rows, place = house.store.vector_stores, house.reader if where == "read" else embedder
        await house.make(b="coffee")
        await house.keep(a="tea")
        house.ingestion.start()
        await house.ingestion.idle()
        await rows.attach("ada", "vs", [AttachFile(file_id="a")], batch_id="batch")
        place.gate.clear()
        place.begun.clear()
        house.ingestion.wake()
        await place.begun.wait()
        deletions: dict[str, Callable[[], Awaitable[object]]] = {
            "file": lambda: house.store.files.delete("ada", "a"),
            "place": lambda: rows.detach("ada", "vs", "a"),
            "batch": lambda: rows.cancel_batch("ada", "vs", "batch"),
            "store": lambda: rows.delete("ada", "vs"),
        }
        await deletions[what]()
        await (house.stores.drop("vs") if what == "store" else house.stores.follow())
        place.gate.set()
        await house.ingestion.idle()
        assert await house.indexed() == (set() if what == "store" else {"b"})
        assert await house.store.ingestion.changes() == []

    in_a_house(tmp_path, test, embedder=embedder)


def test_an_index_follows_deletions_and_attributes(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.make(a="tea", b="coffee")
        house.ingestion.start()
        await house.ingestion.idle()
        await house.store.vector_stores.detach("ada", "vs", "a")
        await house.store.vector_stores.set_attributes("ada", "vs", "b", {"hot": True})
        await house.stores.follow()
        assert await house.indexed() == {"b"}
        async with house.indexes.lease("vs") as index:
            [found] = index.by_words("coffee", count=5)
            assert index.passages([found.chunk_id])[found.chunk_id].attributes == {"hot": True}

    in_a_house(tmp_path, test)


def test_a_deletion_that_a_crash_cut_off_is_finished_by_the_next_start(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.make(a="tea", b="coffee")
        house.ingestion.start()
        await house.ingestion.idle()
        await house.store.vector_stores.create("ada", "gone", CreateVectorStore(file_ids=["b"]))
        house.ingestion.wake()
        await house.ingestion.idle()
        await house.store.files.delete("ada", "a")  # and no index follows
        await house.store.vector_stores.delete("ada", "gone")

    async def after(house: House) -> None:
        assert await house.indexed() == {"a", "b"}
        await house.housekeeping.recover()
        assert await house.indexed() == {"b"}
        assert [path.name for path in (tmp_path / "indexes").iterdir()] == ["vs"]

    in_a_house(tmp_path, before)
    in_a_house(tmp_path, after)


def test_an_index_that_is_lost_is_made_anew(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.make(a="tea", b="bad", c="coffee")
        house.ingestion.start()
        await house.ingestion.idle()

    async def after(house: House) -> None:
        await house.housekeeping.recover()
        house.ingestion.start()
        await house.ingestion.idle()
        assert sorted(house.reader.read_files) == ["a.txt", "c.txt"]
        assert await house.indexed() == {"a", "c"}

    in_a_house(tmp_path, before)
    shutil.rmtree(tmp_path / "indexes")
    in_a_house(tmp_path, after)


def test_a_database_that_fails_for_a_while_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "_AFTER_FAILURE_S", 0.0)

    async def test(house: House) -> None:
        await house.make(a="tea")
        claim = house.store.ingestion.claim
        failures = [StoreError("The disk is full.")] * 2

        async def failing(limit: int) -> Any:
            if failures:
                raise failures.pop()
            return await claim(limit)

        monkeypatch.setattr(house.store.ingestion, "claim", failing)
        house.ingestion.start()
        await house.ingestion.idle()
        assert await house.indexed() == {"a"}

    in_a_house(tmp_path, test)


def test_what_has_expired_is_let_go_of(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.keep(a="tea")
        expires = StoreExpiration(anchor="last_active_at", days=1)
        await house.store.vector_stores.create("ada", "vs", CreateVectorStore(file_ids=["a"], expires_after=expires))
        house.ingestion.start()
        await house.ingestion.idle()
        house.clock.advance(DAY_S)
        with pytest.raises(InvalidRequest, match="has expired"):
            await house.stores.search("ada", ["vs"], "tea")
        await house.housekeeping.expire()
        assert not await house.indexes.has("vs")
        assert (await house.store.vector_stores.get("ada", "vs")).file_counts.total == 0
        assert (await house.store.files.get("ada", "a")).file.id == "a"

    in_a_house(tmp_path, test)


def test_bytes_that_belong_to_nothing_are_swept_away(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.keep(a="tea")
        async with house.blobs.create("blob_orphan") as blob:
            await blob.write(b"nobody's")
        house.clock.advance(1e12)  # younger ones may belong to a file that is just coming
        await house.housekeeping.sweep()
        assert [name async for name in house.blobs.names(before_s=1e15)] == ["blob_a"]

    in_a_house(tmp_path, test)
