"""One HTTP request and its answer, over plain ASGI.

Routing is Starlette's; a request's answer is written here without it, because the path of a chunk has to be short: a
chunk is one ASGI message, with nothing between the handler and the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from antiphon.clock import Clock
from antiphon.errors import InvalidRequest, RequestTooLarge
from antiphon.server.errors import HttpError

Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")

# nginx's own; a client that goes away gets no status, but the log wants one.
CLIENT_GONE_STATUS = 499


class ClientGone(Exception):
    """The client left before its answer was complete. Nobody is there to be told."""


class Exchange:
    """A request, who made it, and the answer as far as it went: ``status`` is None until it has begun.

    ``route`` is the path as the routes have it, None where none of them was found; ``first_event_s`` how long a
    streamed answer took to give something of the model's, None as long as it has not.
    """

    __slots__ = (
        "_began_s",
        "_clock",
        "_receive",
        "_scope",
        "_send",
        "error_code",
        "first_event_s",
        "has_ended",
        "id",
        "max_body_bytes",
        "owner",
        "route",
        "status",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        id: str,  # noqa: A002
        max_body_bytes: int,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._scope = scope
        self._receive = receive
        self._send = send
        self.id = id
        self.max_body_bytes = max_body_bytes
        self.owner = "-"
        self.status: int | None = None
        self.has_ended = False
        self.error_code: str | None = None
        self.route: str | None = None
        self.first_event_s: float | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the request began."""
        return self._clock.monotonic_s() - self._began_s

    # --- the request -------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """The path as the client wrote it, still percent-encoded, so that a log line stays one line; no query."""
        raw: bytes = self._scope.get("raw_path") or self._scope["path"].encode("ascii", "backslashreplace")
        return raw.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> bytes:
        """The query string; may hold anything, and belongs into no log."""
        return bytes(self._scope["query_string"])

    def parameter(self, name: str) -> str:
        """A named part of the path."""
        return str(self._scope["path_params"][name])

    def header(self, name: bytes) -> str | None:
        """The first value of a header, or None; ``name`` in lower case."""
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)

    def headers(self) -> Iterator[tuple[str, str]]:
        """All headers, names in lower case."""
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._scope["headers"])

    async def body(self, *, encoded: bool = False) -> bytes:
        """The request's body, whole; ``encoded`` allows one that is compressed, which comes as it is.

        One that is too large is read to its end without being kept, unless it is more than twice as large: most clients
        write all before they read, and would see a broken connection instead of the answer.

        Raises:
            RequestTooLarge: it outgrew ``max_body_bytes``.
            InvalidRequest: it is compressed.
            ClientGone: it stopped coming.
        """
        if not encoded and (encoding := self.header(b"content-encoding") or "identity") != "identity":
            raise InvalidRequest(f"Request bodies with content-encoding {encoding!r} are not read. Send it plain.")
        declared = self.header(b"content-length") or ""
        size = int(declared) if declared.isdecimal() and int(declared) > 2 * self.max_body_bytes else 0
        body, more = bytearray(), True
        while more and size <= 2 * self.max_body_bytes:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            piece = message.get("body", b"")
            size += len(piece)
            if size <= self.max_body_bytes:
                body += piece
        if size > self.max_body_bytes:
            raise RequestTooLarge(f"The request body is larger than the limit of {self.max_body_bytes:,} bytes.")
        return bytes(body)

    async def receive(self) -> MutableMapping[str, Any]:
        """The next ASGI message of the request; after the body, it says when the client goes."""
        return await self._receive()

    # --- the answer --------------------------------------------------------------------------

    async def relay(self, status: int, headers: Headers) -> None:
        """Begin the answer of somebody else: nothing is added to its headers."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        self.status = status
        own = (b"x-request-id", self.id.encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, own]})

    async def write(self, data: bytes) -> None:
        """Give a piece of the body on, in one write."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def mark_first_event(self) -> None:
        """The model has begun to answer."""
        self.first_event_s = self.age_s

    async def end(self, data: bytes = b"") -> None:
        """Give the last piece on. An answer that is not ended this way reaches the client as cut."""
        self.has_ended = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def respond(self, status: int, body: bytes, headers: Headers = (JSON,)) -> None:
        """Answer at once."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.end(body)

    async def respond_json(self, value: Any) -> None:
        """Answer 200 with a value as JSON."""
        await self.respond(200, msgspec.json.encode(value))

    async def respond_error(self, error: HttpError) -> None:
        """Answer with an error."""
        self.error_code = error.code
        await self.respond(error.status, error.body, [JSON, *error.headers])
