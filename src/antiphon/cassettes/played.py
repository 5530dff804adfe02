"""A recorded answer, given again: its headers, its pieces with their times, and how it failed if it did."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from antiphon.cassettes.endpoints import EVENT_STREAM, JSON_LINES, media_type
from antiphon.cassettes.format import CLOSED_EARLY, Chunk, Headers, Interaction, RecordedResponse
from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout, TransportError
from antiphon.events import ErrorInfo
from antiphon.transport import HttpRequest


class Pace(NamedTuple):
    """How fast answers are given: recorded delays times ``speed`` (0: at once), or, where none were recorded,
    ``chunk_delay_s``. ``joins`` gives what comes at the same time in one piece."""

    speed: float = 0.0
    chunk_delay_s: float = 0.0
    joins: bool = False


# Large enough that a write more costs nothing, small enough that a long answer still comes in pieces.
_MAX_JOINED_BYTES = 16 * 1024

Paced = list[tuple[float, bytes]]


def _paced(interaction: Interaction, response: RecordedResponse, pace: Pace) -> Paced:
    """Seconds to wait and bytes to give, chunk by chunk."""
    if interaction.fidelity == "wire" and not pace.speed:
        return _at_once([chunk.data for chunk in response.chunks], pace)
    if interaction.fidelity == "wire":
        paced = [(chunk.delay_ms / 1000 * pace.speed, chunk.data) for chunk in response.chunks]
        return _joined(paced) if pace.joins else paced
    pieces = _split(response.chunks, media_type(response))
    if not pace.chunk_delay_s:
        return _at_once(pieces, pace)
    return [(pace.chunk_delay_s if index else 0.0, piece) for index, piece in enumerate(pieces)]


def _at_once(pieces: list[bytes], pace: Pace) -> Paced:
    if not pace.joins:
        return [(0.0, piece) for piece in pieces]
    whole = b"".join(pieces)
    if len(whole) <= _MAX_JOINED_BYTES:  # as most are
        return [(0.0, whole)] if whole else []
    return _joined([(0.0, piece) for piece in pieces])


def _joined(paced: Paced) -> Paced:
    """The same bytes, those that come at the same time in one piece: on a socket, each piece is a system call."""
    found: list[tuple[float, list[bytes]]] = []
    size = 0
    for wait_s, data in paced:
        if found and not wait_s and size + len(data) <= _MAX_JOINED_BYTES:
            found[-1][1].append(data)
            size += len(data)
        else:
            found.append((wait_s, [data]))
            size = len(data)
    return [(wait_s, b"".join(pieces)) for wait_s, pieces in found]


class PlayedResponse:
    """A recorded response, played. ``delay_s`` is how long its head takes to come."""

    def __init__(self, interaction: Interaction, request: HttpRequest, pace: Pace) -> None:
        response = interaction.response or RecordedResponse(status=None)
        self._response = response
        self._paced = _paced(interaction, response, pace)
        self._stays_open = _stays_open(request, response)
        self._closed = asyncio.Event()
        self.delay_s = response.delay_ms / 1000 * pace.speed
        self.status = 200 if response.status is None else response.status
        self.headers = _headers(interaction, response)

    @property
    def whole(self) -> list[bytes] | None:
        """The pieces of the body where there is nothing to wait for and nothing that fails, else None."""
        if self.delay_s or self._stays_open or self._response.error is not None:
            return None
        return None if any(wait_s for wait_s, _ in self._paced) else [data for _, data in self._paced]

    async def begun(self) -> PlayedResponse:
        """Itself, as soon as its head came.

        Raises:
            TransportError: the recorded call failed instead.
        """
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.failure is not None:
            raise self.failure
        return self

    @property
    def failure(self) -> TransportError | None:
        """The error that came instead of a response, if that is how the recorded call ended."""
        response = self._response
        return _failure(response.error) if response.status is None and response.error and not response.chunks else None

    def chunks_now(self) -> Iterator[bytes]:
        """The body, chunk by chunk, for clients that do not await; a delay blocks.

        Raises:
            TransportError: the recorded body was cut here.
        """
        for wait_s, data in self._paced:
            if wait_s:
                threading.Event().wait(wait_s)
            yield data
        if self._response.error is not None:
            raise _failure(self._response.error)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, chunk by chunk.

        Raises:
            TransportError: the recorded body was cut here.
        """
        for wait_s, data in self._paced:
            if wait_s:
                await asyncio.sleep(wait_s)
            if self._closed.is_set():
                return
            yield data
        if self._stays_open:
            await self._closed.wait()
            return
        if self._response.error is not None:
            raise _failure(self._response.error)

    async def close(self) -> None:
        """Give no more chunks."""
        self._closed.set()


def _stays_open(request: HttpRequest, response: RecordedResponse) -> bool:
    """Whether this is a subscription, such as MCP's, that the client left: it is open until the client leaves again."""
    left = response.error is not None and response.error.code == CLOSED_EARLY
    return left and request.method == "GET" and media_type(response) == EVENT_STREAM


# A stored response's headers speak of its own connection and of bytes that are decoded by now.
_NOT_REPLAYED = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _headers(interaction: Interaction, response: RecordedResponse) -> Headers:
    """The headers that are true of the replay.

    Our recorder leaves ``content-encoding`` with a body that it could not decode, others with what they decoded.
    """
    dropped = _NOT_REPLAYED if interaction.fidelity == "wire" else _NOT_REPLAYED | {"content-encoding"}
    kept = tuple([pair for pair in response.headers if pair[0] not in dropped])
    if response.header("content-type") is None and (found := media_type(response)):
        return (*kept, ("content-type", found))
    return kept


_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\n")


def _split(chunks: tuple[Chunk, ...], kind: str) -> list[bytes]:
    """The same bytes, cut where a live stream would be: after each event, or after each line of JSON."""
    pattern = _EVENT_END if kind == EVENT_STREAM else _LINE_END if kind in JSON_LINES else None
    if pattern is None:
        return [chunk.data for chunk in chunks]
    pieces = []
    for chunk in chunks:
        ends = [match.end() for match in pattern.finditer(chunk.data)]
        pieces += [chunk.data[start:end] for start, end in zip([0, *ends], [*ends, len(chunk.data)], strict=True)]
    return [piece for piece in pieces if piece]


_FAILURES: dict[str, type[TransportError]] = {each.code: each for each in (ConnectFailed, ReadTimeout, ConnectionLost)}


def _failure(error: ErrorInfo) -> TransportError:
    return _FAILURES.get(error.code, ConnectionLost)(f"The recording ends here: {error.message}")
