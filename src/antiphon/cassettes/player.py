"""A transport that answers from recordings: no network, no key, the same bytes."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Literal

import msgspec

from antiphon.cassettes import matching
from antiphon.cassettes.encodings import decoded_body
from antiphon.cassettes.endpoints import EVENT_STREAM, JSON_LINES, base_url, endpoint, media_type
from antiphon.cassettes.format import CLOSED_EARLY, Chunk, Headers, Interaction, RecordedResponse
from antiphon.cassettes.matching import Difference, differences, family, relevant_differences
from antiphon.cassettes.sockets import SocketPlayer
from antiphon.errors import (
    CassetteExhausted,
    CassetteMismatch,
    ConnectFailed,
    ConnectionLost,
    ReadTimeout,
    TransportError,
)
from antiphon.events import ErrorInfo
from antiphon.transport import HttpRequest, HttpResponse, WebSocket

OnDifference = Callable[[Interaction, list[Difference]], None]


class _Entry(msgspec.Struct):
    """One interaction, and whether it was given."""

    index: int
    interaction: Interaction
    is_played: bool = False


class Player:
    """Answers requests from a recording.

    ``match="body"`` gives equal requests their answers in recorded order, whatever else is asked in between.
    ``match="order"`` gives the n-th request of a kind (same method, same operation) the n-th answer of that kind, and
    tells ``on_difference`` in what the request differs from the recorded one.

    Chunks come as they were recorded, their delays times ``speed`` (0: at once); ``joins`` gives those that come at
    the same time in one piece. A recording without chunks or timing gives an event a chunk, ``chunk_delay_s`` apart.
    ``name`` is the file's, for messages; ``remedy`` is the command that records what is missing.
    """

    def __init__(
        self,
        interactions: Iterable[Interaction],
        *,
        match: Literal["body", "order"] = "body",
        on_difference: OnDifference | None = None,
        chunk_delay_s: float = 0.0,
        speed: float = 0.0,
        joins: bool = False,
        name: str = "the recording",
        remedy: str = "antiphon serve --upstream {upstream} --record {file}",
    ) -> None:
        entries = [_Entry(index, each) for index, each in enumerate(interactions)]
        self._entries = [entry for entry in entries if entry.interaction.kind == "http"]
        self._sockets = SocketPlayer([e.interaction for e in entries], speed=speed, name=name)
        self._on_difference = on_difference
        self._chunk_delay_s = chunk_delay_s
        self._speed = speed
        self._joins = joins
        self._name = name
        self._remedy = remedy
        self._take = {"body": self._take_by_body, "order": self._take_by_order}[match]
        self._exact: dict[matching.Key, deque[_Entry]] = {}
        self._loose: dict[matching.Key, deque[_Entry]] | None = None  # made when first needed
        self._families: dict[tuple[str, str], deque[_Entry]] = {}
        for entry in self._entries:
            self._families.setdefault(_family(entry), deque()).append(entry)
            if entry.interaction.request is not None and match == "body":
                self._exact.setdefault(matching.exact_key(entry.interaction.request), deque()).append(entry)

    @property
    def unplayed(self) -> list[Interaction]:
        """The interactions that nothing has asked for yet."""
        return [entry.interaction for entry in self._entries if not entry.is_played] + self._sockets.unplayed

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The recorded answer to a request.

        Raises:
            CassetteMismatch: nothing was recorded for such a request.
            CassetteExhausted: every answer to it was given already.
            TransportError: the recorded call failed so.
        """
        if request.header("content-encoding") is not None:
            request = msgspec.structs.replace(request, body=decoded_body(request.headers, request.body)[1])
        entry = self._take(request)
        entry.is_played = True  # nothing was awaited since it was chosen: two calls never get the same
        response = entry.interaction.response or RecordedResponse(status=None)
        if response.delay_ms and self._speed:
            await asyncio.sleep(response.delay_ms / 1000 * self._speed)
        if response.status is None and response.error is not None and not response.chunks:
            raise _failure(response.error)
        return PlayedResponse(
            response,
            self._paced(entry.interaction),
            headers=_headers(entry.interaction, response),
            stays_open=_stays_open(request, response),
        )

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A recorded WebSocket; see `SocketPlayer.connect`."""
        return await self._sockets.connect(request)

    async def close(self) -> None:
        """Nothing to release."""

    # --- choosing ----------------------------------------------------------------------------

    def _take_by_body(self, request: HttpRequest) -> _Entry:
        entries = self._exact.get(matching.exact_key(request))
        if entries is None:
            entries = self._loosely().get(matching.loose_key(request))
        if entries is None:
            raise self._mismatch(request)
        return self._next(entries, request)

    def _take_by_order(self, request: HttpRequest) -> _Entry:
        entries = self._families.get(family(request))
        if entries is None:
            raise self._mismatch(request)
        entry = self._next(entries, request)
        recorded = entry.interaction.request
        if self._on_difference is not None and recorded is not None and (found := differences(recorded, request)):
            self._on_difference(entry.interaction, found)
        return entry

    def _loosely(self) -> dict[matching.Key, deque[_Entry]]:
        if self._loose is None:
            self._loose = {}
            for entry in self._entries:
                if entry.interaction.request is not None:
                    key = matching.loose_key(entry.interaction.request)
                    self._loose.setdefault(key, deque()).append(entry)
        return self._loose

    def _next(self, entries: deque[_Entry], request: HttpRequest) -> _Entry:
        while entries and entries[0].is_played:
            entries.popleft()
        if not entries:
            raise CassetteExhausted(
                f"Every answer that {self._name} holds to this {_shown(request)} was given already."
                f" {self._advice(request)}"
            )
        return entries.popleft()

    # --- messages ----------------------------------------------------------------------------

    def _mismatch(self, request: HttpRequest) -> CassetteMismatch:
        """The error that shows the nearest recorded request and what keeps it from matching."""
        nearest = self._nearest(request)
        if nearest is None:
            known = ", ".join(sorted({" ".join(each) for each in self._families})) or "nothing"
            return CassetteMismatch(
                f"{self._name} holds no answer to a {_shown(request)}; it holds: {known}. {self._advice(request)}"
            )
        entry, found = nearest
        if not found:
            what = "has no recorded request to compare with; it can only be replayed with --match order"
        else:
            rest = f" (and in {len(found) - 1} more places)" if len(found) > 1 else ""
            what = f"differs at {found[0]}{rest}"
        return CassetteMismatch(
            f"{self._name} holds no answer to this {_shown(request)}. The nearest, interaction {entry.index}, {what}."
            f" {self._advice(request)}"
        )

    def _nearest(self, request: HttpRequest) -> tuple[_Entry, list[Difference]] | None:
        entries = [entry for entry in self._entries if _family(entry) == family(request)]
        compared = [
            (entry, relevant_differences(entry.interaction.request, request) if entry.interaction.request else [])
            for entry in entries
        ]
        return min(compared, key=lambda pair: len(pair[1]), default=None)

    def _advice(self, request: HttpRequest) -> str:
        """The command that would fix it."""
        recorded = next((entry.interaction.request for entry in self._entries if entry.interaction.request), None)
        upstream = base_url(recorded.url) if recorded else "URL"
        target = self._name if self._name.endswith(".jsonl") else f"{self._name}.jsonl"
        return f"To record it: {self._remedy.format(upstream=upstream, file=target)}"

    # --- playing -----------------------------------------------------------------------------

    def _paced(self, interaction: Interaction) -> list[tuple[float, bytes]]:
        """Seconds to wait and bytes to give, chunk by chunk."""
        response = interaction.response
        if response is None:
            return []
        if interaction.fidelity == "wire":
            paced = [(chunk.delay_ms / 1000 * self._speed, chunk.data) for chunk in response.chunks]
        else:
            pieces = _split(response.chunks, media_type(response))
            paced = [(self._chunk_delay_s if index else 0.0, piece) for index, piece in enumerate(pieces)]
        return _joined(paced) if self._joins else paced


# Large enough that a write more costs nothing, small enough that a long answer still comes in pieces.
_MAX_JOINED_BYTES = 16 * 1024


def _joined(paced: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
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
    """A recorded response, played."""

    def __init__(
        self,
        response: RecordedResponse,
        paced: list[tuple[float, bytes]],
        *,
        headers: Headers,
        stays_open: bool = False,
    ) -> None:
        self._response = response
        self._paced = paced
        self._stays_open = stays_open
        self._closed = asyncio.Event()
        self.status = 200 if response.status is None else response.status
        self.headers = headers

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
    kept = tuple(pair for pair in response.headers if pair[0] not in dropped)
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


def _family(entry: _Entry) -> tuple[str, str]:
    request = entry.interaction.request
    return ("POST", endpoint(entry.interaction)) if request is None else family(request)


def _shown(request: HttpRequest) -> str:
    return " ".join(family(request))
