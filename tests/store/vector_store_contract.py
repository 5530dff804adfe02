"""What the vector stores of every `Store`, and its queue of files to be indexed, must do: see `store_contract`."""

from typing import Any

import pytest
from file_contract import NOW_S, keep
from store_contract import OpensStore, scenario

from antiphon.errors import InvalidRequest, NotFound
from antiphon.store.base import Store
from antiphon.wire.vector_stores import (
    AttachFile,
    CreateVectorStore,
    FileError,
    StaticChunking,
    StaticSizes,
    StoreExpiration,
    StoreFilesQuery,
    UpdateVectorStore,
    VectorStoresQuery,
)

DAY_S = 86_400
OLDEST_FIRST = StoreFilesQuery(order="asc")


async def make(store: Store, *file_ids: str, owner: str = "ada", name: str = "vs", **fields: Any) -> None:
    await store.vector_stores.create(owner, name, CreateVectorStore(file_ids=[*file_ids], **fields))


async def attach(store: Store, *file_ids: str, owner: str = "ada", batch: str | None = None, **fields: Any) -> None:
    files = [AttachFile(file_id=file_id, **fields) for file_id in file_ids]
    await store.vector_stores.attach(owner, "vs", files, batch_id=batch)


async def ids(store: Store, *, batch: str | None = None, **query: Any) -> list[str]:
    page = await store.vector_stores.files("ada", "vs", StoreFilesQuery(order="asc", **query), batch_id=batch)
    return [file.id for file in page.files]


class VectorStoreContract(OpensStore):
    """The contract suite of `VectorStores` and `IngestionQueue`."""

    # --- stores -------------------------------------------------------------------------------

    @scenario
    async def test_a_store_comes_back_as_it_was_made(self, store: Store) -> None:
        expiration = StoreExpiration(anchor="last_active_at", days=2)
        await make(store, name="vs", metadata={"a": "b"}, description="about tea", expires_after=expiration)
        found = await store.vector_stores.get("ada", "vs")
        assert (found.name, found.metadata, found.description) == ("", {"a": "b"}, "about tea")
        assert (found.created_at, found.last_active_at, found.expires_at) == (NOW_S, NOW_S, NOW_S + 2 * DAY_S)
        assert (found.status, found.file_counts.total, found.usage_bytes) == ("completed", 0, 0)
        assert (await store.vector_stores.page("ada", VectorStoresQuery())).vector_stores == [found]

    @scenario
    async def test_only_what_is_given_is_changed(self, store: Store) -> None:
        await make(store, metadata={"a": "b"})
        assert (await store.vector_stores.update("ada", "vs", UpdateVectorStore(name="tea"))).metadata == {"a": "b"}
        changed = await store.vector_stores.update("ada", "vs", UpdateVectorStore(metadata={}))
        assert (changed.name, changed.metadata) == ("tea", {})
        expiration = StoreExpiration(anchor="last_active_at", days=1)
        changed = await store.vector_stores.update("ada", "vs", UpdateVectorStore(expires_after=expiration))
        assert changed.expires_at == NOW_S + DAY_S
        assert (await store.vector_stores.update("ada", "vs", UpdateVectorStore(expires_after=None))).expires_at is None

    @scenario
    async def test_stores_are_listed_both_ways(self, store: Store) -> None:
        for name in "abcd":
            await make(store, name=name)

        async def page(**query: Any) -> tuple[list[str], bool]:
            found = await store.vector_stores.page("ada", VectorStoresQuery(**query))
            return [each.id for each in found.vector_stores], found.has_more

        assert await page(limit=3) == (["d", "c", "b"], True)
        assert await page(limit=3, after="b") == (["a"], False)
        assert await page(limit=2, before="a") == (["c", "b"], True)
        assert await page(order="asc", after="a", before="d") == (["b", "c"], False)
        with pytest.raises(NotFound, match="Vector store"):
            await page(after="z")

    @scenario
    async def test_a_deleted_store_is_gone_and_its_files_stay(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a")
        await store.vector_stores.delete("ada", "vs")
        with pytest.raises(NotFound):
            await store.vector_stores.get("ada", "vs")
        assert (await store.files.get("ada", "a")).file.id == "a"
        assert await store.ingestion.claim(9) == []

    @scenario
    async def test_a_store_is_nobody_elses(self, store: Store) -> None:
        await keep(store, "a")
        await keep(store, "b", owner="bob")
        await make(store, "a")
        await attach(store, "a", batch="batch")
        rows = store.vector_stores
        for call in (
            lambda: rows.get("bob", "vs"),
            lambda: rows.update("bob", "vs", UpdateVectorStore(name="mine")),
            lambda: rows.delete("bob", "vs"),
            lambda: rows.use("bob", "vs"),
            lambda: rows.attach("bob", "vs", [AttachFile(file_id="b")]),
            lambda: rows.attach("ada", "vs", [AttachFile(file_id="b")]),
            lambda: rows.file("bob", "vs", "a"),
            lambda: rows.files("bob", "vs", OLDEST_FIRST),
            lambda: rows.set_attributes("bob", "vs", "a", {}),
            lambda: rows.detach("bob", "vs", "a"),
            lambda: rows.batch("bob", "vs", "batch"),
            lambda: rows.cancel_batch("bob", "vs", "batch"),
            lambda: rows.create("bob", "own", CreateVectorStore(file_ids=["a"])),
        ):
            with pytest.raises(NotFound):
                await call()
        assert await rows.searchable("bob", "vs", ["a"]) == {}
        assert (await rows.page("bob", VectorStoresQuery())).vector_stores == []

    # --- files --------------------------------------------------------------------------------

    @scenario
    async def test_files_wait_until_they_are_indexed(self, store: Store) -> None:
        await keep(store, "a", "b", "c")
        await make(store, "a")
        strategy = StaticChunking(static=StaticSizes(max_chunk_size_tokens=200, chunk_overlap_tokens=10))
        await attach(store, "b", "c", attributes={"year": 1700, "good": True}, chunking_strategy=strategy)
        found = await store.vector_stores.file("ada", "vs", "b")
        assert (found.status, found.attributes, found.last_error) == ("in_progress", {"year": 1700, "good": True}, None)
        assert found.chunking_strategy["static"]["max_chunk_size_tokens"] == 200
        assert (await store.vector_stores.get("ada", "vs")).status == "in_progress"
        first, second, third = await store.ingestion.claim(9)
        assert (first.file_id, second.file_id, second.chunking) == ("a", "b", strategy)
        assert await store.ingestion.complete(first, usage_bytes=7)
        await store.ingestion.fail(second, FileError(code="invalid_file", message="It is broken."))
        counts = (await store.vector_stores.get("ada", "vs")).file_counts
        assert (counts.in_progress, counts.completed, counts.failed, counts.total) == (1, 1, 1, 3)
        assert (await store.vector_stores.get("ada", "vs")).usage_bytes == 7
        assert await ids(store, filter="failed") == ["b"]
        assert await ids(store) == ["a", "b", "c"]
        error = (await store.vector_stores.file("ada", "vs", "b")).last_error
        assert error == FileError(code="invalid_file", message="It is broken.")
        assert (await store.ingestion.complete(third, usage_bytes=1), await store.ingestion.claim(9)) == (True, [])

    @scenario
    async def test_a_file_that_is_put_in_again_is_indexed_again(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a")
        [old] = await store.ingestion.claim(9)
        await attach(store, "a", attributes={"new": True})
        assert not await store.ingestion.complete(old, usage_bytes=1)
        [new] = await store.ingestion.claim(9)
        assert (new.number > old.number, new.attributes) == (True, {"new": True})
        assert await store.ingestion.complete(new, usage_bytes=1)
        assert await ids(store) == ["a"]

    @scenario
    async def test_a_file_that_is_taken_out_is_not_wanted(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a")
        [job] = await store.ingestion.claim(9)
        assert await store.ingestion.wanted(job.number)
        await store.vector_stores.detach("ada", "vs", "a")
        assert not await store.ingestion.wanted(job.number)
        assert not await store.ingestion.complete(job, usage_bytes=1)
        [change] = await store.ingestion.changes()
        assert (await store.ingestion.target(change)).action == "remove"
        await store.ingestion.settle(change)
        assert await store.ingestion.changes() == []

    @scenario
    async def test_a_deleted_file_is_taken_out_of_all_stores(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a", name="vs")
        await make(store, "a", name="other")
        assert (await store.files.delete("ada", "a")).vector_stores == ["vs", "other"]
        assert [change.vector_store for change in await store.ingestion.changes()] == ["vs", "other"]
        assert await ids(store) == []

    @scenario
    async def test_indexes_follow_attributes_of_what_is_indexed(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a")
        await store.vector_stores.set_attributes("ada", "vs", "a", {"year": 1})
        [change] = await store.ingestion.changes()
        assert (await store.ingestion.target(change)).action == "wait"
        [job] = await store.ingestion.claim(1)
        await store.ingestion.complete(job, usage_bytes=1)
        target = await store.ingestion.target(change)
        assert (target.action, target.attributes) == ("set_attributes", {"year": 1})
        assert (await store.vector_stores.searchable("ada", "vs", ["a", "b"]))["a"] == ("a.txt", {"year": 1})

    # --- batches ------------------------------------------------------------------------------

    @scenario
    async def test_a_batch_counts_its_own_files(self, store: Store) -> None:
        await keep(store, "a", "b", "c")
        await make(store, "a")
        await attach(store, "b", "c", batch="batch")
        batch = await store.vector_stores.batch("ada", "vs", "batch")
        assert (batch.status, batch.file_counts.total, batch.file_counts.in_progress) == ("in_progress", 2, 2)
        assert await ids(store, batch="batch") == ["b", "c"]
        for job in await store.ingestion.claim(9):
            await store.ingestion.complete(job, usage_bytes=1)
        assert (await store.vector_stores.batch("ada", "vs", "batch")).status == "completed"

    @scenario
    async def test_a_cancelled_batch_keeps_what_is_indexed(self, store: Store) -> None:
        await keep(store, "a", "b", "c")
        await make(store)
        await attach(store, "a", "b", "c", batch="batch")
        done, running = await store.ingestion.claim(2)
        await store.ingestion.complete(done, usage_bytes=1)
        cancelled = await store.vector_stores.cancel_batch("ada", "vs", "batch")
        counts = cancelled.file_counts
        assert (cancelled.status, counts.completed, counts.cancelled) == ("cancelled", 1, 2)
        assert await store.ingestion.claim(9) == []
        assert not await store.ingestion.complete(running, usage_bytes=1)
        targets = [(await store.ingestion.target(change)).action for change in await store.ingestion.changes()]
        assert targets == ["remove", "remove"]

    @scenario
    async def test_a_batch_of_which_nothing_can_be_indexed_has_failed(self, store: Store) -> None:
        await keep(store, "a")
        await make(store)
        await attach(store, "a", batch="batch")
        [job] = await store.ingestion.claim(9)
        await store.ingestion.fail(job, FileError(code="unsupported_file", message="No."))
        assert (await store.vector_stores.batch("ada", "vs", "batch")).status == "failed"

    # --- the queue ----------------------------------------------------------------------------

    @scenario
    async def test_who_has_least_at_work_is_next(self, store: Store) -> None:
        await keep(store, *"abcd")
        await keep(store, *"xy", owner="bob")
        await make(store, *"abcd")
        await make(store, *"xy", owner="bob", name="bobs")
        jobs = await store.ingestion.claim(4)
        assert [job.file_id for job in jobs] == ["a", "x", "b", "y"]
        assert [job.file_id for job in await store.ingestion.claim(9)] == ["c", "d"]

    @scenario
    async def test_what_a_dead_process_had_claimed_waits_again(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a")
        assert [job.attempts for job in await store.ingestion.claim(9)] == [1]
        await store.ingestion.release()
        [job] = await store.ingestion.claim(9)
        assert job.attempts == 2
        await store.ingestion.put_back(job)
        assert [job.attempts for job in await store.ingestion.claim(9)] == [2]

    @scenario
    async def test_a_store_whose_time_has_come_is_emptied_once(self, store: Store) -> None:
        await keep(store, "a")
        await make(store, "a", expires_after=StoreExpiration(anchor="last_active_at", days=1))
        assert await store.ingestion.expire() == []
        store._clock.advance(DAY_S)  # type: ignore[attr-defined]
        assert (await store.vector_stores.get("ada", "vs")).status == "expired"
        for call in (
            lambda: store.vector_stores.use("ada", "vs"),
            lambda: store.vector_stores.attach("ada", "vs", [AttachFile(file_id="a")]),
            lambda: store.vector_stores.update("ada", "vs", UpdateVectorStore(name="again")),
        ):
            with pytest.raises(InvalidRequest, match="has expired"):
                await call()
        assert await store.ingestion.expire() == [("ada", "vs")]
        assert await store.ingestion.expire() == []
        assert await ids(store) == []
        assert await store.ingestion.all() == [("ada", "vs")]

    @scenario
    async def test_use_keeps_a_store_alive(self, store: Store) -> None:
        await make(store, expires_after=StoreExpiration(anchor="last_active_at", days=1))
        for _ in range(3):
            store._clock.advance(DAY_S - 1)  # type: ignore[attr-defined]
            await store.vector_stores.use("ada", "vs")
        assert (await store.vector_stores.get("ada", "vs")).status == "completed"
