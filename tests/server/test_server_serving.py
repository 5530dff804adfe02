import asyncio
import socket

import pytest

from antiphon.clock import CountingIds, SystemClock
from antiphon.errors import ConfigError
from antiphon.server import serving
from antiphon.server.app import App, Handler, route
from antiphon.server.auth import Keys
from antiphon.server.exchange import Exchange
from antiphon.server.serving import Server, listen


def server_of(handler: Handler) -> tuple[Server, socket.socket, asyncio.Event]:
    app = App([route("GET", "/v1/things", handler)], keys=Keys({}), clock=SystemClock(), ids=CountingIds())
    ready = asyncio.Event()
    return Server(app, ready.set), listen("127.0.0.1", 0)[0], ready


async def get(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"GET /v1/things HTTP/1.1\r\nhost: x\r\n\r\n")
    return reader, writer


def test_a_stream_that_outlasts_the_grace_is_cut_and_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "GRACE_S", 0.01)
    cancelled = []

    async def endless(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"begun")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def main() -> None:
        server, sock, ready = server_of(endless)
        serve = asyncio.create_task(server.serve([sock]))
        await ready.wait()
        reader, writer = await get(sock)
        await reader.readuntil(b"begun")
        server.should_exit = True
        await asyncio.wait_for(serve, 5)
        assert cancelled
        assert b"0\r\n\r\n" not in await reader.read()  # the client sees a cut answer, not a complete one
        writer.close()

    asyncio.run(main())


def test_an_idle_connection_does_not_hold_the_end_up() -> None:
    async def quick(exchange: Exchange) -> None:
        await exchange.respond(200, b"done")

    async def main() -> None:
        server, sock, ready = server_of(quick)
        serve = asyncio.create_task(server.serve([sock]))
        await ready.wait()
        reader, writer = await get(sock)
        await reader.readuntil(b"done")
        server.should_exit = True
        await asyncio.wait_for(serve, 2)
        writer.close()

    asyncio.run(main())


def test_every_address_of_a_name_gets_the_same_port() -> None:
    sockets = listen("localhost", 0)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        sock.close()


def test_a_taken_port_says_what_to_do() -> None:
    (taken,) = listen("127.0.0.1", 0)
    with taken, pytest.raises(ConfigError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])
