"""The HTTP below an MCP session: it goes only where the policy lets it, and remembers how an exchange failed.

The protocol's package turns a refusal into "Server returned an error response", and a broken connection into the end
of the whole session, other calls included. So both are caught here: the first keeps its words, the second is answered
for the server, with an error that concerns the one request.

This module imports httpx2, so nothing imports it before an MCP server is used.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import httpx2
import msgspec

from antiphon.errors import EgressRefused
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.mcp.failures import Exchange, Refusal, words_of_body

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_REFUSAL_BYTES = 64 * 1024
# Waiting for an answer is limited by whoever waits.
TIMEOUT = httpx2.Timeout(10.0, write=30.0, read=None)

# What the request at hand is part of. The package runs each request in the context of whoever sent it.
exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests over ``inner``, each to an address that the policy has judged; without one, anywhere.

    Before ``answers_for_server`` is set, a failure is raised; afterwards a POST that failed gets a JSON-RPC error.
    ``refusal`` is the last failure.
    """

    def __init__(self, policy: EgressPolicy | None, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._policy = policy
        self._inner = inner or httpx2.AsyncHTTPTransport(verify=_ssl_context())
        self._addresses: dict[tuple[str, int], list[str]] = {}
        self.answers_for_server = False
        self.refusal: Refusal | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; a refusal's body is read, for its words.

        Raises:
            httpx2.TransportError: it did not arrive, or may not be sent.
        """
        try:
            response = await self._send(request)
            return await self._checked(request, response)
        except (httpx2.TransportError, EgressRefused, OSError) as error:
            refusal = Refusal(words=_words(error), was_sent=not isinstance(error, _NOT_SENT))
            self._note(refusal)
            if request.method == "POST" and self.answers_for_server:
                return _error(refusal.words)
            if isinstance(error, httpx2.TransportError):
                raise
            raise httpx2.ConnectError(refusal.words) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        """The answer of the first address that takes the connection."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        if self._policy is None:
            return await self._inner.handle_async_request(request)
        if (host, port) not in self._addresses:
            self._addresses[host, port] = await self._policy.addresses(host, port)
        *others, last = self._addresses[host, port]
        for address in others:
            try:
                return await self._inner.handle_async_request(_pinned(request, host, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_pinned(request, host, last))

    async def _checked(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code >= 400:
            body = await _read(response, MAX_REFUSAL_BYTES)
            words = words_of_body(body, kind) or response.reason_phrase
            self._note(Refusal(words=words, status=response.status_code))
            return httpx2.Response(response.status_code, headers=_plain(response), content=body)
        if response.headers.get("content-encoding", "identity") != "identity":
            # It was not asked for, and a small body may unfold without end.
            await response.aclose()
            raise httpx2.RemoteProtocolError("it sent a compressed answer, which it was not asked for")
        if kind == "application/json":
            body = await _read(response, MAX_BODY_BYTES)
            return httpx2.Response(response.status_code, headers=_plain(response), content=body)
        if request.method == "POST" and kind == "text/event-stream":
            response.stream = _Limited(response.stream, self._note)
        elif response.status_code == 200 and kind != "text/event-stream":
            words = f"it answered with {kind or 'nothing'}, which is not MCP"
            self._note(Refusal(words=words, status=200))
        return response

    def _note(self, refusal: Refusal) -> None:
        self.refusal = refusal
        if (own := exchange.get()) is not None:
            own.refuse(refusal)


class _Limited(httpx2.AsyncByteStream):
    """A stream that ends in an error when it has grown too long, or breaks; and says why."""

    def __init__(self, inner: Any, note: Any) -> None:
        self._inner = inner
        self._note = note

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise httpx2.ReadError(_TOO_LARGE)
                yield chunk
        except httpx2.TransportError as error:
            self._note(Refusal(words=_words(error)))
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, EgressRefused, OSError)
_TOO_LARGE = f"its answer is larger than the limit of {MAX_BODY_BYTES:,} bytes"


def _pinned(request: httpx2.Request, host: str, address: str) -> httpx2.Request:
    """The request to that address; Host header and certificate stay those of the name."""
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


async def _read(response: httpx2.Response, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                if response.status_code >= 400:
                    break
                raise httpx2.ReadError(_TOO_LARGE)
    finally:
        await response.aclose()
    return bytes(body)


def _plain(response: httpx2.Response) -> httpx2.Headers:
    headers = response.headers.copy()
    for name in ("content-length", "transfer-encoding", "content-encoding"):
        headers.pop(name, None)
    return headers


def _error(words: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": words}}
    return httpx2.Response(502, headers={"content-type": "application/json"}, content=msgspec.json.encode(body))


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, EgressRefused | httpx2.ReadError | httpx2.RemoteProtocolError) and str(error):
        return str(error)
    return f"it cannot be reached ({str(error) or type(error).__name__})"


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # takes tens of milliseconds, and every client would make its own
