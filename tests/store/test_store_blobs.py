"""The bytes of files: the contract on a disk and in object storage, and what only a disk can show."""

import asyncio
import errno
import re
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest import mock

import pytest
from aiohttp import web
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


_BEGUN = (
    "<InitiateMultipartUploadResult><UploadId>u</UploadId><Key>k</Key><Bucket>b</Bucket>"
    "</InitiateMultipartUploadResult>"
)


class Bucket:
    """As much of S3 as is asked for here: objects, uploads in parts, and a list."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        body, path, query = await request.read(), request.path, request.query
        self.asked.append(f"{request.method} {request.path_qs.partition('&')[0]}")
        assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
        match request.method:
            case "POST" if "uploads" in query:
                self.uploads["u"] = {}
                return _xml(_BEGUN)
            case "POST" if "delete" in query:
                keys = re.findall("<Key>(.*?)</Key>", body.decode())
                for key in keys:
                    self.objects.pop(f"/bucket/{key}", None)
                deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
                return _xml(f"<DeleteResult>{deleted}</DeleteResult>")
            case "POST":
                parts = self.uploads.pop(query["uploadId"])
                self.objects[path] = b"".join(parts[number] for number in sorted(parts))
                return _xml("<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
            case "PUT" if "uploadId" in query:
                self.uploads[query["uploadId"]][int(query["partNumber"])] = body
                return web.Response(headers={"etag": '"e"'})
            case "PUT":
                self.objects[path] = body
                return web.Response(headers={"etag": '"e"'})
            case "DELETE" if "uploadId" in query:
                del self.uploads[query["uploadId"]]
                return web.Response(status=204)
            case "GET" if path == "/bucket":
                return _xml(f"<ListBucketResult>{''.join(map(self._listed, self.objects))}</ListBucketResult>")
        if path not in self.objects:
            return web.Response(status=404)
        return self._object(self.objects[path], request.http_range)

    def _listed(self, path: str) -> str:
        key, size = path.removeprefix("/bucket/"), len(self.objects[path])
        modified = "<LastModified>2026-01-01T00:00:00Z</LastModified>"
        return f"<Contents><Key>{key}</Key>{modified}<Size>{size}</Size><ETag>e</ETag></Contents>"

    def _object(self, data: bytes, asked: slice) -> web.Response:
        start, end, _ = asked.indices(len(data))
        headers = {"etag": '"e"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if asked.start is None:
            return web.Response(body=data, headers=headers)
        headers["content-range"] = f"bytes {start}-{end - 1}/{len(data)}"
        return web.Response(status=206, body=data[start:end], headers=headers)


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")


class TestObjectBlobsInABucket(BlobContract):
    """Through the network, as S3 is."""

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        keys = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "eu-west-1", "ALLOW_HTTP": "true"}
        for name, value in keys.items():
            monkeypatch.setenv(f"AWS_{name}", value)

    def run(self, directory: Path, test: Callable[[Blobs], Awaitable[None]]) -> None:
        self.bucket = Bucket()

        async def main() -> None:
            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", "/{path:.*}", self.bucket.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
            try:
                await test(ObjectBlobs.open("s3://bucket/pre/fix"))
            finally:
                await runner.cleanup()

        asyncio.run(main())
        assert self.bucket.uploads == {}  # none is left open, which would be paid for
        assert all(path.startswith("/bucket/pre/fix/") for path in self.bucket.objects)

    def test_a_small_blob_is_one_request(self, tmp_path: Path) -> None:
        self.run(tmp_path, lambda blobs: put(blobs, "blob_ab", b"x" * 100_000))
        assert self.bucket.asked == ["PUT /bucket/pre/fix/blob_ab"]


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
