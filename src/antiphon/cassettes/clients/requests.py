"""An adapter for requests: ``session.mount("https://", …)``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import requests
import urllib3

from antiphon.cassettes.cassette import Cassette
from antiphon.cassettes.encodings import ENCODING_HEADERS
from antiphon.cassettes.played import PlayedResponse
from antiphon.cassettes.recorder import Call
from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout, TransportError
from antiphon.transport import HttpRequest

_REPLAYED_AS: dict[type[TransportError], type[requests.RequestException]] = {
    ConnectFailed: requests.ConnectionError,
    ReadTimeout: requests.ReadTimeout,
}


class CassetteAdapter(requests.adapters.BaseAdapter):
    """What a `requests.Session` mounts. ``inner`` makes the live calls."""

    def __init__(self, cassette: Cassette, inner: requests.adapters.HTTPAdapter | None = None) -> None:
        super().__init__()
        self._cassette = cassette
        self._inner = inner or requests.adapters.HTTPAdapter()

    def send(  # type: ignore[override]  # requests passes all of them by name
        self, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        """Answer a request."""
        asked = _asked(request)
        played = self._cassette.answer(asked)
        if played is not None:
            if played.delay_s:
                threading.Event().wait(played.delay_s)
            if played.failure is not None:
                raise _translated(played.failure, request)
            return self._inner.build_response(request, _Played(played, request))  # type: ignore[arg-type]
        call = self._cassette.begin(asked)
        try:
            response = self._inner.send(request, **options)
        except BaseException as error:
            _fail(call, error)
            raise
        if call is not None:
            headers = tuple((name.lower(), value) for name, value in response.raw.headers.items())
            call.status_came(response.status_code, headers)
            response.raw = _Tapped(response.raw, call, headers)
        return response

    def close(self) -> None:
        """Close the live connections."""
        self._inner.close()


class _Played:
    """A recorded body where requests expects a response of urllib3."""

    def __init__(self, played: PlayedResponse, request: requests.PreparedRequest) -> None:
        self._chunks = played.chunks_now()
        self._request = request
        self._left = b""
        self.status = played.status
        self.headers = urllib3.HTTPHeaderDict(list(played.headers))
        self.reason = HTTPStatus(played.status).phrase if played.status in set(HTTPStatus) else ""
        self.closed = False

    def stream(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
        """The chunks as they were recorded, none longer than ``amt``."""
        while data := self._next():
            end = amt or len(data)
            yield data[:end]
            self._left = data[end:]

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """That many bytes, or all."""
        found = b""
        while (amt is None or len(found) < amt) and (data := self._next()):
            found += data
        if amt is not None:
            found, self._left = found[:amt], found[amt:]
        return found

    def _next(self) -> bytes:
        if self._left:
            data, self._left = self._left, b""
            return data
        try:
            return next((data for data in self._chunks if data), b"")
        except TransportError as error:
            raise _translated(error, self._request) from error

    def close(self) -> None:
        self.closed = True

    def release_conn(self) -> None:
        self.close()


class _Tapped:
    """A live response of urllib3 whose bytes are noted as they are read."""

    def __init__(self, raw: Any, call: Call, headers: tuple[tuple[str, str], ...]) -> None:
        self._raw = raw
        self._call = call
        self._headers = headers
        self._is_begun = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, amt: int = 2**16, decode_content: bool | None = None) -> Iterator[bytes]:
        try:
            for data in self._raw.stream(amt, decode_content=decode_content):
                self._came(data, decode_content)
                yield data
        except GeneratorExit:
            self._call.close()
            raise
        except BaseException as error:
            _fail(self._call, error)
            raise
        self._call.end()

    def read(self, amt: int | None = None, decode_content: bool | None = None, **options: Any) -> bytes:
        try:
            data: bytes = self._raw.read(amt, decode_content=decode_content, **options)
        except BaseException as error:
            _fail(self._call, error)
            raise
        if data:
            self._came(data, decode_content)
        if amt is None or (not data and amt):
            self._call.end()
        return data

    def _came(self, data: bytes, decode_content: bool | None) -> None:
        if not self._is_begun and (self._raw.decode_content if decode_content is None else decode_content):
            self._call.headers = tuple(pair for pair in self._headers if pair[0] not in ENCODING_HEADERS)
        self._is_begun = True
        self._call.chunk_came(data)

    def close(self) -> None:
        self._call.close()
        self._raw.close()

    def release_conn(self) -> None:
        self._call.close()
        self._raw.release_conn()


def _asked(request: requests.PreparedRequest) -> HttpRequest:
    body: Any = request.body
    if hasattr(body, "read"):
        body = body.read()
    elif body is not None and not isinstance(body, str | bytes):
        body = b"".join(body)
    request.body = body  # what was read from a file or a generator is gone there
    return HttpRequest(
        method=request.method or "GET",
        url=request.url or "",
        headers=tuple((name.lower(), _text(value)) for name, value in request.headers.items()),
        body=body.encode() if isinstance(body, str) else body or b"",
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _translated(error: TransportError, request: requests.PreparedRequest) -> requests.RequestException:
    return _REPLAYED_AS.get(type(error), requests.exceptions.ChunkedEncodingError)(str(error), request=request)


def _fail(call: Call | None, error: BaseException) -> None:
    if call is None:
        return
    kind = ConnectionLost
    if isinstance(error, requests.ConnectionError | requests.ConnectTimeout):
        call.fail(ConnectFailed(str(error)))
    elif isinstance(error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        call.fail(ReadTimeout(str(error)))
    else:
        call.fail(kind(f"{type(error).__name__}: {error}") if isinstance(error, Exception) else error)
