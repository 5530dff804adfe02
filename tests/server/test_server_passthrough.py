"""Every path that is not ours goes to the upstream as it is, and its answer comes back as it is."""

import asyncio
from typing import Any

import pytest
from asgi_client import Reply, ask
from fakes import FakeProvider, FakeResponse

from antiphon.agent.loop import Target
from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import ModelNotFound
from antiphon.server.app import App, route
from antiphon.server.auth import Keys
from antiphon.server.exchange import Exchange
from antiphon.server.passthrough import OWN, Passthrough

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    b'\x00\xff"model":"no"\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n'
    b'--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n--b--\r\n'
)


async def own(exchange: Exchange) -> None:
    await exchange.respond_json("ours")


def app(*providers: FakeProvider) -> App:
    """The first provider is the default; ``m`` is its model, ``alias`` stands for ``real`` of the last."""
    ids = CountingIds()

    def resolve(model: str) -> list[Target]:
        targets = {"m": Target(providers[0], "m"), "alias": Target(providers[-1], "real")}
        if model not in targets:
            raise ModelNotFound(model)
        return [targets[model]]

    routes = [route("POST", "/v1/responses", own), *Passthrough(resolve, providers[0], ids).routes()]
    return App(routes, keys=Keys({}), clock=FakeClock(), ids=ids)


def call(application: App, method: str, path: str, body: Any = b"", **options: Any) -> Reply:
    return asyncio.run(ask(application, method, path, body, **options))


def test_embeddings_go_there_and_back_byte_for_byte() -> None:
    upstream = FakeProvider(
        answers=[FakeResponse(b'{"data" :', b" []}", headers=(("content-type", "application/json"),))]
    )
    sent = b'{ "model":"m",  "input": ["\\u00e9"], "dimensions":1e2 }'
    reply = call(app(upstream), "POST", "/v1/embeddings?x=1&y=%2F", sent)
    assert (reply.status, reply.writes) == (200, [b'{"data" :', b" []}", b""])
    asked = upstream.forwarded[0]
    assert (asked.method, asked.url, asked.body) == ("POST", "/embeddings?x=1&y=%2F", sent)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_and_any_path_below_goes_to_the_default_upstream(method: str) -> None:
    upstream, other = FakeProvider(answers=[FakeResponse(status=204)]), FakeProvider()
    assert call(app(upstream, other), method, "/v1/fine_tuning/jobs/a%20b").status == 204
    assert (upstream.forwarded[0].method, upstream.forwarded[0].url) == (method, "/fine_tuning/jobs/a%20b")


def test_the_body_says_which_upstream_and_an_alias_is_written_out() -> None:
    first, second = FakeProvider(), FakeProvider(answers=[FakeResponse(b"ok")])
    assert call(app(first, second), "POST", "/v1/completions", b'{"prompt":"p", "model":"alias","n":1.0}').body == b"ok"
    assert second.forwarded[0].body == b'{"prompt":"p","model":"real","n":1.0}'


@pytest.mark.parametrize(("named", "sent"), [(b"m", b"m"), (b"alias", b"real")])
def test_a_form_names_its_model_in_a_field_and_keeps_every_other_byte(named: bytes, sent: bytes) -> None:
    upstream = FakeProvider(answers=[FakeResponse()])
    kind = "multipart/form-data; boundary=b"
    call(app(upstream), "POST", "/v1/audio/transcriptions", FORM % named, headers={"content-type": kind})
    assert upstream.forwarded[0].body == FORM % sent
    assert upstream.forwarded[0].header("content-type") == kind


def test_a_body_nobody_can_read_is_the_upstreams_to_judge() -> None:
    upstream = FakeProvider(answers=[FakeResponse(status=400)])
    assert call(app(upstream), "POST", "/v1/things", b'{"model": "m"').status == 400
    assert upstream.forwarded[0].body == b'{"model": "m"'


def test_an_unknown_model_is_404_as_elsewhere() -> None:
    reply = call(app(FakeProvider()), "POST", "/v1/embeddings", {"model": "gpt-9"})
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


def test_a_request_takes_along_what_says_something_of_it_and_nothing_of_its_client() -> None:
    upstream = FakeProvider(answers=[FakeResponse()])
    sent = {"accept": "audio/*", "range": "bytes=0-9", "cookie": "a=b", "x-secret": "s", "connection": "close"}
    call(app(upstream), "GET", "/v1/things", headers=sent, key="sk-client")
    assert dict(upstream.forwarded[0].headers) == {"accept": "audio/*", "range": "bytes=0-9"}


@pytest.mark.parametrize(
    "path",
    [
        *(f"/v1/{name}/x" for name in sorted(OWN)),
        "/v1/files",
        "/v1/%66iles",
        "/v1/chat/other",
        "/v1/things/../files",
        "/v1/..",
        "/v1/./x",
        "/v1//files",
        "/v1/",
        "/v2/embeddings",
    ],
)
def test_a_path_that_is_ours_or_leads_elsewhere_never_reaches_an_upstream(path: str) -> None:
    upstream = FakeProvider()
    reply = call(app(upstream), "GET", path)
    assert (reply.status, reply.error["code"]) == (404, "unknown_url")
    assert not upstream.forwarded


def test_a_wrong_method_on_a_path_of_ours_is_still_told_as_such() -> None:
    assert call(app(FakeProvider()), "PUT", "/v1/responses").status == 405


def test_a_client_that_leaves_closes_the_upstream() -> None:
    async def main() -> None:
        leave = asyncio.Event()
        response = FakeResponse(b"1", asyncio.Event())
        application = app(FakeProvider(answers=[response]))
        asking = asyncio.create_task(ask(application, "GET", "/v1/things", leave=leave))
        leave.set()
        await asking
        assert response.closed

    asyncio.run(main())
