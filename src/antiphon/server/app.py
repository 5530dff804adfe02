"""The ASGI application: what every request passes, whatever it asks for.

Gives each request an id, finds out who asks, hands it to the route, turns errors into OpenAI-shaped answers and writes
one line into the access log. The line has no query string and no header: keys are found in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon.clock import Clock, Ids
from antiphon.errors import AntiphonError
from antiphon.server.auth import Keys
from antiphon.server.errors import INTERNAL, HttpError, from_exception
from antiphon.server.exchange import CLIENT_GONE_STATUS, ClientGone, Exchange

Handler = Callable[[Exchange], Awaitable[None]]

DEFAULT_MAX_BODY_BYTES = 32 * 1024 * 1024

# Asked by load balancers, which have no key; says nothing but that we are here.
HEALTH_PATH = "/healthz"

_EXCHANGE = "antiphon.exchange"

# How long a request that is given up may take to cancel its upstream and end its journal.
_WIND_UP_S = 5.0

_STOPPING = HttpError(503, "server_error", "The server is stopping.", "server_stopping", retry_after_s=1)

_log = logging.getLogger("antiphon.server")
_access_log = logging.getLogger("antiphon.access")


def route(method: str, path: str, handler: Handler) -> Route:
    """A route of this application; ``path`` in Starlette's notation."""
    return Route(path, endpoint(path, handler), methods=[method])


def endpoint(path: str, handler: Handler) -> ASGIApp:
    """The handler as Starlette's routes take it; given to a route without methods, it gets them all."""

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            exchange: Exchange = scope[_EXCHANGE]
            exchange.route = path
            await handler(exchange)

    return Endpoint()


async def health(exchange: Exchange) -> None:
    """``GET /healthz``: the process answers."""
    await exchange.respond_json({"status": "ok"})


class App:
    """The ASGI application over a list of routes. `close` ends what still runs.

    ``on_answered`` is told of each request when its answer has ended: with the status that the log shows and the
    seconds it took.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        keys: Keys,
        clock: Clock,
        ids: Ids,
        forward_auth: bool = False,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        on_answered: Callable[[Exchange, int, float], None] | None = None,
    ) -> None:
        self._router: ASGIApp = Router([route("GET", HEALTH_PATH, health), *routes], redirect_slashes=False)
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._forward_auth = forward_auth
        self._max_body_bytes = max_body_bytes
        self._on_answered = on_answered
        self._running: set[asyncio.Task[object]] = set()
        self._is_closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1011, "reason": "WebSocket is not served yet."})
        else:
            exchange = Exchange(
                scope, receive, send, id=self._ids.new("req"), max_body_bytes=self._max_body_bytes, clock=self._clock
            )
            await self._answer(exchange, scope, receive, send)

    def in_flight(self) -> int:
        """The requests being answered now."""
        return len(self._running)

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Take no more requests; give up those still running after ``grace_s``.

        Returns when each of them has cancelled its upstream and ended its journal, or has had its time to.
        """
        self._is_closing = True
        running = self._running - {asyncio.current_task()}
        if running and grace_s:
            _, running = await asyncio.wait(running, timeout=grace_s)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_WIND_UP_S)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        scope[_EXCHANGE] = exchange
        scope["app"] = self  # or Starlette's router answers 404 and 405 itself, as plain text
        status = CLIENT_GONE_STATUS
        try:
            with contextlib.suppress(ClientGone):
                if error := _STOPPING if self._is_closing else await self._attempt(exchange, scope, receive, send):
                    await self._tell(exchange, error)
                status = exchange.status or INTERNAL.status
        finally:
            self._running.discard(task)
            took_s = exchange.age_s
            if self._on_answered is not None:
                self._on_answered(exchange, status, took_s)
            _access_log.info(
                "%s %s %d %.0f ms owner=%s id=%s%s",
                *(exchange.method, exchange.path, status, took_s * 1000, exchange.owner, exchange.id),
                f" error={exchange.error_code}" if exchange.error_code else "",
            )

    async def _attempt(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> HttpError | None:
        """Let the route answer; return what it failed of."""
        try:
            if scope["path"] != HEALTH_PATH:
                exchange.owner = self._keys.owner(exchange.header(b"authorization"), exchange.header(b"origin"))
            await self._router(scope, receive, send)
        except AntiphonError as error:
            return from_exception(error, forward_auth=self._forward_auth)
        except HTTPException as error:
            return _routing_error(exchange, error)
        except ClientGone:
            raise
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            return _STOPPING
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the traceback
            _log.exception("%s %s failed, id=%s", exchange.method, exchange.path, exchange.id)
            message = f"Internal error. The log of the server has more under {exchange.id}."
            return HttpError(*INTERNAL, message=message, code="internal_error")
        return None

    async def _tell(self, exchange: Exchange, error: HttpError) -> None:
        if exchange.status is None:
            await exchange.respond_error(error)
        else:
            # Too late for a status. The answer is left unended: the client sees a cut one, which is what it is.
            _log.error("%s after the answer had begun, id=%s: %s", error.code, exchange.id, error.message)


def _routing_error(exchange: Exchange, error: HTTPException) -> HttpError:
    """What Starlette's router found wrong, in OpenAI's shape."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        if (exchange.header(b"upgrade") or "").lower() == "websocket":
            # Codex falls back to HTTP on this status, and on no other.
            message = "WebSocket is not served yet. Use POST."
            upgrade = ((b"upgrade", b"HTTP/1.1"),)
            return HttpError(426, "invalid_request_error", message, "upgrade_required", more_headers=upgrade)
        message = f"Method {exchange.method} is not allowed for {exchange.path}."
        allow = ((b"allow", (error.headers or {}).get("Allow", "").encode()),)
        return HttpError(405, "invalid_request_error", message, "method_not_allowed", more_headers=allow)
    hint = "" if exchange.path.startswith("/v1/") else " The paths of this server begin with /v1."
    message = f"Invalid URL ({exchange.method} {exchange.path}).{hint}"
    return HttpError(404, "invalid_request_error", message, "unknown_url")
