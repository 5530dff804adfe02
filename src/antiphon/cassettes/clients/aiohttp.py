"""A middleware for aiohttp: ``ClientSession(middlewares=[…])``, which needs aiohttp 3.12 or newer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import http, streams
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import TimerNoop
from multidict import CIMultiDict, CIMultiDictProxy

from antiphon.cassettes.cassette import Cassette
from antiphon.cassettes.encodings import ENCODING_HEADERS
from antiphon.cassettes.played import PlayedResponse
from antiphon.cassettes.recorder import Call
from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout, TransportError
from antiphon.transport import HttpRequest

_BUFFER_BYTES = 2**16


class CassetteMiddleware:
    """A client middleware; where the cassette has an answer, nothing behind it is asked."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Answer a request, or pass it on and note what comes."""
        asked = await _asked(request)
        played = self._cassette.answer(asked)
        if played is not None:
            if played.delay_s:
                await asyncio.sleep(played.delay_s)
            if played.failure is not None:
                raise _translated(played.failure)
            return _response(request, played)
        call = self._cassette.begin(asked)
        try:
            response = await handler(request)
        except BaseException as error:
            _fail(call, error)
            raise
        if call is not None:
            call.status_came(response.status, _headers(response))
            response.content = _Tapped(response.content, call)  # type: ignore[assignment]
        return response


# --- replaying -------------------------------------------------------------------------------


class _NoConnection(BaseProtocol):
    """Where a recorded body comes from; it never runs full."""

    @property
    def connected(self) -> bool:
        return True


def _response(request: aiohttp.ClientRequest, played: PlayedResponse) -> aiohttp.ClientResponse:
    """A response as the library builds it, from a recording.

    Its constructor is not documented: arguments that a version does not have are left out.
    """
    loop = asyncio.get_running_loop()
    known = inspect.signature(aiohttp.ClientResponse.__init__).parameters
    arguments: dict[str, Any] = {
        "writer": None,
        "continue100": None,
        "timer": TimerNoop(),
        "request_info": request.request_info,
        "traces": [],
        "loop": loop,
        "session": getattr(request, "_session", None),
        "stream_writer": SimpleNamespace(output_size=0),
    }
    arguments = {name: value for name, value in arguments.items() if name in known}
    response = aiohttp.ClientResponse(request.method, request.original_url, **arguments)
    pairs = CIMultiDict(played.headers)
    response.version = http.HttpVersion11
    response.status = played.status
    response.reason = HTTPStatus(played.status).phrase if played.status in set(HTTPStatus) else ""
    response._headers = CIMultiDictProxy(pairs)
    response._raw_headers = tuple((name.encode(), value.encode()) for name, value in played.headers)
    response.content = streams.StreamReader(_NoConnection(loop), _BUFFER_BYTES, loop=loop)
    feeding = loop.create_task(_feed(response.content, played))
    # The loop holds tasks weakly; who reads the body holds the response.
    response._antiphon_feeding = feeding  # type: ignore[attr-defined]
    return response


async def _feed(content: streams.StreamReader, played: PlayedResponse) -> None:
    """Give the chunks one by one, each as an HTTP chunk of its own."""
    try:
        async for data in played.chunks():
            if content.exception() is not None:
                return  # released before its end
            content.begin_http_chunk_receiving()
            content.feed_data(data)
            content.end_http_chunk_receiving()
            await asyncio.sleep(0)
    except TransportError as error:
        content.set_exception(_translated(error))
    else:
        content.feed_eof()


# --- recording -------------------------------------------------------------------------------


class _Tapped:
    """The stream of a live response, whose pieces are noted when they are read."""

    def __init__(self, content: streams.StreamReader, call: Call) -> None:
        self._content = content
        self._call = call
        self._note(b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, n: int = -1) -> bytes:
        if n >= 0:
            return self._note(await self._wait(self._content.read(n)))
        pieces = []
        while piece := await self.readany():
            pieces.append(piece)
        return b"".join(pieces)

    async def readany(self) -> bytes:
        return self._note(await self._wait(self._content.readany()))

    async def readchunk(self) -> tuple[bytes, bool]:
        data, is_end = await self._wait(self._content.readchunk())
        return self._note(data), is_end

    async def readexactly(self, n: int) -> bytes:
        return self._note(await self._wait(self._content.readexactly(n)))

    async def readline(self, **options: Any) -> bytes:
        return self._note(await self._wait(self._content.readline(**options)))

    async def readuntil(self, separator: bytes = b"\n", **options: Any) -> bytes:
        return self._note(await self._wait(self._content.readuntil(separator, **options)))

    def read_nowait(self, n: int = -1) -> bytes:
        return self._note(self._content.read_nowait(n))

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        while data := await self.read(n):
            yield data

    async def iter_any(self) -> AsyncIterator[bytes]:
        while data := await self.readany():
            yield data

    async def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        while (found := await self.readchunk()) != (b"", False):
            yield found

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line

    def set_exception(self, error: BaseException, *cause: Any) -> None:
        self._call.close()  # released before its end
        self._content.set_exception(error, *cause)

    async def _wait(self, reading: Any) -> Any:
        try:
            return await reading
        except BaseException as error:
            _fail(self._call, error)
            raise

    def _note(self, data: bytes) -> bytes:
        if data:
            self._call.chunk_came(data)
        if self._content.at_eof():
            self._call.end()
        return data


def _headers(response: aiohttp.ClientResponse) -> tuple[tuple[str, str], ...]:
    """The response's headers, true of the body as it is read."""
    is_decoded = getattr(response._session, "_auto_decompress", True)
    pairs = [(name.lower(), value) for name, value in response.headers.items()]
    return tuple(pair for pair in pairs if not is_decoded or pair[0] not in ENCODING_HEADERS)


async def _asked(request: aiohttp.ClientRequest) -> HttpRequest:
    body: Any = request.body
    return HttpRequest(
        method=request.method,
        url=str(request.url),
        headers=tuple((name.lower(), value) for name, value in request.headers.items()),
        body=body if isinstance(body, bytes) else await body.as_bytes(),
    )


def _translated(error: TransportError) -> aiohttp.ClientError:
    if isinstance(error, ReadTimeout):
        return aiohttp.ServerTimeoutError(str(error))
    return (aiohttp.ClientConnectionError if isinstance(error, ConnectFailed) else aiohttp.ClientPayloadError)(
        str(error)
    )


def _fail(call: Call | None, error: BaseException) -> None:
    if call is None:
        return
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        call.fail(ConnectFailed(message))
    elif isinstance(error, TimeoutError):
        call.fail(ReadTimeout(message))
    else:
        call.fail(ConnectionLost(message) if isinstance(error, Exception) else error)
