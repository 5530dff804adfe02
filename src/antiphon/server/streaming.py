"""Answers that stream: one write for each batch, given up as soon as the client is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from antiphon.server.exchange import ClientGone, Exchange

EVENT_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold chunks back
)

_log = logging.getLogger(__name__)


async def stream(exchange: Exchange, batches: AsyncIterator[bytes]) -> None:
    """Answer with server-sent events, one write for each batch that is not empty.

    There are no keep-alive comments: what is sent is events, and nothing else.
    """
    await exchange.start(200, EVENT_STREAM)
    async for data in batches:
        if data:
            await exchange.write(data)
    await exchange.end()


async def while_connected(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and cancel it as soon as the client is gone. The request's body must have been read before.

    Servers drop what is written to a client that left, so without this an upstream would go on, paid for and unheard.

    Raises:
        ClientGone: the client left first. The work has been cancelled and has ended.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnected(exchange))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if exchange.has_ended:
            await asyncio.wait((working,))  # a complete answer also counts as a disconnect in ASGI
        elif not working.done():
            raise ClientGone
    finally:
        watching.cancel()
        await _cancelled(working)
    working.result()


async def _disconnected(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task, if it is not done, and wait for its end; what goes wrong in its end is not lost."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()):
        _log.error("a request that was given up ended badly", exc_info=error)
