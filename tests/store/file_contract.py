"""What the files and uploads of every `Store` must do: see `store_contract`."""

from typing import Any

import pytest
from store_contract import OpensStore, scenario

from antiphon.errors import InvalidRequest, NotFound, RequestTooLarge
from antiphon.store.base import Store
from antiphon.store.files import StoredFile, StoredPart
from antiphon.wire.files import File, FilesQuery
from antiphon.wire.uploads import CreateUpload, UploadPart

NOW_S = 1_700_000_000
NO_LIMIT = 2**40


def stored(file_id: str, size: int = 3, **fields: Any) -> StoredFile:
    file = File(id=file_id, bytes=size, created_at=NOW_S, filename=f"{file_id}.txt", purpose="user_data", **fields)
    return StoredFile(file=file, blob=f"blob_{file_id}", media_type="text/plain", sha256="00" * 32)


async def keep(store: Store, *file_ids: str, owner: str = "ada", **fields: Any) -> None:
    for file_id in file_ids:
        await store.files.add(owner, stored(file_id, **fields), max_total_bytes=NO_LIMIT)


def part(part_id: str, size: int = 2, upload_id: str = "u") -> StoredPart:
    wire = UploadPart(id=part_id, created_at=NOW_S, upload_id=upload_id)
    return StoredPart(part=wire, blob=f"blob_{part_id}", bytes=size)


async def begin_upload(store: Store, *, owner: str = "ada", size: int = 4, expires_at_s: int = NOW_S + 60) -> None:
    request = CreateUpload(filename="a", purpose="assistants", bytes=size, mime_type="text/plain")
    await store.uploads.create(owner, "u", request, expires_at_s=expires_at_s)


class FileContract(OpensStore):
    """The contract suite of `Files` and `Uploads`."""

    @scenario
    async def test_a_file_comes_back_as_it_was_written(self, store: Store) -> None:
        await keep(store, "a", expires_at=NOW_S + 5)
        assert await store.files.get("ada", "a") == stored("a", expires_at=NOW_S + 5)
        assert await store.files.used_bytes("ada") == 3
        assert await store.files.blobs() == {"blob_a"}

    @scenario
    async def test_a_file_is_nobody_elses(self, store: Store) -> None:
        await keep(store, "a")
        for call in (store.files.get, store.files.delete):
            with pytest.raises(NotFound):
                await call("bob", "a")
        assert (await store.files.page("bob", FilesQuery())).files == []
        with pytest.raises(NotFound):
            await store.files.page("bob", FilesQuery(after="a"))
        assert await store.files.used_bytes("bob") == 0

    @scenario
    async def test_a_file_that_has_expired_is_not_there(self, store: Store) -> None:
        await keep(store, "old", expires_at=NOW_S)
        await keep(store, "new", expires_at=NOW_S + 1)
        with pytest.raises(NotFound):
            await store.files.get("ada", "old")
        assert [file.id for file in (await store.files.page("ada", FilesQuery())).files] == ["new"]
        assert [*await store.files.expired()] == [("ada", "old")]
        assert (await store.files.delete("ada", "old")).blob == "blob_old"
        assert [*await store.files.expired()] == []

    @scenario
    async def test_the_files_of_an_owner_are_not_more_than_they_may(self, store: Store) -> None:
        await store.files.add("ada", stored("a", 6), max_total_bytes=10)
        with pytest.raises(RequestTooLarge, match="would take 11"):
            await store.files.add("ada", stored("b", 5), max_total_bytes=10)
        await store.files.add("ada", stored("b", 4), max_total_bytes=10)
        await store.files.add("bob", stored("b", 10), max_total_bytes=10)
        await store.files.delete("ada", "a")
        await store.files.add("ada", stored("c", 6), max_total_bytes=10)

    @scenario
    async def test_a_page_goes_on_where_the_last_ended(self, store: Store) -> None:
        await keep(store, *"abcde")
        first = await store.files.page("ada", FilesQuery(limit=2, order="asc"))
        assert ([file.id for file in first.files], first.has_more) == (["a", "b"], True)
        second = await store.files.page("ada", FilesQuery(limit=3, order="asc", after="b"))
        assert ([file.id for file in second.files], second.has_more) == (["c", "d", "e"], False)

    # --- uploads ------------------------------------------------------------------------------

    @scenario
    async def test_parts_are_kept_until_the_file_is_made(self, store: Store) -> None:
        await begin_upload(store)
        for each in ("p", "q"):
            await store.uploads.add_part("ada", "u", part(each), max_total_bytes=NO_LIMIT)
        assert [*await store.uploads.parts("ada", "u")] == ["p", "q"]
        assert await store.files.used_bytes("ada") == 4
        assert await store.files.blobs() == {"blob_p", "blob_q"}
        completed = await store.uploads.complete("ada", "u", stored("a", 4))
        assert (completed.status, completed.file) == ("completed", stored("a", 4).file)
        assert await store.files.blobs() == {"blob_a"}
        await store.files.delete("ada", "a")
        assert (await store.uploads.get("ada", "u")).file == stored("a", 4).file

    @scenario
    async def test_an_upload_takes_no_more_than_it_said(self, store: Store) -> None:
        await begin_upload(store)
        await store.uploads.add_part("ada", "u", part("p", 3), max_total_bytes=NO_LIMIT)
        with pytest.raises(InvalidRequest, match="would have 5 bytes"):
            await store.uploads.add_part("ada", "u", part("q", 2), max_total_bytes=NO_LIMIT)
        with pytest.raises(RequestTooLarge):
            await store.uploads.add_part("ada", "u", part("q", 1), max_total_bytes=3)

    @scenario
    async def test_an_upload_that_has_ended_or_expired_is_over(self, store: Store) -> None:
        await begin_upload(store, expires_at_s=NOW_S)
        assert (await store.uploads.get("ada", "u")).status == "expired"
        for call in (store.uploads.request, store.uploads.cancel):
            with pytest.raises(InvalidRequest, match="is expired"):
                await call("ada", "u")

    @scenario
    async def test_parts_of_an_expired_upload_are_found_once(self, store: Store) -> None:
        await begin_upload(store)
        await store.uploads.add_part("ada", "u", part("p"), max_total_bytes=NO_LIMIT)
        assert [*await store.uploads.expired()] == []
        await store.uploads.drop_parts("ada", "u")
        assert await store.uploads.parts("ada", "u") == {}

    @scenario
    async def test_an_upload_is_nobody_elses(self, store: Store) -> None:
        await begin_upload(store)
        for call in (store.uploads.get, store.uploads.request, store.uploads.parts, store.uploads.cancel):
            with pytest.raises(NotFound):
                await call("bob", "u")
        with pytest.raises(NotFound):
            await store.uploads.add_part("bob", "u", part("p"), max_total_bytes=NO_LIMIT)
        with pytest.raises(NotFound):
            await store.uploads.complete("bob", "u", stored("a"))
