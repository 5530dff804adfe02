"""A transport for httpx and httpx2, of sync and async clients alike: the two libraries have the same seam."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from antiphon.cassettes.cassette import Cassette
from antiphon.cassettes.played import PlayedResponse
from antiphon.cassettes.recorder import Call
from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout, TransportError
from antiphon.transport import HttpRequest

# The library's errors by name, as what they are to us; any other is a lost connection.
_RECORDED_AS = {
    "ConnectError": ConnectFailed,
    "ConnectTimeout": ConnectFailed,
    "PoolTimeout": ConnectFailed,
    "ReadTimeout": ReadTimeout,
}
_REPLAYED_AS = {ConnectFailed: "ConnectError", ReadTimeout: "ReadTimeout"}


class CassetteTransport:
    """What ``Client(transport=…)`` and ``AsyncClient(transport=…)`` take. ``inner`` makes the live calls."""

    def __init__(self, cassette: Cassette, library: ModuleType, inner: Any = None) -> None:
        self._cassette = cassette
        self._library = library
        self._inner = inner
        self._body: Callable[..., Any] = type(
            "CassetteStream", (_Stream, library.SyncByteStream, library.AsyncByteStream), {}
        )

    def handle_request(self, request: Any) -> Any:
        """Answer a request of a sync client."""
        asked = _asked(request, request.read())
        played = self._cassette.answer(asked)
        if played is not None:
            if played.delay_s:
                threading.Event().wait(played.delay_s)
            return self._played(played, request)
        call = self._cassette.begin(asked)
        self._inner = self._inner or self._library.HTTPTransport()
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            _fail(call, error)
            raise
        return self._recorded(response, call)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request of an async client."""
        asked = _asked(request, await request.aread())
        played = self._cassette.answer(asked)
        if played is not None:
            if played.delay_s:
                await asyncio.sleep(played.delay_s)
            return self._played(played, request)
        call = self._cassette.begin(asked)
        self._inner = self._inner or self._library.AsyncHTTPTransport()
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            _fail(call, error)
            raise
        return self._recorded(response, call)

    def _played(self, played: PlayedResponse, request: Any) -> Any:
        def translate(error: TransportError) -> Exception:
            kind = getattr(self._library, _REPLAYED_AS.get(type(error), "RemoteProtocolError"))
            translated: Exception = kind(str(error), request=request)
            return translated

        if played.failure is not None:
            raise translate(played.failure)
        body = self._body(_Played(played, translate))
        return self._library.Response(played.status, headers=list(played.headers), stream=body)

    def _recorded(self, response: Any, call: Call | None) -> Any:
        if call is None:
            return response
        call.status_came(response.status_code, tuple((n.lower(), v) for n, v in response.headers.multi_items()))
        return self._library.Response(
            response.status_code,
            headers=response.headers,
            stream=self._body(_Tapped(response.stream, call)),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close the live transport, if there ever was one."""
        if self._inner is not None:
            self._inner.close()

    async def aclose(self) -> None:
        """Close the live transport, if there ever was one."""
        if self._inner is not None:
            await self._inner.aclose()

    def __enter__(self) -> CassetteTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> CassetteTransport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Stream:
    """The body of a response, in the shape that the library checks for."""

    def __init__(self, source: _Played | _Tapped) -> None:
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        return self._source.chunks_now()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._source.chunks()

    def close(self) -> None:
        self._source.close_now()

    async def aclose(self) -> None:
        await self._source.close()


class _Played:
    """A recorded body; its failure is the library's."""

    def __init__(self, played: PlayedResponse, translate: Callable[[TransportError], Exception]) -> None:
        self._played = played
        self._translate = translate

    def chunks_now(self) -> Iterator[bytes]:
        try:
            yield from self._played.chunks_now()
        except TransportError as error:
            raise self._translate(error) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._played.chunks():
                yield data
        except TransportError as error:
            raise self._translate(error) from error

    def close_now(self) -> None:
        pass

    async def close(self) -> None:
        await self._played.close()


class _Tapped:
    """A live body, noted on its way."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def chunks_now(self) -> Iterator[bytes]:
        try:
            for data in self._stream:
                self._call.chunk_came(data)
                yield data
        except GeneratorExit:
            self._call.close()
            raise
        except BaseException as error:
            _fail(self._call, error)
            raise
        self._call.end()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._stream:
                self._call.chunk_came(data)
                yield data
        except GeneratorExit:
            self._call.close()
            raise
        except BaseException as error:
            _fail(self._call, error)
            raise
        self._call.end()

    def close_now(self) -> None:
        self._call.close()
        self._stream.close()

    async def close(self) -> None:
        self._call.close()
        await self._stream.aclose()


def _asked(request: Any, body: bytes) -> HttpRequest:
    headers = tuple((name.lower(), value) for name, value in request.headers.multi_items())
    return HttpRequest(method=request.method, url=str(request.url), headers=headers, body=body)


def _fail(call: Call | None, error: BaseException) -> None:
    if call is None:
        return
    if isinstance(error, Exception):
        message = f"{type(error).__name__}: {error}"
        call.fail(_RECORDED_AS.get(type(error).__name__, ConnectionLost)(message))
    else:
        call.fail(error)
