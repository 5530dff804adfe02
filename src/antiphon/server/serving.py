"""The application on a socket: uvicorn, the line that says it listens, and an end that nothing can hold up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import uvicorn
from starlette.types import Receive, Scope, Send

from antiphon.agent.acting import Tool
from antiphon.config import Settings
from antiphon.errors import ConfigError
from antiphon.server.corking import CorkedProtocol
from antiphon.server.wiring import open_app

# How long requests may go on after the server was told to stop.
GRACE_S = 3.0

# Longer than clients keep idle connections (httpx 5 s, aiohttp 15 s, most proxies 60 s), so that it is never the server
# that closes one at the moment it is used again.
_KEEP_ALIVE_S = 75

_BACKLOG = 2048

_MAX_MESSAGE_BYTES = 512 * 1024 * 1024


def serve(
    settings: Settings,
    *,
    say: Callable[[str], None],
    chunk_delay_s: float = 0.0,
    tools: Mapping[str, Tool] | None = None,
) -> None:
    """Serve until a signal ends it. ``say`` is given the line that tells where, and what a replay finds to differ.

    ``chunk_delay_s`` and ``tools`` are those of `antiphon.server.wiring.open_app`.

    Raises:
        ConfigError, CassetteError, StoreError: it cannot start so.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, say, chunk_delay_s, tools))


async def _serve(
    settings: Settings, say: Callable[[str], None], chunk_delay_s: float, tools: Mapping[str, Tool] | None
) -> None:
    def say_difference(line: str) -> None:
        say(f"replay: {line}")

    opened = open_app(settings, chunk_delay_s=chunk_delay_s, on_difference=say_difference, tools=tools)
    async with opened as app:
        sockets = listen(settings.host, settings.port)
        # uvicorn, once done, raises the signal that ended it again; what is closed after it must not feel that.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        await Server(app, lambda: say(_ready_line(settings, sockets[0].getsockname()[1]))).serve(sockets)


class Application(Protocol):
    """An ASGI application that ends what still runs."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        ...

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Take no more requests; give up those still running after ``grace_s``."""
        ...


class Server(uvicorn.Server):
    """uvicorn, which says when it accepts, and gives up requests that outlast the grace.

    ``relays`` is for a proxy: WebSockets of any size are served, and nothing is added to what upstreams answer.
    """

    def __init__(
        self, app: Application, on_ready: Callable[[], None], *, relays: bool = False, handles_signals: bool = True
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=CorkedProtocol,
                ws="websockets-sansio" if relays else "none",
                ws_max_size=_MAX_MESSAGE_BYTES,
                ws_ping_interval=None,
                date_header=not relays,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,  # only what `App.close` left
            )
        )
        self._app = app
        self._on_ready = on_ready
        self._handles_signals = handles_signals

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end it, unless they are somebody else's."""
        with super().capture_signals() if self._handles_signals else contextlib.nullcontext():
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and let what runs end or be given up."""
        for server in self.servers:
            server.close()
        await self._app.close(grace_s=GRACE_S)
        await super().shutdown(sockets)


def configure_logging(level: str) -> None:
    """Log to stderr: ours from ``level`` on, warnings of everybody else, of uvicorn only errors.

    Its warnings are about clients: bytes that are not HTTP, handshakes that the application answers anyway.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="WARNING")
    logging.getLogger("antiphon").setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel("ERROR")


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of a host name; port 0 is any free one, the same for all.

    Raises:
        ConfigError: the port is taken, or the name or port cannot be used.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(socket.create_server((address[0], port), family=family, backlog=_BACKLOG))
            port = sockets[-1].getsockname()[1]
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port with --port (0 takes any free one)."
        ) from error
    return sockets


def _ready_line(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.replay is not None:
        what = f"replaying {settings.replay}"
    else:
        what = "upstream " + ", ".join(each.base_url for each in settings.upstreams.values())
    if settings.record is not None:
        what += f", recording to {settings.record}"
    if settings.auto is not None:
        what += f", replaying {settings.auto} and recording what is missing"
    if settings.refresh is not None:
        what += f", refreshing {settings.refresh}"
    return f"Antiphon listens on http://{host}:{port} ({what}; data in {settings.data_dir})"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it can be installed: a quarter less CPU for each chunk."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
