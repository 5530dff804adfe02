"""The HTTP seam: what a request and a response are, and the one method that turns one into the other.

Everything that reaches a model passes here. The live client (`antiphon.providers.http`), the recorder and the
player of cassettes are all transports, so a run cannot tell which of them it talks to. Protocols only: no I/O.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol, runtime_checkable

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


class WebSocketClose(msgspec.Struct, frozen=True):
    """How a WebSocket ended. 1005 stands for a close without a code, 1006 for a connection that was cut."""

    code: int = 1005
    reason: str = ""


class WebSocket(Protocol):
    """An open WebSocket; a message is a ``str`` or ``bytes``, as it was sent."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of the handshake's answer, names in lower case."""
        ...

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send a message; to a side that is gone, it goes nowhere."""
        ...

    def receive(self) -> Awaitable[str | bytes | WebSocketClose]:
        """The next message, or how it ended."""
        ...

    def close(self, close: WebSocketClose) -> Awaitable[None]:
        """End it from our side. Closing twice is harmless."""
        ...


@runtime_checkable
class SocketTransport(Transport, Protocol):
    """A transport that also opens WebSockets."""

    def connect(self, request: HttpRequest) -> Awaitable[WebSocket]:
        """Open a WebSocket; the request is the handshake, its URL ``http`` or ``https``.

        Raises:
            TransportError: no answer came back.
            RequestRejected: the answer was no; ``status`` says which.
            CassetteError: a player has no recorded answer.
        """
        ...


class PromptResponse(HttpResponse, Protocol):
    """A response that is known before its head has come."""

    @property
    def whole(self) -> Sequence[bytes] | None:
        """The pieces of the body, where there is nothing to wait for and nothing that fails; else None."""
        ...

    def begun(self) -> Awaitable[HttpResponse]:
        """Itself, as soon as its head came.

        Raises:
            TransportError: no response comes.
        """
        ...


@runtime_checkable
class PromptTransport(Transport, Protocol):
    """A transport that asks nobody: whoever has a request knows the answer at once."""

    def take(self, request: HttpRequest) -> PromptResponse:
        """The answer to a request.

        Raises:
            CassetteError: there is none.
        """
        ...


def header(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    """The first value of a header in a list of pairs with lower-case names, or None."""
    return next((value for key, value in headers if key == name), None)
