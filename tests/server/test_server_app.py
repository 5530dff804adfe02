import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import pytest
from asgi_client import Reply, ask

from antiphon.clock import CountingIds, FakeClock
from antiphon.config import hash_key
from antiphon.errors import RateLimited
from antiphon.server.app import App, route
from antiphon.server.auth import Keys
from antiphon.server.exchange import Exchange


def app(handler: Callable[[Exchange], Awaitable[None]], **options: object) -> App:
    routes = [route("POST", "/v1/things", handler)]
    keys = options.pop("keys", Keys({}))
    return App(routes, keys=keys, clock=FakeClock(), ids=CountingIds(), **options)


async def echo(exchange: Exchange) -> None:
    await exchange.respond(200, await exchange.body())


async def broken(exchange: Exchange) -> None:
    raise ZeroDivisionError("sk-secret")


async def limited(exchange: Exchange) -> None:
    raise RateLimited("slow down", status=429, retry_after_s=3)


async def breaks_off(exchange: Exchange) -> None:
    await exchange.start(200, [])
    await exchange.write(b"begun")
    raise ZeroDivisionError


def call(application: App, method: str, path: str, body: bytes | list[bytes] = b"", **options: object) -> Reply:
    return asyncio.run(ask(application, method, path, body, **options))


def test_an_answer_carries_the_requests_id() -> None:
    reply = call(app(echo), "POST", "/v1/things", b"hello")
    assert (reply.status, reply.body) == (200, b"hello")
    assert reply.headers["x-request-id"] == "req_00000000000000000000000000000001"
    assert reply.headers["content-length"] == "5"


def test_health_needs_no_key() -> None:
    guarded = app(echo, keys=Keys({hash_key("sk-1"): "one"}))
    assert call(guarded, "GET", "/healthz").json == {"status": "ok"}
    refused = call(guarded, "POST", "/v1/things")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert call(guarded, "POST", "/v1/things", key="sk-1").status == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/things/", "/"])
def test_an_unknown_path_is_told_in_openais_shape(path: str) -> None:
    reply = call(app(echo), "POST", path)
    assert (reply.status, reply.error["code"]) == (404, "unknown_url")
    assert reply.headers["content-type"] == "application/json"


def test_a_forgotten_v1_is_hinted_at() -> None:
    assert "begin with /v1" in call(app(echo), "POST", "/things").error["message"]


def test_a_wrong_method_is_told_in_openais_shape() -> None:
    reply = call(app(echo), "PUT", "/v1/things")
    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


def test_a_websocket_handshake_is_told_to_use_http() -> None:
    assert call(app(echo), "GET", "/v1/things", headers={"upgrade": "websocket"}).status == 426


def test_an_error_of_ours_is_answered_by_the_table() -> None:
    reply = call(app(limited), "POST", "/v1/things")
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")
    assert reply.error["code"] == "rate_limit_exceeded"


def test_a_defect_is_a_500_that_says_where_to_look_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    reply = call(app(broken), "POST", "/v1/things")
    assert (reply.status, reply.error["type"]) == (500, "server_error")
    assert reply.headers["x-request-id"] in reply.error["message"]
    assert "secret" not in reply.error["message"]
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_that_breaks_off_is_left_unended() -> None:
    reply = call(app(breaks_off), "POST", "/v1/things")
    assert (reply.status, reply.body, reply.ended) == (200, b"begun", False)


def test_a_body_beyond_the_limit_is_read_and_refused() -> None:
    small = app(echo, max_body_bytes=10)
    assert call(small, "POST", "/v1/things", [b"12345", b"67890"]).status == 200
    rest = [b"12345", b"678901", b"2345"]
    reply = call(small, "POST", "/v1/things", rest)
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    assert not rest, "a client that is still writing would not see the answer"


@pytest.mark.parametrize("headers", [{}, {"content-length": "25"}])
def test_a_body_far_beyond_the_limit_is_not_waited_for(headers: dict[str, str]) -> None:
    rest = [b"12345"] * 5 + [b"never read"]
    assert call(app(echo, max_body_bytes=10), "POST", "/v1/things", rest, headers=headers).status == 413
    assert rest


def test_a_compressed_body_is_refused() -> None:
    assert call(app(echo), "POST", "/v1/things", b"x", headers={"content-encoding": "zstd"}).status == 400


def test_the_log_has_one_line_for_each_request_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    guarded = app(echo, keys=Keys({hash_key("sk-secret"): "alice"}))
    call(guarded, "POST", "/v1/things?key=sk-secret", b"sk-secret body", key="sk-secret")
    call(guarded, "POST", "/v1/%0Aforged", key="sk-wrong-secret")
    assert [record.getMessage() for record in caplog.records] == [
        "POST /v1/things 200 0 ms owner=alice id=req_00000000000000000000000000000001",
        "POST /v1/%0Aforged 401 0 ms owner=- id=req_00000000000000000000000000000002 error=invalid_api_key",
    ]


def test_a_client_that_leaves_while_its_request_comes_is_nobodys_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": "/v1/things", "query_string": b"", "headers": []}
    asyncio.run(app(echo)(scope, receive, send))
    assert [record.getMessage().split()[2] for record in caplog.records] == ["499"]


def test_closing_gives_up_what_still_runs_and_waits_for_its_end() -> None:
    async def main() -> None:
        waiting, ended = asyncio.Event(), asyncio.Event()

        async def patient(exchange: Exchange) -> None:
            try:
                waiting.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.set()

        application = app(patient)
        request = asyncio.create_task(ask(application, "POST", "/v1/things"))
        await waiting.wait()
        await application.close()
        assert ended.is_set()
        assert (await request).error["code"] == "server_stopping"
        assert (await ask(application, "GET", "/healthz")).status == 503

    asyncio.run(main())


def test_requests_may_end_within_the_grace() -> None:
    async def main() -> None:
        waiting, go_on = asyncio.Event(), asyncio.Event()

        async def patient(exchange: Exchange) -> None:
            waiting.set()
            await go_on.wait()
            await exchange.respond(200, b"done")

        application = app(patient)
        request = asyncio.create_task(ask(application, "POST", "/v1/things"))
        await waiting.wait()
        closing = asyncio.create_task(application.close(grace_s=60))
        go_on.set()
        await closing
        assert (await request).body == b"done"

    asyncio.run(main())


def test_a_websocket_is_closed_with_a_reason() -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    asyncio.run(app(echo)({"type": "websocket"}, receive, send))
    assert sent[0]["type"] == "websocket.close"


def test_error_bodies_are_json_with_a_length() -> None:
    reply = call(app(limited), "POST", "/v1/things")
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert json.loads(reply.body)
