"""The bytes of files: the contract on a disk and in object storage, and what only a disk can show."""

import asyncio
import errno
import stat
from pathlib import Path
from unittest import mock

import pytest
from blob_contract import BlobContract, names, put, whole

from antiphon.errors import ConfigError, StorageFailed
from antiphon.store.blobs import Blobs, LocalBlobs
from antiphon.store.object_blobs import ObjectBlobs


class TestLocalBlobs(BlobContract):
    def open(self, directory: Path) -> Blobs:
        return LocalBlobs(directory / "files")


class TestObjectBlobsInMemory(BlobContract):
    def open(self, directory: Path) -> Blobs:
        return ObjectBlobs.open("memory:///")


class TestObjectBlobsOnDisk(BlobContract):
    def open(self, directory: Path) -> Blobs:
        return ObjectBlobs.open(directory.as_uri())


def test_nobody_else_of_the_machine_reads_a_blob(tmp_path: Path) -> None:
    asyncio.run(put(LocalBlobs(tmp_path / "files"), "blob_ab", b"x"))
    for path in (tmp_path / "files").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    with (
        mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(StorageFailed, match="No space left"),
    ):
        asyncio.run(put(blobs, "blob_ab", b"x"))
    assert [*tmp_path.rglob("*.part")] == []


def test_what_a_crash_left_unfinished_is_swept_away(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = LocalBlobs(tmp_path)
        await put(blobs, "blob_ab", b"x")
        left = tmp_path / "ab" / "blob_00ab.part"
        left.write_bytes(b"half")
        assert await names(blobs) == {"blob_ab"}
        assert not left.exists()
        assert await whole(blobs, "blob_ab") == b"x"

    asyncio.run(main())


def test_a_blob_that_shrank_is_not_taken_for_whole(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = LocalBlobs(tmp_path)
        await put(blobs, "blob_ab", b"0123456789")
        (tmp_path / "ab" / "blob_ab").write_bytes(b"0123")
        with pytest.raises(StorageFailed, match="shorter"):
            await whole(blobs, "blob_ab", start=0, end=10)

    asyncio.run(main())


@pytest.mark.parametrize("url", ["nowhere://bucket", "no url"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        ObjectBlobs.open(url)
