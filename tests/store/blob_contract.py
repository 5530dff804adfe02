"""What every `Blobs` must do: subclass `BlobContract`, say how to open one, and pytest runs the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from antiphon.errors import StorageFailed
from antiphon.store.blobs import PIECE_BYTES, Blobs

FUTURE_S = 2.0**40
LARGE = bytes(range(256)) * (PIECE_BYTES // 100)

PIECES = [[b"hello"], [b""], [], [b"a", b"", b"b" * 7], [LARGE, LARGE, b"end"], [LARGE] * 9]


async def put(blobs: Blobs, name: str, *pieces: bytes) -> None:
    async with blobs.create(name) as blob:
        for piece in pieces:
            await blob.write(piece)


async def whole(blobs: Blobs, name: str, *, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.read(name, start=start, end=end)])


async def names(blobs: Blobs, *, before_s: float = FUTURE_S) -> set[str]:
    return {name async for name in blobs.names(before_s=before_s)}


class BlobContract:
    """The contract suite of `Blobs`."""

    def open(self, directory: Path) -> Blobs:
        raise NotImplementedError

    def run(self, directory: Path, test: Callable[[Blobs], Awaitable[None]]) -> None:
        async def main() -> None:
            await test(self.open(directory))

        asyncio.run(main())

    @pytest.mark.parametrize(
        "pieces", [[b"hello"], [b""], [], [b"a", b"", b"b" * 7], [LARGE, LARGE, b"end"], [LARGE] * 9]
    )
    def test_a_blob_comes_back_as_it_was_written(self, tmp_path: Path, pieces: list[bytes]) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, "blob_ab", *pieces)
            assert await whole(blobs, "blob_ab") == b"".join(pieces)
            async with blobs.on_disk("blob_ab") as path:
                assert path.read_bytes() == b"".join(pieces)

        self.run(tmp_path, test)

    @pytest.mark.parametrize(("start", "end"), [(0, 4), (2, 5), (3, None), (0, None), (5, 5), (1_000_000, 1_100_000)])
    def test_a_part_of_a_blob_can_be_read(self, tmp_path: Path, start: int, end: int | None) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, "blob_ab", LARGE)
            assert await whole(blobs, "blob_ab", start=start, end=end) == LARGE[start:end]

        self.run(tmp_path, test)

    @pytest.mark.parametrize("size", [1, 9])
    def test_what_was_cut_off_leaves_nothing(self, tmp_path: Path, size: int) -> None:
        async def test(blobs: Blobs) -> None:
            with pytest.raises(RuntimeError, match="client left"):
                async with blobs.create("blob_ab") as blob:
                    for _ in range(size):
                        await blob.write(LARGE)
                    raise RuntimeError("client left")
            with pytest.raises(StorageFailed):
                await whole(blobs, "blob_ab")
            assert await names(blobs) == set()

        self.run(tmp_path, test)

    @pytest.mark.parametrize("size", [1, 9])
    def test_what_is_cancelled_leaves_nothing(self, tmp_path: Path, size: int) -> None:
        async def test(blobs: Blobs) -> None:
            begun = asyncio.Event()

            async def write() -> None:
                async with blobs.create("blob_ab") as blob:
                    for _ in range(size):
                        await blob.write(LARGE)
                    begun.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(write())
            await begun.wait()
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled()
            assert await names(blobs) == set()

        self.run(tmp_path, test)

    def test_a_deleted_blob_is_gone_and_can_be_deleted_again(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, "blob_ab", b"x")
            for _ in range(2):
                await blobs.delete("blob_ab")
            with pytest.raises(StorageFailed, match="blob_ab"):
                await whole(blobs, "blob_ab")
            with pytest.raises(StorageFailed, match="blob_ab"):
                async with blobs.on_disk("blob_ab"):
                    pass

        self.run(tmp_path, test)

    def test_blobs_are_listed_by_their_age(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, "blob_ab", b"x")
            await put(blobs, "blob_cd", b"y")
            assert await names(blobs) == {"blob_ab", "blob_cd"}
            assert await names(blobs, before_s=1_000_000.0) == set()

        self.run(tmp_path, test)
