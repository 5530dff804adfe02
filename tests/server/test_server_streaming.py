import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from asgi_client import ask

from antiphon.clock import CountingIds, SystemClock
from antiphon.server.app import App, Handler, route
from antiphon.server.auth import Keys
from antiphon.server.exchange import Exchange
from antiphon.server.streaming import stream, while_connected


def app(handler: Handler) -> App:
    return App([route("POST", "/v1/stream", handler)], keys=Keys({}), clock=SystemClock(), ids=CountingIds())


async def pieces(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


def test_each_batch_is_one_write_and_an_empty_one_is_none() -> None:
    reply = asyncio.run(ask(app(lambda exchange: stream(exchange, pieces(b"a", b"", b"bc"))), "POST", "/v1/stream"))
    assert (reply.writes, reply.ended) == ([b"a", b"bc", b""], True)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"


def test_work_is_cancelled_and_wound_up_when_the_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        leave, done = asyncio.Event(), []

        async def work(exchange: Exchange) -> None:
            try:
                await exchange.start(200, [])
                leave.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # closing the upstream, writing the journal's end
                done.append("wound up")
                raise

        async def handler(exchange: Exchange) -> None:
            await exchange.body()
            await while_connected(exchange, work(exchange))

        reply = await ask(app(handler), "POST", "/v1/stream", leave=leave)
        assert done == ["wound up"]
        assert not reply.ended

    asyncio.run(main())
    assert [record.getMessage().split()[2] for record in caplog.records] == ["499"]


def test_work_after_a_complete_answer_is_not_cancelled() -> None:
    done = []

    async def work(exchange: Exchange) -> None:
        await stream(exchange, pieces(b"a"))
        for _ in range(5):
            await asyncio.sleep(0)  # closing what was read
        done.append("wound up")

    async def handler(exchange: Exchange) -> None:
        await exchange.body()
        await while_connected(exchange, work(exchange))

    assert asyncio.run(ask(app(handler), "POST", "/v1/stream")).ended
    assert done == ["wound up"]


def test_a_failure_of_the_work_is_the_requests() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    async def handler(exchange: Exchange) -> None:
        await exchange.body()
        await while_connected(exchange, work())

    assert asyncio.run(ask(app(handler), "POST", "/v1/stream")).status == 500


def test_what_goes_wrong_while_winding_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        leave = asyncio.Event()

        async def work() -> None:
            try:
                leave.set()
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError("disk full")

        async def handler(exchange: Exchange) -> None:
            await exchange.body()
            await while_connected(exchange, work())

        await ask(app(handler), "POST", "/v1/stream", leave=leave)

    asyncio.run(main())
    assert "disk full" in caplog.text
