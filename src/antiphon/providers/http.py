"""The live way to an upstream: HTTP over aiohttp, each read of the body given on as it comes.

Knows nothing of models or of what the bytes mean. Answers are asked for unencoded, so that what a recorder sees is
what the upstream wrote; redirects are not followed and cookies not kept, so that a key goes to the configured host only
and nothing of one caller reaches another. Measured against six other Python clients, aiohttp is the cheapest per chunk
that also does proxies and TLS.
"""

from __future__ import annotations

import base64
import functools
import io
import ipaddress
import os
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from urllib.parse import unquote, urlsplit

import aiohttp

from antiphon import __version__
from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout, TransportError
from antiphon.transport import HttpRequest, header

# A model that first loads its weights, or reads a long prompt on a CPU, is silent for minutes.
DEFAULT_READ_TIMEOUT_S = 600.0
DEFAULT_CONNECT_TIMEOUT_S = 10.0

_DEFAULT_HEADERS = {"accept-encoding": "identity", "user-agent": f"antiphon/{__version__}"}

# No longer true of a body whose content-encoding has been undone.
_ENCODING_HEADERS = frozenset({"content-encoding", "content-length"})

# aiohttp warns about larger bodies unless they come as a file.
_LARGE_BODY_BYTES = 2**20


class HttpTransport:
    """A `Transport` to the network; connections are opened when first needed and kept for the next request.

    ``read_timeout_s`` is the longest silence between two reads, not the length of the whole answer. Proxies are taken
    from the environment (``HTTPS_PROXY``, ``NO_PROXY`` …); loopback is never proxied.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        read_timeout_s: float = DEFAULT_READ_TIMEOUT_S,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
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
                request.url,
                headers=_DEFAULT_HEADERS | dict(request.headers),
                data=(io.BytesIO(body) if len(body) > _LARGE_BODY_BYTES else body) or None,
                skip_auto_headers=("content-type",),
                allow_redirects=False,
                proxy=proxy,
                proxy_headers=proxy_headers,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._explained(error, origin) from error
        return _Response(response, lambda error: self._explained(error, origin))

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
                return ReadTimeout(f"{origin} has sent nothing for {self._read_timeout_s:g} s.")
            case aiohttp.ServerDisconnectedError():
                return ConnectionLost(f"{origin} closed the connection before it answered.")
            case aiohttp.ClientPayloadError():
                return ConnectionLost(f"{origin} ended its answer in the middle.")
        return ConnectionLost(f"The connection to {origin} was cut ({type(error).__name__}).")


class _Response:
    """An answer whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse, explained: Callable[[Exception], TransportError]) -> None:
        self._response = response
        self._explained = explained
        self.status = response.status
        raw = response.raw_headers
        self.headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)
        if header(self.headers, "content-encoding"):
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
