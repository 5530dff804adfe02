"""Reading in other processes: what hangs or dies over a file takes only that file with it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from antiphon.errors import ExtractionError
from antiphon.retrieval.chunking import ChunkingStrategy
from antiphon.retrieval.reading import ReaderProcesses, Reading


def reading(path: Path) -> Reading:
    return Reading(path=str(path), filename=path.name, media_type="", strategy=ChunkingStrategy())


def with_reader(test: Callable[[ReaderProcesses], Awaitable[None]]) -> None:
    async def main() -> None:
        reader = ReaderProcesses()
        try:
            async with asyncio.timeout(30):
                await test(reader)
        finally:
            await reader.close()

    asyncio.run(main())


def test_one_process_reads_file_after_file(tmp_path: Path) -> None:
    (tmp_path / "tea.md").write_text("# Tea\n\nGreen or black.\n")
    (tmp_path / "junk.txt").write_bytes(bytes(range(256)) * 9)

    async def test(reader: ReaderProcesses) -> None:
        for _ in range(3):
            [chunk] = await reader.read(reading(tmp_path / "tea.md"), timeout_s=30)
            assert "Green or black." in chunk.text
            with pytest.raises(ExtractionError, match="binary") as caught:
                await reader.read(reading(tmp_path / "junk.txt"), timeout_s=30)
            assert caught.value.reason == "unsupported_file"
        assert len(reader._all) == 1

    with_reader(test)


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.txt")  # nobody ever writes into it
    (tmp_path / "tea.txt").write_text("Tea.")

    async def test(reader: ReaderProcesses) -> None:
        with pytest.raises(ExtractionError, match=r"longer than 0.2 seconds"):
            await reader.read(reading(tmp_path / "endless.txt"), timeout_s=0.2)
        assert not reader._all
        [chunk] = await reader.read(reading(tmp_path / "tea.txt"), timeout_s=30)
        assert chunk.text == "Tea."

    with_reader(test)


def test_a_crash_is_the_files_failure(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.txt")

    async def test(reader: ReaderProcesses) -> None:
        task = asyncio.create_task(reader.read(reading(tmp_path / "endless.txt"), timeout_s=30))
        writing = await asyncio.to_thread((tmp_path / "endless.txt").open, "wb")  # waits for who reads it
        [process] = reader._all
        os.kill(process.pid, signal.SIGSEGV)
        with pytest.raises(ExtractionError, match="crashed"):
            await task
        writing.close()
        assert not reader._all

    with_reader(test)


def test_a_process_that_nobody_needs_ends(tmp_path: Path) -> None:
    (tmp_path / "tea.txt").write_text("Tea.")

    async def main() -> None:
        reader = ReaderProcesses(idle_s=0.0)
        await reader.read(reading(tmp_path / "tea.txt"), timeout_s=30)
        [process] = reader._all
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert not reader._all
        await reader.close()

    asyncio.run(main())
