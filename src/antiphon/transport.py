"""The HTTP seam: what a request and a response are, and the one method that turns one into the other.

Everything that reaches a model passes here. The live client (`antiphon.providers.http`), the recorder and the
player of cassettes are all transports, so a run cannot tell which of them it talks to. Protocols only: no I/O.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import msgspec


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, whole. Header names are lower case; ``interaction`` is the id a recording files it under."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    interaction: str = ""

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


class HttpResponse(Protocol):
    """A response whose body is still coming.

    ``chunks`` gives the body as it arrives, one item for each read, content-encoding already undone or never
    asked for. It raises `TransportError` when the body is cut. ``close`` gives the connection up at once: the
    upstream sees the client go. Closing twice is harmless.
    """

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers in order of arrival, names in lower case."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. May be called once."""
        ...

    def close(self) -> Awaitable[None]:
        """Give the connection up; whatever was not read is lost."""
        ...


class Transport(Protocol):
    """Something that answers HTTP requests: the network, a recorder around it, or a cassette."""

    def send(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request; the response comes as soon as its headers are there.

        Raises:
            TransportError: no response came back.
            CassetteError: a player has no recorded answer.
        """
        ...

    def close(self) -> Awaitable[None]:
        """Release connections and files."""
        ...


def header(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    """The first value of a header in a list of pairs with lower-case names, or None."""
    return next((value for key, value in headers if key == name), None)
