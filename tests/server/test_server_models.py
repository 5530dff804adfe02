import asyncio

from asgi_client import Reply, ask
from fakes import FakeProvider

from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import ConnectFailed
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.models import CACHE_S, Models

DOWN = ConnectFailed("Cannot connect to http://127.0.0.1:9: refused.")


def app(*providers: FakeProvider, clock: FakeClock | None = None, **named: str) -> App:
    clock = clock or FakeClock()
    return App(Models(providers, clock, named=named).routes(), keys=Keys({}), clock=clock, ids=CountingIds())


def get(application: App, path: str = "/v1/models") -> Reply:
    return asyncio.run(ask(application, "GET", path))


def test_the_lists_of_all_upstreams_are_one_and_the_first_to_have_a_name_keeps_it() -> None:
    first = FakeProvider("one", listed=[{"id": "a", "object": "model", "created": 7, "owned_by": "x", "extra": True}])
    second = FakeProvider("two", listed=[{"id": "a"}, {"id": "b"}, {"name": "no id"}])
    assert get(app(first, second, fast="one")).json == {
        "object": "list",
        "data": [
            {"id": "fast", "object": "model", "created": 0, "owned_by": "one"},
            {"id": "a", "object": "model", "created": 7, "owned_by": "x", "extra": True},
            {"id": "b", "object": "model", "created": 0, "owned_by": "two"},
        ],
    }


def test_an_upstream_that_is_down_is_said_beside_the_others_models() -> None:
    listing = get(app(FakeProvider("one", listed=DOWN), FakeProvider("two", listed=[{"id": "b"}]))).json
    assert [model["id"] for model in listing["data"]] == ["b"]
    assert listing["failures"] == [{"upstream": "one", "code": DOWN.code, "message": DOWN.message}]


def test_no_list_at_all_is_the_upstreams_error() -> None:
    reply = get(app(FakeProvider(listed=DOWN)))
    assert (reply.status, reply.error["code"]) == (502, DOWN.code)


def test_one_model_is_found_by_its_id_slashes_and_all() -> None:
    application = app(FakeProvider(listed=[{"id": "org/model"}]))
    assert get(application, "/v1/models/org/model").json["id"] == "org/model"
    missing = get(application, "/v1/models/org/other")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert "org/model" in missing.error["message"]


def test_upstreams_are_asked_again_only_after_a_while() -> None:
    async def main() -> None:
        clock, provider = FakeClock(), FakeProvider(listed=[{"id": "a"}])
        application = app(provider, clock=clock)
        for _ in range(3):
            await ask(application, "GET", "/v1/models")
        assert provider.times_listed == 1
        clock.advance(CACHE_S)
        await ask(application, "GET", "/v1/models")
        assert provider.times_listed == 2

    asyncio.run(main())
