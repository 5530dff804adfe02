"""Reading files in processes of their own: what hangs or crashes over a bad file takes nothing else with it.

Libraries that parse PDF are written in C and are fed by strangers. A process can be ended when its time is over, which
a thread cannot; and chunking large texts does not hold up the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

import msgspec

from antiphon.errors import ExtractionError
from antiphon.retrieval.chunking import Chunk, ChunkingStrategy

# Frames begin with their length as so many bytes, the highest first.
LENGTH_BYTES = 8

# A process that nobody needs for so long is ended.
_IDLE_S = 60.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be read. ``media_type`` may be empty."""

    path: str
    filename: str
    media_type: str
    strategy: ChunkingStrategy


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What was read; or ``reason`` and ``message``, which say why nothing was."""

    chunks: list[Chunk] = []
    reason: str | None = None
    message: str = ""


class Reader(Protocol):
    """Something that makes chunks of a file."""

    def read(self, reading: Reading, *, timeout_s: float) -> Awaitable[list[Chunk]]:
        """The chunks of a file.

        Raises:
            ExtractionError: it cannot be read, or not in that time.
        """
        ...

    def close(self) -> Awaitable[None]:
        """End what still reads."""
        ...


class ReaderProcesses:
    """A `Reader` in other processes, as many as are needed at once; they are started when first needed."""

    def __init__(self, *, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._waiting: list[tuple[Process, asyncio.TimerHandle]] = []
        self._all: set[Process] = set()

    async def read(self, reading: Reading, *, timeout_s: float) -> list[Chunk]:
        """See `Reader.read`."""
        process = await self._process()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await _ask(process, reading)
        except TimeoutError:
            await self._end(process)
            raise ExtractionError(
                "invalid_file", f"Reading the file took longer than {timeout_s:g} seconds, and was given up."
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._end(process)
            raise ExtractionError("invalid_file", "The program that reads such files crashed over this one.") from None
        except BaseException:
            await self._end(process)
            raise
        self._put_back(process)
        if answer.reason is not None:
            raise ExtractionError(answer.reason, answer.message)
        return answer.chunks

    async def close(self) -> None:
        """See `Reader.close`."""
        for _, timer in self._waiting:
            timer.cancel()
        self._waiting.clear()
        for process in [*self._all]:
            await self._end(process)

    async def _process(self) -> Process:
        while self._waiting:
            process, timer = self._waiting.pop()
            timer.cancel()
            if process.returncode is None:
                return process
            self._all.discard(process)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "antiphon.retrieval.reader_process"), stdin=PIPE, stdout=PIPE
        )
        self._all.add(process)
        return process

    def _put_back(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._idle_s, self._end_idle, process)
        self._waiting.append((process, timer))

    def _end_idle(self, process: Process) -> None:
        self._waiting = [each for each in self._waiting if each[0] is not process]
        self._all.discard(process)
        assert process.stdin is not None
        process.stdin.close()  # it ends by itself

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _ask(process: Process, reading: Reading) -> Read:
    assert process.stdin is not None
    assert process.stdout is not None
    question = msgspec.msgpack.encode(reading)
    process.stdin.write(len(question).to_bytes(LENGTH_BYTES) + question)
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES))
    return msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Read)


def answer(reading: Reading) -> Read:
    """Read a file here and now; what is wrong with it is part of the answer."""
    from antiphon.retrieval.chunking import chunks
    from antiphon.retrieval.extraction import extract

    try:
        found = extract(Path(reading.path), filename=reading.filename, media_type=reading.media_type or None)
        title = found.title or reading.filename
        return Read(chunks=chunks(found.text, kind=found.kind, strategy=reading.strategy, title=title))
    except ExtractionError as error:
        return Read(reason=error.reason, message=error.message)
    except MemoryError:
        return Read(reason="file_too_large", message="Reading the file needs more memory than a file may take.")
