"""Files that items name by their ids become data for the model, and only for who owns them."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.clock import FakeClock
from antiphon.errors import InvalidRequest
from antiphon.retrieval.inputs import check_files, media_type_of, resolved_files
from antiphon.store.blobs import Blobs, LocalBlobs
from antiphon.store.files import Files, StoredFile
from antiphon.store.sqlite import SqliteStore
from antiphon.wire.files import File

PNG = b"\x89PNG\r\n\x1a\n and what follows"


def stored(file_id: str, size: int, filename: str, media_type: str = "") -> StoredFile:
    file = File(id=file_id, bytes=size, created_at=0, filename=filename, purpose="user_data")
    return StoredFile(file=file, blob=f"blob_{file_id}", media_type=media_type, sha256="")


def with_files(directory: Path, test: Callable[[Files, Blobs], Awaitable[None]]) -> None:
    async def main() -> None:
        store, blobs = SqliteStore.open(None, clock=FakeClock()), LocalBlobs(directory)
        for file_id, filename, data in (("file-1", "a.png", PNG), ("file-2", "plan.txt", b"the plan")):
            async with blobs.create(f"blob_{file_id}") as blob:
                await blob.write(data)
            await store.files.add("ada", stored(file_id, len(data), filename), max_total_bytes=2**40)
        try:
            await test(store.files, blobs)
        finally:
            await store.close()

    asyncio.run(main())


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [*parts]}


IMAGE = {"type": "input_image", "file_id": "file-1", "detail": "high"}
PLAN = {"type": "input_file", "file_id": "file-2"}
TEXT = {"type": "input_text", "text": "Look."}


def test_ids_become_data(tmp_path: Path) -> None:
    async def test(files: Files, blobs: Blobs) -> None:
        output = {"type": "function_call_output", "call_id": "c", "output": [PLAN]}
        items = [message(TEXT, IMAGE, PLAN), output, {"type": "message", "content": "text"}]
        before = str(items)
        first, second, third = await resolved_files(files, blobs, "ada", items)
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}
        plan = f"data:text/plain;base64,{base64.b64encode(b'the plan').decode()}"
        file = {"type": "input_file", "filename": "plan.txt", "file_data": plan}
        assert first["content"] == [TEXT, image | {"detail": "high"}, file]
        assert second["output"] == [file]
        assert third is items[2]
        assert str(items) == before

    with_files(tmp_path, test)


def test_what_is_gone_or_anothers_is_said_to_be_gone(tmp_path: Path) -> None:
    async def test(files: Files, blobs: Blobs) -> None:
        gone = {"type": "input_text", "text": "[file file-2 omitted: it was deleted]"}
        assert (await resolved_files(files, blobs, "bob", [message(PLAN)]))[0]["content"] == [gone]
        await files.delete("ada", "file-2")
        assert (await resolved_files(files, blobs, "ada", [message(PLAN)]))[0]["content"] == [gone]

    with_files(tmp_path, test)


def test_a_request_that_names_what_is_not_there_is_refused(tmp_path: Path) -> None:
    async def test(files: Files, blobs: Blobs) -> None:
        await check_files(files, "ada", [message(TEXT), message(TEXT, IMAGE, PLAN)])
        with pytest.raises(InvalidRequest, match="File with id 'file-1' not found") as caught:
            await check_files(files, "bob", [message(TEXT), message(TEXT, IMAGE)])
        assert (caught.value.param, caught.value.reason) == ("input[1].content[1].file_id", "file_not_found")

    with_files(tmp_path, test)


def test_what_no_model_could_take_is_refused(tmp_path: Path) -> None:
    async def test(files: Files, blobs: Blobs) -> None:
        with pytest.raises(InvalidRequest, match="more than 20 bytes") as caught:
            await resolved_files(files, blobs, "ada", [message(PLAN, IMAGE)], max_bytes=20)
        assert caught.value.param == "input[0].content[1].file_id"
        with pytest.raises(InvalidRequest, match="is no image, but text/plain"):
            await resolved_files(files, blobs, "ada", [message({**PLAN, "type": "input_image"})])

    with_files(tmp_path, test)


@pytest.mark.parametrize(
    ("data", "told", "filename", "media_type"),
    [
        (PNG, "text/plain", "a.txt", "image/png"),
        (b"%PDF-1.4", "", "a", "application/pdf"),
        (b"RIFF\0\0\0\0WEBPVP8", "", "a", "image/webp"),
        (b"x", "text/csv", "a.txt", "text/csv"),
        (b"x", "application/octet-stream", "a.html", "text/html"),
        (b"x", "", "a", "application/octet-stream"),
    ],
)
def test_what_a_file_is_goes_by_its_bytes_first(data: bytes, told: str, filename: str, media_type: str) -> None:
    assert media_type_of(stored("f", 1, filename, told), data) == media_type
