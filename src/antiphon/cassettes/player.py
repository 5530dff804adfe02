"""A transport that answers from recordings: no network, no key, the same bytes."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec

from antiphon.cassettes.encodings import decoded_body
from antiphon.cassettes.endpoints import EVENT_STREAM, JSON_LINES, base_url, media_type
from antiphon.cassettes.format import (
    CLOSED_EARLY,
    Chunk,
    Headers,
    Interaction,
    RecordedRequest,
    RecordedResponse,
    ToolCall,
)
from antiphon.cassettes.loading import Held, Interactions, first_url
from antiphon.cassettes.lookup import Alike, Ambiguous, Lookup
from antiphon.cassettes.matching import Difference, differences, family, tool_request
from antiphon.cassettes.scrubbing import Scrubber
from antiphon.cassettes.sockets import SocketPlayer
from antiphon.cassettes.volatile import Volatile
from antiphon.errors import (
    CassetteAmbiguous,
    CassetteExhausted,
    CassetteMismatch,
    ConnectFailed,
    ConnectionLost,
    ReadTimeout,
    TransportError,
)
from antiphon.events import ErrorInfo
from antiphon.transport import HttpRequest, HttpResponse, WebSocket

# Told the number of an interaction.
OnDifference = Callable[[int, list[Difference]], None]

# How answers are found; a function says whether a recorded request and one that was sent are alike.
Match = Literal["body", "order", "strict"] | Alike


class Player:
    """Answers requests from a recording. Threads may share it.

    ``match="body"`` gives equal requests their answers in recorded order, whatever else is asked in between.
    ``match="order"`` gives the n-th request of a kind (same method, same operation) the n-th answer of that kind, and
    tells ``on_difference`` in what the request differs from the recorded one. ``match="strict"`` wants all requests as
    they were recorded, one after the other. A function looks for what it calls alike, where nothing is equal.

    ``volatile`` declares parts of requests that say nothing; ``scrub`` is what the recording was scrubbed with, by
    default a `Scrubber`, so that a request which holds a secret finds the recorded one, which does not.

    Chunks come as they were recorded, their delays times ``speed`` (0: at once); ``joins`` gives those that come at
    the same time in one piece. A recording without chunks or timing gives an event a chunk, ``chunk_delay_s`` apart.
    ``name`` is the file's, for messages; ``remedy`` is the command that records what is missing, ``{upstream}`` and
    ``{file}`` filled in.
    """

    def __init__(
        self,
        interactions: Iterable[Interaction] | Interactions,
        *,
        match: Match = "body",
        volatile: Iterable[str] = (),
        scrub: Callable[[Interaction], Interaction] | None = None,
        on_difference: OnDifference | None = None,
        chunk_delay_s: float = 0.0,
        speed: float = 0.0,
        joins: bool = False,
        name: str = "the recording",
        remedy: str = "antiphon serve --upstream {upstream} --record {file}",
    ) -> None:
        self._all: Interactions = interactions if isinstance(interactions, Interactions) else Held(interactions)
        self._lookup = Lookup(self._all, volatile=Volatile(volatile))
        self._sockets = SocketPlayer(self._all, speed=speed, name=name)
        self._scrub = scrub or Scrubber()
        self._on_difference = on_difference
        self._chunk_delay_s = chunk_delay_s
        self._speed = speed
        self._joins = joins
        self._name = name
        self._remedy = remedy
        self._match = match
        self._lock = threading.Lock()

    @property
    def unplayed(self) -> list[Interaction]:
        """The interactions that nothing has asked for yet."""
        return [self._all[index] for index in self.unplayed_numbers()]

    def unplayed_numbers(self) -> list[int]:
        """The numbers of those interactions, in order."""
        with self._lock:
            return sorted([*self._lookup.waiting(), *self._sockets.waiting])

    def interaction(self, number: int) -> Interaction:
        """The interaction of that number, played or not."""
        return self._all[number]

    def take(self, request: HttpRequest) -> PlayedResponse:
        """The recorded answer to a request, for clients that do not await; see `send`.

        Raises:
            CassetteError: as `send`.
        """
        if request.header("content-encoding") is not None:
            request = msgspec.structs.replace(request, body=decoded_body(request.headers, request.body)[1])
        interaction = self._take(request)
        response = interaction.response or RecordedResponse(status=None)
        return PlayedResponse(
            response,
            self._paced(interaction),
            headers=_headers(interaction, response),
            delay_s=response.delay_ms / 1000 * self._speed,
            stays_open=_stays_open(request, response),
        )

    def take_tool(self, name: str, arguments: Any) -> ToolCall:
        """The recorded call of a tool with these arguments, a JSON value; equal calls come in recorded order.

        Raises:
            CassetteError: as `send`.
        """
        asked = tool_request(ToolCall(name=name, arguments=arguments))
        tool = self._take(HttpRequest(method=asked.method, url=asked.url, body=asked.body)).tool
        assert tool is not None  # no HTTP method is spelled as a tool's
        return tool

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The recorded answer to a request.

        Raises:
            CassetteMismatch: nothing was recorded for such a request.
            CassetteExhausted: every answer to it was given already.
            CassetteAmbiguous: several were recorded that are as near to it, and nothing says which is meant.
            TransportError: the recorded call failed so.
        """
        played = self.take(request)
        if played.delay_s:
            await asyncio.sleep(played.delay_s)
        if played.failure is not None:
            raise played.failure
        return played

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A recorded WebSocket; see `SocketPlayer.connect`."""
        return await self._sockets.connect(request)

    async def close(self) -> None:
        """Close the file."""
        self.close_now()

    def close_now(self) -> None:
        """Close the file, for clients that do not await."""
        self._all.close()

    # --- choosing ----------------------------------------------------------------------------

    def _take(self, request: HttpRequest) -> Interaction:
        with self._lock:  # choosing and marking are one step: two calls never get the same
            try:
                index = self._find(request)
            except KeyError:
                raise self._mismatch(request) from None
            except Ambiguous as error:
                raise self._ambiguous(request, *error.pair) from None
            if index is None:
                raise CassetteExhausted(
                    f"Every answer that {self._name} holds to this {_shown(request)} was given already."
                    f" {self._advice()}"
                )
            interaction = self._lookup.give(index)
        recorded = interaction.request
        if self._match == "order" and self._on_difference and recorded and (found := differences(recorded, request)):
            self._on_difference(index, found)
        return interaction

    def _find(self, request: HttpRequest) -> int | None:
        if self._match == "body":
            return self._lookup.by_body(request, lambda: self._forms(request)[1:])
        if self._match == "order":
            return self._lookup.in_order(request)
        if self._match == "strict":
            return self._in_turn(request)
        return self._lookup.by_rule(self._forms(request)[-1], self._match)

    def _forms(self, request: HttpRequest) -> list[HttpRequest]:
        """The request as it is, and as it would have been written down if that is something else."""
        scrubbed = _scrubbed(request, self._scrub)
        return [request] if scrubbed is request else [request, scrubbed]

    def _in_turn(self, request: HttpRequest) -> int | None:
        index = self._lookup.next()
        if index is None:
            return None
        kept = min((self._lookup.differences(index, form) for form in self._forms(request)), key=len)
        if kept:
            raise CassetteMismatch(
                f"{self._name} has interaction {index} next, and this {_shown(request)} differs from it at"
                f" {_told(kept)}. {self._advice()}"
            )
        return index

    # --- messages ----------------------------------------------------------------------------

    def _mismatch(self, request: HttpRequest) -> CassetteMismatch:
        """The error that shows the nearest recorded request and what keeps it from matching."""
        request = self._forms(request)[-1]  # a message must not show what the file must not hold
        nearest = self._lookup.nearest(request)
        if nearest is None:
            known = ", ".join(self._lookup.families()) or "nothing"
            return CassetteMismatch(
                f"{self._name} holds no answer to a {_shown(request)}; it holds: {known}. {self._advice()}"
            )
        index, found = nearest
        what = "has no recorded request to compare with; it can only be replayed with --match order"
        if found:
            what = f"differs at {_told(found)}"
        return CassetteMismatch(
            f"{self._name} holds no answer to this {_shown(request)}. The nearest, interaction {index}, {what}."
            f" {self._advice()}"
        )

    def _ambiguous(self, request: HttpRequest, first: int, second: int) -> CassetteAmbiguous:
        found = self._lookup.between(first, second)
        return CassetteAmbiguous(
            f"{self._name} holds several answers to this {_shown(request)}, and nothing says which is meant:"
            f" interactions {first} and {second} fit alike, and differ at {_told(found)}. Send what tells them apart,"
            " or match in order."
        )

    def _advice(self) -> str:
        """The command that would fix it."""
        url = first_url(self._all)
        upstream = base_url(url) if url else "URL"
        target = self._name if self._name.endswith(".jsonl") else f"{self._name}.jsonl"
        return f"To record it: {self._remedy.replace('{upstream}', upstream).replace('{file}', target)}"

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
        delay_s: float = 0.0,
        stays_open: bool = False,
    ) -> None:
        self._response = response
        self._paced = paced
        self._stays_open = stays_open
        self._closed = asyncio.Event()
        self.delay_s = delay_s
        self.status = 200 if response.status is None else response.status
        self.headers = headers

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


def _scrubbed(request: HttpRequest, scrub: Callable[[Interaction], Interaction]) -> HttpRequest:
    """The request as it would be written down; the same object if that changes neither its URL nor its body."""
    recorded = RecordedRequest(method=request.method, url=request.url, headers=request.headers, body=request.body)
    written = scrub(Interaction(id="", request=recorded)).request
    if written is None or (written.url, written.body) == (request.url, request.body):
        return request
    return msgspec.structs.replace(request, url=written.url, body=written.body)


def _told(found: list[Difference]) -> str:
    if not found:
        return "nothing that is compared"
    rest = f" (and in {len(found) - 1} more places)" if len(found) > 1 else ""
    return f"{found[0]}{rest}"


def _shown(request: HttpRequest) -> str:
    return " ".join(family(request))
