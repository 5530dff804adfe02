"""A proxy on a real socket, between a real client and an upstream that is a few lines of aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from antiphon.server.proxying import ProxySettings, open_proxy, url_of
from antiphon.server.serving import Server, listen
from antiphon.server.upstreams import parse

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def upstream(handler: Handler) -> AsyncIterator[str]:
    """A server that gives every request to one handler; its URL."""
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def proxy(mode: Any, cassette: Path | None, *upstreams: str, **more: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy; its URL, and what it reports once it is closed."""
    settings = ProxySettings(mode=mode, cassette=cassette, upstreams=tuple(map(parse, upstreams)), **more)
    report: list[str] = []
    async with open_proxy(settings, say=report.append) as opened:
        sockets = listen("127.0.0.1", 0)
        ready = asyncio.Event()
        server = Server(opened.proxy, ready.set, relays=True, handles_signals=False)
        serving = asyncio.create_task(server.serve(sockets))
        await ready.wait()
        try:
            yield url_of("127.0.0.1", sockets[0].getsockname()[1]), report
        finally:
            server.should_exit = True
            await serving
    report += opened.report


async def streamed(request: web.Request, *pieces: bytes, **headers: str) -> web.StreamResponse:
    """Answer with an event stream, a write for each piece."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream", **headers})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
        await asyncio.sleep(0.001)
    await response.write_eof()
    return response
