"""A transport around another one that writes down what passes: bytes, chunks, delays, failures.

The live call comes first: a chunk is noted, with its time, and handed on; everything else happens when the call is
over, in a thread of its own. A recording that fails is a warning in the log.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from antiphon.cassettes.encodings import decoded
from antiphon.cassettes.format import (
    CLOSED_EARLY,
    Chunk,
    Frame,
    Headers,
    Interaction,
    Kind,
    RecordedRequest,
    RecordedResponse,
    Side,
    SocketSession,
    ToolCall,
)
from antiphon.cassettes.scrubbing import Scrubber
from antiphon.cassettes.writing import Writer
from antiphon.clock import Clock
from antiphon.errors import AntiphonError, RequestRejected, TransportError, UsageError
from antiphon.events import ErrorInfo
from antiphon.transport import HttpRequest, HttpResponse, SocketTransport, Transport, WebSocket, WebSocketClose

log = logging.getLogger("antiphon.cassettes")


class Tape:
    """The end of a cassette that calls are written to, whoever makes them; an existing cassette is continued.

    ``scrub`` gives an interaction as it may be written down; the default takes secrets out by their looks. ``tags``
    gives what to note beside a request. Bodies that came encoded are written down decoded. Threads may share it.

    Raises:
        CassetteCorrupt: the file exists and is no cassette.
        CassetteVersion: it was written by a newer version.
        OSError: the file exists and cannot be read. One that cannot be written is found out later, and only warned of.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock,
        scrub: Callable[[Interaction], Interaction] | None = None,
        tags: Callable[[HttpRequest], dict[str, str]] | None = None,
    ) -> None:
        self._writer = Writer(path)
        self._path = path
        self._clock = clock
        self._scrub = scrub or Scrubber()
        self._tags = tags
        self._numbers = itertools.count(1)
        self._open: set[Call] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="antiphon-recorder")
        self._has_warned = False

    def begin(self, request: HttpRequest, kind: Kind = "http") -> Call:
        """A call that begins now; it is written when it ends, and as cut off if it never does."""
        tags = self._tags(request) if self._tags else {}
        call = Call(request, request.interaction or self._new_id(), self._clock, self._finish, kind=kind, tags=tags)
        self._open.add(call)
        return call

    def append(self, interaction: Interaction) -> None:
        """Write an interaction that is over."""
        try:
            self._thread.submit(self._write, interaction)
        except RuntimeError as error:  # closed: the call outlived the recorder
            self._warn(error)

    def append_tool(self, tool: ToolCall, started_s: float) -> None:
        """Write a tool call that is over, and began at that time of the clock."""
        self.append(
            Interaction(
                id=self._new_id(),
                kind="tool",
                fidelity="parsed",
                tool=tool,
                started_at=datetime.fromtimestamp(started_s, UTC),
                duration_ms=_ms(self._clock.now_s() - started_s),
            )
        )

    def close(self) -> None:
        """Write what is still open as cut off, and wait for the file."""
        for call in list(self._open):
            call.end(ErrorInfo(code=CLOSED_EARLY, message="The recorder was closed while the answer was coming."))
        self._thread.shutdown()
        self._writer.close()

    def _new_id(self) -> str:
        return f"{int(self._clock.now_s() * 1000):x}-{next(self._numbers)}"

    def _finish(self, call: Call) -> None:
        self._open.discard(call)
        self.append(call.interaction())

    def _write(self, interaction: Interaction) -> None:
        try:
            self._writer.append(self._scrub(decoded(interaction)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the live call must not feel it
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("Recording to %s fails, calls go on unrecorded: %s", self._path, error)


class Recorder:
    """Records every call of a transport; see `Tape` for what else it takes, and raises."""

    def __init__(
        self,
        transport: Transport,
        path: str | Path,
        *,
        clock: Clock,
        scrub: Callable[[Interaction], Interaction] | None = None,
        tags: Callable[[HttpRequest], dict[str, str]] | None = None,
    ) -> None:
        self._transport = transport
        self._tape = Tape(path, clock=clock, scrub=scrub, tags=tags)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and record what comes back, or that nothing did."""
        call = self._tape.begin(request)
        try:
            response = await self._transport.send(request)
        except BaseException as error:
            call.fail(error)
            raise
        call.status_came(response.status, response.headers)
        return _RecordedResponse(response, call)

    async def connect(self, request: HttpRequest) -> WebSocket:
        """Open a WebSocket and record what passes over it; see `SocketTransport.connect`."""
        if not isinstance(self._transport, SocketTransport):
            raise UsageError(f"{type(self._transport).__name__} opens no WebSockets.")
        call = self._tape.begin(_without_protocols(request), "websocket")
        try:
            socket = await self._transport.connect(request)
        except BaseException as error:
            call.refused(error)
            raise
        call.status_came(101, socket.headers)
        return _RecordedSocket(socket, call)

    def append_tool(self, tool: ToolCall, started_s: float) -> None:
        """Write a tool call that is over, and began at that time of the clock."""
        self._tape.append_tool(tool, started_s)

    async def close(self) -> None:
        """Write what is still open as cut off, wait for the file, and close the transport."""
        await asyncio.to_thread(self._tape.close)
        await self._transport.close()


class Call:
    """What is known so far of one exchange: its status, then each chunk, then its end; it ends once."""

    def __init__(
        self,
        request: HttpRequest,
        name: str,
        clock: Clock,
        finish: Callable[[Call], None],
        *,
        kind: Kind,
        tags: dict[str, str],
    ) -> None:
        self._kind = kind
        self._tags = tags
        self._request = request
        self._name = name
        self._clock = clock
        self._finish = finish
        self._started_at = datetime.fromtimestamp(clock.now_s(), UTC)
        self._started_s = self._last_s = clock.monotonic_s()
        self._status: int | None = None
        self.headers: Headers = ()
        self._delay_ms = self._duration_ms = 0.0
        self._chunks: list[Chunk] = []
        self._frames: list[Frame] = []
        self._close: WebSocketClose | None = None
        self._closed_by: Side | None = None
        self._error: ErrorInfo | None = None
        self._has_ended = False

    def status_came(self, status: int, headers: Headers) -> None:
        """The head of the response is there."""
        self._status, self.headers = status, headers
        self._delay_ms = self._lap_ms()

    def refused(self, error: BaseException) -> None:
        """No WebSocket came of it; a status other than 101 is an answer, and no failure."""
        if isinstance(error, RequestRejected):
            self.status_came(error.status, ())
            self.end(None)
        else:
            self.fail(error)

    def frame_came(self, sender: Side, data: str | bytes) -> None:
        """A WebSocket message."""
        self._frames.append(Frame(self._lap_ms(), sender, data))

    def close_came(self, sender: Side, close: WebSocketClose) -> None:
        """The WebSocket ended."""
        if not self._has_ended:
            self._close, self._closed_by = close, sender
            self.end(None)

    def chunk_came(self, data: bytes) -> None:
        """A piece of the body is there."""
        self._chunks.append(Chunk(self._lap_ms(), data))

    def fail(self, error: BaseException) -> None:
        """It ends with that error, of ours or of an HTTP library."""
        self.end(_error(error))

    def end(self, error: ErrorInfo | None = None) -> None:
        """It is over, well or with an error."""
        if self._has_ended:
            return
        self._has_ended = True
        self._duration_ms = _ms(self._clock.monotonic_s() - self._started_s)
        self._error = error
        self._finish(self)

    def close(self) -> None:
        """The caller reads no further. After ``[DONE]`` that is the end, before it the answer is cut."""
        is_done = bool(self._chunks) and self._chunks[-1].data.rstrip().endswith(b"data: [DONE]")
        self.end(None if is_done else ErrorInfo(code=CLOSED_EARLY, message="The client read no further."))

    def interaction(self) -> Interaction:
        """What is known by now."""
        request = self._request
        return Interaction(
            id=self._name,
            kind=self._kind,
            request=RecordedRequest(method=request.method, url=request.url, headers=request.headers, body=request.body),
            response=RecordedResponse(
                status=self._status,
                headers=self.headers,
                chunks=tuple(self._chunks),
                delay_ms=self._delay_ms,
                error=self._error,
            ),
            websocket=self._session() if self._kind == "websocket" else None,
            tags=self._tags,
            started_at=self._started_at,
            duration_ms=self._duration_ms,
        )

    def _session(self) -> SocketSession:
        return SocketSession(frames=tuple(self._frames), close=self._close, closed_by=self._closed_by)

    def _lap_ms(self) -> float:
        now_s = self._clock.monotonic_s()
        lap_ms, self._last_s = _ms(now_s - self._last_s), now_s
        return lap_ms


class _RecordedResponse:
    """A live response whose chunks are noted on their way."""

    def __init__(self, response: HttpResponse, call: Call) -> None:
        self._response = response
        self._call = call

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Headers:
        return self._response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._response.chunks():
                self._call.chunk_came(data)
                yield data
        except GeneratorExit:
            self._call.close()
            raise
        except BaseException as error:
            self._call.fail(error)
            raise
        self._call.end()

    async def close(self) -> None:
        self._call.close()
        await self._response.close()


class _RecordedSocket:
    """A live WebSocket whose messages are noted on their way."""

    def __init__(self, socket: WebSocket, call: Call) -> None:
        self._socket = socket
        self._call = call

    @property
    def headers(self) -> Headers:
        return self._socket.headers

    async def send(self, message: str | bytes) -> None:
        self._call.frame_came("client", message)
        await self._socket.send(message)

    async def receive(self) -> str | bytes | WebSocketClose:
        message = await self._socket.receive()
        if isinstance(message, WebSocketClose):
            self._call.close_came("server", message)
        else:
            self._call.frame_came("server", message)
        return message

    async def close(self, close: WebSocketClose) -> None:
        self._call.close_came("client", close)
        await self._socket.close(close)


def _without_protocols(request: HttpRequest) -> HttpRequest:
    """The handshake without the protocols it offers: browsers, which can send no header, hide keys among them."""
    headers = tuple(pair for pair in request.headers if pair[0] != "sec-websocket-protocol")
    return msgspec.structs.replace(request, headers=headers)


def _error(error: BaseException) -> ErrorInfo:
    """How a failed call is written down; a cancelled one is the caller's doing."""
    if isinstance(error, AntiphonError):
        return ErrorInfo(code=error.code, message=error.message)
    if isinstance(error, asyncio.CancelledError):
        return ErrorInfo(code=CLOSED_EARLY, message="The call was cancelled.")
    return ErrorInfo(code=TransportError.code, message=f"{type(error).__name__}: {error}")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
