"""The live way to an upstream: HTTP over aiohttp, each read of the body given on as it comes.

Knows nothing of models or of what the bytes mean. Answers are asked for unencoded, so that what a recorder sees is
what the upstream wrote; redirects are not followed and cookies not kept, so that a key goes to the configured host only
and nothing of one caller reaches another. Measured against six other Python clients, aiohttp is the cheapest per chunk
that also does proxies and TLS.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import ipaddress
import os
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import cast
from urllib.parse import unquote, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from antiphon import __version__
from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout, RequestRejected, TransportError
from antiphon.transport import HttpRequest, WebSocketClose, header

# A model that first loads its weights, or reads a long prompt on a CPU, is silent for minutes.
DEFAULT_READ_TIMEOUT_S = 600.0
DEFAULT_CONNECT_TIMEOUT_S = 10.0

_DEFAULT_HEADERS = {"accept-encoding": "identity", "user-agent": f"antiphon/{__version__}"}

# No longer true of a body whose content-encoding has been undone.
_ENCODING_HEADERS = frozenset({"content-encoding", "content-length"})

# What aiohttp would add.
_AUTO_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")

# Close codes that stand for a close without one (RFC 6455, 7.4.1).
_NEVER_SENT = frozenset({1005, 1006, 1015})

# aiohttp warns about larger bodies unless they come as a file.
_LARGE_BODY_BYTES = 2**20


class HttpTransport:
    """A `Transport` to the network; connections are opened when first needed and kept for the next request.

    ``read_timeout_s`` is the longest silence between two reads, not the length of the whole answer; None is no limit.
    Proxies are taken from the environment (``HTTPS_PROXY``, ``NO_PROXY`` …); loopback is never proxied.

    ``raw`` is the way of a proxy: URL and headers are sent as they are and none is added, and bodies come as they
    were sent, content-encoding included.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        read_timeout_s: float | None = DEFAULT_READ_TIMEOUT_S,
        raw: bool = False,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._raw = raw
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: HttpRequest) -> _Response:
        """Send a request; the response comes as soon as its headers are there.

        Raises:
            ConnectFailed: no connection within ``connect_timeout_s``.
            ReadTimeout: connected, then no headers within ``read_timeout_s``.
            ConnectionLost: cut before the headers were there.
        """
        url = urlsplit(request.url)
        origin = f"{url.scheme}://{_without_credentials(url.netloc)}"
        proxy, proxy_headers = _proxy_for(url.scheme, url.hostname or "")
        body = request.body
        try:
            response = await self._open_session().request(
                request.method,
                URL(request.url, encoded=True) if self._raw else request.url,
                headers=CIMultiDict(request.headers) if self._raw else _DEFAULT_HEADERS | dict(request.headers),
                data=(io.BytesIO(body) if len(body) > _LARGE_BODY_BYTES else body) or None,
                skip_auto_headers=_AUTO_HEADERS if self._raw else ("content-type",),
                allow_redirects=False,
                proxy=proxy,
                proxy_headers=proxy_headers,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._explained(error, origin) from error
        return _Response(response, lambda error: self._explained(error, origin), raw=self._raw)

    async def connect(self, request: HttpRequest) -> Socket:
        """Open a WebSocket; the request is the handshake. Messages come whole, of any size.

        Raises:
            ConnectFailed, ReadTimeout, ConnectionLost: no answer came.
            RequestRejected: the answer was no; ``status`` says which.
        """
        url = urlsplit(request.url)
        origin = f"{url.scheme}://{_without_credentials(url.netloc)}"
        proxy, proxy_headers = _proxy_for(url.scheme, url.hostname or "")
        protocols = [each.strip() for each in (request.header("sec-websocket-protocol") or "").split(",") if each]
        try:
            response = await self._open_session().ws_connect(
                URL(request.url, encoded=True),
                headers=CIMultiDict([pair for pair in request.headers if not pair[0].startswith("sec-websocket-")]),
                protocols=protocols,
                max_msg_size=0,
                proxy=proxy,
                proxy_headers=proxy_headers,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise RequestRejected(f"{origin} refused the WebSocket: {error.message}.", status=error.status) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._explained(error, origin) from error
        return Socket(response)

    async def close(self) -> None:
        """Close all connections; a later `send` would open new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0
                ),  # how many calls may run is decided above, not by queueing here
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=not self._raw,
                timeout=aiohttp.ClientTimeout(connect=self._connect_timeout_s, sock_read=self._read_timeout_s),
            )
        return self._session

    def _explained(self, error: Exception, origin: str) -> TransportError:
        """The error in our words: they name the host, and nothing of a URL's path or of a header."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                return ConnectFailed(f"No connection to {origin} within {self._connect_timeout_s:g} s.")
            case aiohttp.ClientConnectorCertificateError():
                return ConnectFailed(f"Cannot connect to {origin}: its certificate is not valid for us.")
            case aiohttp.ClientConnectorError():
                return ConnectFailed(f"Cannot connect to {origin}: {_reason(error.os_error)}.")
            case aiohttp.ClientHttpProxyError():
                return ConnectFailed(f"Cannot connect to {origin}: the proxy answered {error.status}.")
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
                return ConnectFailed(f"Cannot connect to {origin}: not a usable http or https URL.")
            case TimeoutError():
                return ReadTimeout(f"{origin} has sent nothing for {self._read_timeout_s or 0:g} s.")
            case aiohttp.ServerDisconnectedError():
                return ConnectionLost(f"{origin} closed the connection before it answered.")
            case aiohttp.ClientPayloadError():
                return ConnectionLost(f"{origin} ended its answer in the middle.")
        return ConnectionLost(f"The connection to {origin} was cut ({type(error).__name__}).")


class _Response:
    """An answer whose body is still coming."""

    def __init__(
        self, response: aiohttp.ClientResponse, explained: Callable[[Exception], TransportError], *, raw: bool
    ) -> None:
        self._response = response
        self._explained = explained
        self.status = response.status
        self.headers = _text(response.raw_headers)
        if not raw and header(self.headers, "content-encoding"):
            self.headers = tuple(pair for pair in self.headers if pair[0] not in _ENCODING_HEADERS)

    async def chunks(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            if chunk := _unread(content):
                yield chunk
            self._response.close()
            raise self._explained(error) from error

    async def close(self) -> None:
        self._response.close()


class Socket:
    """An open WebSocket of aiohttp; pings are answered by it."""

    def __init__(self, response: aiohttp.ClientWebSocketResponse) -> None:
        self._response = response
        # The handshake's; aiohttp has no other way to them.
        self.headers = _text(response._response.raw_headers)

    async def send(self, message: str | bytes) -> None:
        """Send a message; to an upstream that is gone, it goes nowhere."""
        with contextlib.suppress(aiohttp.ClientConnectionResetError):  # `receive` tells how it ended
            if isinstance(message, str):
                await self._response.send_str(message)
            else:
                await self._response.send_bytes(message)

    async def receive(self) -> str | bytes | WebSocketClose:
        """The next message, or how it ended."""
        message = await self._response.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return cast("str | bytes", message.data)
        if message.type is aiohttp.WSMsgType.CLOSE:
            return WebSocketClose(message.data or 1005, message.extra or "")
        return WebSocketClose(1006)

    async def close(self, close: WebSocketClose) -> None:
        """End it. Closing twice is harmless."""
        if self._response.closed:
            return
        code = 1000 if close.code in _NEVER_SENT else close.code
        await self._response.close(code=code, message=close.reason.encode())


def _text(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)


def _unread(content: aiohttp.StreamReader) -> bytes:
    """What had arrived before the connection was cut.

    aiohttp withholds it, but it may hold the end of the answer: servers exist that send ``[DONE]`` and then close
    without the terminating chunk.
    """
    content._exception = None
    return content.read_nowait()


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason})"
    if isinstance(error, socket.gaierror) or not error.errno:
        return (error.strerror or str(error)).rstrip(".")
    return os.strerror(error.errno).lower()


@functools.lru_cache(maxsize=256)
def _proxy_for(scheme: str, host: str) -> tuple[str | None, dict[str, str] | None]:
    """The proxy the environment names for a host, with the header that opens it.

    Not left to aiohttp: its ``trust_env`` also sends passwords of a ``.netrc``, and hops to a thread for each request.
    """
    proxy = urllib.request.getproxies().get(scheme)
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None, None
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = f"{url.scheme}://{_without_credentials(url.netloc)}"
    if url.username is None:
        return address, None
    credentials = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
    return address, {"proxy-authorization": f"Basic {base64.b64encode(credentials).decode()}"}


def _without_credentials(netloc: str) -> str:
    return netloc.rpartition("@")[2]


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
