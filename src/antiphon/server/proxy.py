"""A proxy for any wire: what a client sends goes to its upstream, and what comes back goes to the client, as bytes.

Where the answers come from is not known here: the network, a recorder around it, or a cassette. Bodies are relayed as
they arrive and never looked at; only the headers that speak of one connection (RFC 9110, 7.6.1) end here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Iterable
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from antiphon.clock import Clock, Ids
from antiphon.errors import AntiphonError, RequestRejected
from antiphon.server.errors import INTERNAL, HttpError, from_exception
from antiphon.server.exchange import CLIENT_GONE_STATUS, ClientGone, Exchange
from antiphon.server.headers import HOP_BY_HOP, end_to_end
from antiphon.server.streaming import while_connected
from antiphon.server.upstreams import Upstreams
from antiphon.transport import (
    HttpRequest,
    HttpResponse,
    PromptTransport,
    SocketTransport,
    WebSocket,
    WebSocketClose,
)

# The largest file that OpenAI takes in one request.
MAX_BODY_BYTES = 512 * 1024 * 1024

# Ours to say on the way up: whom we ask, how long the body is, and that we do not wait to send it.
_NOT_SENT = HOP_BY_HOP | {"host", "content-length", "expect"}

# Close codes that no side may send (RFC 6455, 7.4.1), and what tells a client the same.
_SENT_AS = {1005: 1000, 1006: 1011, 1015: 1011}

_WIND_UP_S = 5.0
_STOPPING = HttpError(503, "server_error", "The proxy is stopping.", "server_stopping", retry_after_s=1)

_log = logging.getLogger("antiphon.proxy")
_access_log = logging.getLogger("antiphon.access")


class Proxy:
    """The ASGI application. `close` ends what still runs; the transport is the caller's to close."""

    def __init__(self, transport: SocketTransport, upstreams: Upstreams, *, clock: Clock, ids: Ids) -> None:
        self._transport = transport
        self._prompt = transport if isinstance(transport, PromptTransport) else None
        self._upstreams = upstreams
        self._clock = clock
        self._ids = ids
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket, as ASGI has it."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if scope["type"] == "http":
                exchange = Exchange(
                    scope, receive, send, id=self._ids.new("req"), max_body_bytes=MAX_BODY_BYTES, clock=self._clock
                )
                await self._answer(exchange)
            elif scope["type"] == "websocket":
                await self._connect(scope, receive, send)
        finally:
            self._running.discard(task)

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Take no more requests; give up those still running after ``grace_s``."""
        self._is_closing = True
        running = self._running - {asyncio.current_task()}
        if running and grace_s:
            _, running = await asyncio.wait(running, timeout=grace_s)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_WIND_UP_S)

    # --- HTTP --------------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange) -> None:
        status = CLIENT_GONE_STATUS
        try:
            with contextlib.suppress(ClientGone):
                if error := _STOPPING if self._is_closing else await self._attempt(exchange):
                    await self._tell(exchange, error)
                status = exchange.status or INTERNAL.status
        finally:
            failed = f" error={exchange.error_code}" if exchange.error_code else ""
            _access_log.info(
                "%s %s %d %.0f ms%s", exchange.method, exchange.path, status, exchange.age_s * 1000, failed
            )

    async def _attempt(self, exchange: Exchange) -> HttpError | None:
        """Relay the exchange; return what it failed of."""
        try:
            request = HttpRequest(
                method=exchange.method,
                url=self._upstreams.url(exchange.header(b"host") or "", _target(exchange)),
                headers=end_to_end(tuple(exchange.headers()), _NOT_SENT),
                body=await exchange.body(encoded=True),
            )
            await self._give(exchange, request)
        except AntiphonError as error:
            return from_exception(error)
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            return _STOPPING
        return None

    async def _give(self, exchange: Exchange, request: HttpRequest) -> None:
        if self._prompt is None:
            request = msgspec.structs.replace(request, interaction=self._ids.new("int"))
            await while_connected(exchange, self._relay(exchange, self._transport.send(request)))
            return
        response = self._prompt.take(request)
        whole = response.whole
        if whole is None:
            await while_connected(exchange, self._relay(exchange, response.begun()))
            return
        # Nothing is waited for, so nobody has to watch meanwhile whether the client is still there.
        await exchange.relay(response.status, _raw(end_to_end(response.headers, HOP_BY_HOP)))
        *pieces, last = whole or [b""]
        for piece in pieces:
            await exchange.write(piece)
        await exchange.end(last)

    async def _relay(self, exchange: Exchange, coming: Awaitable[HttpResponse]) -> None:
        response = await coming
        try:
            await exchange.relay(response.status, _raw(end_to_end(response.headers, HOP_BY_HOP)))
            async for chunk in response.chunks():
                await exchange.write(chunk)
            await exchange.end()
        finally:
            await response.close()

    async def _tell(self, exchange: Exchange, error: HttpError) -> None:
        if exchange.status is None:
            await exchange.respond_error(error)
        else:
            # The upstream's answer was cut, and so is ours: it is left unended.
            exchange.error_code = error.code
            _log.warning("%s %s was cut: %s", exchange.method, exchange.path, error.message)

    # --- WebSocket ---------------------------------------------------------------------------

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers = _text(scope["headers"])
        host = next((value for name, value in headers if name == "host"), "")
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")
        try:
            request = HttpRequest(
                method="GET",
                url=self._upstreams.url(host, target),
                headers=end_to_end(headers, _NOT_SENT),
                interaction=self._ids.new("int"),
            )
            socket = await self._transport.connect(request)
        except AntiphonError as error:
            _access_log.info("WEBSOCKET %s refused: %s", target.partition("?")[0], error.message)
            await _refuse(send, error)
            return
        try:
            await _accept(send, socket)
            _access_log.info("WEBSOCKET %s accepted", target.partition("?")[0])
            await self._pump(socket, receive, send)
        finally:
            await socket.close(WebSocketClose(1001 if self._is_closing else 1005))

    async def _pump(self, socket: WebSocket, receive: Receive, send: Send) -> None:
        """Pass messages both ways until one side ends it."""
        up = asyncio.create_task(_upwards(socket, receive))
        down = asyncio.create_task(_downwards(socket, send))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.wait((up, down))
        for task in (up, down):
            if not task.cancelled():
                task.result()


async def _accept(send: Send, socket: WebSocket) -> None:
    passed = end_to_end(socket.headers, HOP_BY_HOP)
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": next((value for name, value in passed if name == "sec-websocket-protocol"), None),
            "headers": [pair for pair in _raw(passed) if not pair[0].startswith(b"sec-websocket-")],
        }
    )


async def _refuse(send: Send, error: AntiphonError) -> None:
    """Answer the handshake with a status; one that the upstream gave is passed on."""
    told = from_exception(error)
    status = error.status if isinstance(error, RequestRejected) else told.status
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(told.body)), *told.headers]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": told.body})


async def _upwards(socket: WebSocket, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            await socket.close(WebSocketClose(message.get("code") or 1005, message.get("reason") or ""))
            return
        text = message.get("text")
        await socket.send(message["bytes"] if text is None else text)


async def _downwards(socket: WebSocket, send: Send) -> None:
    while True:
        message = await socket.receive()
        if isinstance(message, WebSocketClose):
            code = _SENT_AS.get(message.code, message.code)
            await send({"type": "websocket.close", "code": code, "reason": message.reason})
            return
        await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})


# --- headers ---------------------------------------------------------------------------------


def _target(exchange: Exchange) -> str:
    query = exchange.query.decode("latin-1")
    return f"{exchange.path}?{query}" if query else exchange.path


def _text(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
