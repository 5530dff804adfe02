import asyncio

from asgi_client import Reply, ask
from fakes import FakeProvider

from antiphon.agent.loop import Target
from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import ConnectFailed, ModelNotFound
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.models import CACHE_S, Models

DOWN = ConnectFailed("Cannot connect to http://127.0.0.1:9: refused.")


def app(*providers: FakeProvider, clock: FakeClock | None = None, **named: str) -> App:
    clock = clock or FakeClock()

    def resolve(model: str) -> list[Target]:
        """As routing does: an upstream's name before a slash, or the first upstream there is."""
        first, _, rest = model.partition("/")
        by_name = {provider.name: provider for provider in providers}
        if rest and first in by_name:
            return [Target(by_name[first], rest)]
        if model == "refused":
            raise ModelNotFound(model)
        return [Target(providers[0], model)]

    return App(
        Models(providers, resolve, clock, named=lambda: named or {}).routes(),
        keys=Keys({}),
        clock=clock,
        ids=CountingIds(),
    )


def get(application: App, path: str = "/v1/models") -> Reply:
    return asyncio.run(ask(application, "GET", path))


def test_the_lists_of_all_upstreams_are_one() -> None:
    listed = [{"id": "a", "object": "model", "created": 7, "owned_by": "x", "extra": True}, {"name": "no id"}]
    assert get(app(FakeProvider("one", listed=listed), fast="one")).json == {
        "object": "list",
        "data": [
            {"id": "fast", "object": "model", "created": 0, "owned_by": "one"},
            {"id": "a", "object": "model", "created": 7, "owned_by": "x", "extra": True},
        ],
    }


def test_a_model_is_listed_under_the_name_that_leads_to_it() -> None:
    first = FakeProvider("one", listed=[{"id": "a"}, {"id": "two/x"}, {"id": "refused"}])
    second = FakeProvider("two", listed=[{"id": "a"}, {"id": "b"}])
    listed = get(app(first, second)).json["data"]
    assert [model["id"] for model in listed] == ["a", "one/two/x", "one/refused", "two/a", "two/b"]


def test_an_upstream_that_is_down_is_said_beside_the_others_models() -> None:
    listing = get(app(FakeProvider("one", listed=DOWN), FakeProvider("two", listed=[{"id": "b"}]))).json
    assert [model["id"] for model in listing["data"]] == ["two/b"]
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
