import asyncio
from typing import Any, Literal

import pytest
from asgi_client import Reply, ask
from fakes import FakeProvider, FakeResponse

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.config import Repair
from antiphon.errors import CassetteMismatch, ConnectFailed, ConnectionLost, ModelNotFound
from antiphon.events import ErrorInfo, TurnFailed
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.chat import Chat
from antiphon.server.passthrough import Passthrough
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import text_turn

PATH = "/v1/chat/completions"
STREAM = (b'data: {"choices":[]}\n\n', b"data: [DO", b"NE]\n\n")


def app(*targets: Target, forward_auth: bool = False, repair: dict[str, Repair] | None = None) -> App:
    def resolve(model: str) -> list[Target]:
        if model != "m":
            raise ModelNotFound(model)
        return list(targets)

    ids, clock = CountingIds(), FakeClock()
    runner = Runner(store=SqliteStore.open(None, clock=clock), resolve=resolve, clock=clock, ids=ids)
    passthrough = Passthrough(
        resolve, targets[0].provider if targets else FakeProvider(), ids, forward_auth=forward_auth
    )
    chat = Chat(
        runner,
        passthrough,
        resolve,
        repair_of=lambda target: (repair or {}).get(target.provider.name, "auto"),
        forward_auth=forward_auth,
    )
    return App(chat.routes(), keys=Keys({}), clock=clock, ids=ids, forward_auth=forward_auth)


def post(application: App, body: Any = None, **options: Any) -> Reply:
    return asyncio.run(ask(application, "POST", PATH, body or {"model": "m"}, **options))


def test_bytes_go_in_and_out_as_they_are() -> None:
    upstream = FakeProvider(answers=[FakeResponse(*STREAM)])
    sent = b'{ "messages":[], "unknown" : 1e2, "model":"m","stream":true}'
    reply = post(app(Target(upstream, "m")), sent)
    assert reply.writes == [*STREAM, b""]
    assert (reply.status, reply.ended) == (200, True)
    asked = upstream.forwarded[0]
    assert (asked.method, asked.url, asked.body) == ("POST", "/chat/completions", sent)
    assert asked.interaction.startswith("int_")


def test_a_renamed_model_changes_nothing_else_in_the_request() -> None:
    upstream = FakeProvider(answers=[FakeResponse()])
    post(app(Target(upstream, "vendor/m-1")), b'{"model":"m", "temperature": 1.0e0,"n":18446744073709551617}')
    assert upstream.forwarded[0].body == b'{"model":"vendor/m-1","temperature":1.0e0,"n":18446744073709551617}'


def test_the_upstreams_status_and_headers_come_through_but_not_its_connections() -> None:
    headers = (
        ("content-type", "application/json"),
        ("x-ratelimit-remaining-tokens", "17"),
        ("x-request-id", "up-1"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a=b"),
        ("server", "llama.cpp"),
    )
    reply = post(app(Target(FakeProvider(answers=[FakeResponse(b"{}", status=418, headers=headers)]), "m")))
    assert (reply.status, reply.body) == (418, b"{}")
    assert reply.headers == {
        "content-type": "application/json",
        "x-ratelimit-remaining-tokens": "17",
        "x-upstream-request-id": "up-1",
        "x-request-id": "req_00000000000000000000000000000001",
    }


def test_a_cut_upstream_is_a_cut_answer() -> None:
    response = FakeResponse(b"data: 1\n\n", ConnectionLost("cut"))
    reply = post(app(Target(FakeProvider(answers=[response]), "m")))
    assert (reply.writes, reply.ended) == ([b"data: 1\n\n"], False)
    assert response.closed


def test_a_client_that_leaves_closes_the_upstream() -> None:
    async def main() -> None:
        leave = asyncio.Event()
        response = FakeResponse(b"data: 1\n\n", asyncio.Event())
        application = app(Target(FakeProvider(answers=[response]), "m"))
        asking = asyncio.create_task(ask(application, "POST", PATH, {"model": "m"}, leave=leave))
        leave.set()
        await asking
        assert response.closed

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"", b"nope", b'{"model": "m"', b"[]", b"{}", b'{"model": 1}', b'{"model": null}'])
def test_a_request_without_a_readable_model_is_refused_here(body: bytes) -> None:
    reply = post(app(Target(FakeProvider(), "m")), body or b" ")
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")


def test_an_unknown_model_is_404() -> None:
    reply = post(app(), {"model": "gpt-9"})
    assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("error", "status"), [(ConnectFailed("nobody there"), 502), (CassetteMismatch("not recorded"), 422)]
)
def test_an_upstream_that_gives_no_answer_is_told_by_the_table(error: Any, status: int) -> None:
    reply = post(app(Target(FakeProvider(answers=[error]), "m")))
    assert (reply.status, reply.error["code"]) == (status, error.code)


@pytest.mark.parametrize("trouble", [ConnectFailed("down"), FakeResponse(status=503), FakeResponse(status=429)])
def test_a_fallback_is_asked_before_anything_is_shown(trouble: Any) -> None:
    first, second = FakeProvider(answers=[trouble]), FakeProvider(answers=[FakeResponse(b"ok")])
    reply = post(app(Target(first, "m"), Target(second, "m-2")))
    assert (reply.status, reply.body) == (200, b"ok")
    assert second.forwarded[0].body == b'{"model":"m-2"}'


def test_the_last_targets_trouble_is_passed_on_as_it_is() -> None:
    full = FakeResponse(b"full", status=429, headers=(("retry-after", "7"),))
    reply = post(
        app(Target(FakeProvider(answers=[ConnectFailed("down")]), "m"), Target(FakeProvider(answers=[full]), "m"))
    )
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (429, b"full", "7")


def test_a_clients_key_goes_upstream_only_when_asked_to() -> None:
    kept, forwarded = FakeProvider(answers=[FakeResponse()]), FakeProvider(answers=[FakeResponse()])
    post(app(Target(kept, "m")), key="sk-client")
    post(app(Target(forwarded, "m"), forward_auth=True), key="sk-client")
    assert kept.forwarded[0].header("authorization") is None
    assert forwarded.forwarded[0].header("authorization") == "Bearer sk-client"


def test_our_key_being_refused_is_not_the_clients_fault_unless_it_was_theirs() -> None:
    def refused() -> FakeProvider:
        return FakeProvider(answers=[FakeResponse(b"Incorrect API key: sk-serv***", status=401)])

    ours = post(app(Target(refused(), "m")))
    assert (ours.status, ours.error["code"]) == (502, "upstream_authentication_failed")
    assert b"sk-serv" not in ours.body
    assert post(app(Target(refused(), "m"), forward_auth=True)).status == 401


STORED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "store": True}


@pytest.mark.parametrize(
    ("first", "second", "body", "is_run"),
    [
        ("auto", "auto", {"model": "m", "messages": []}, False),
        ("auto", "auto", STORED, True),
        ("never", "auto", STORED, True),
        ("never", "never", STORED, False),
        ("never", "always", {**STORED, "store": False}, True),
    ],
)
def test_all_targets_of_a_model_are_treated_as_one_of_them_needs(
    first: Repair, second: Repair, body: dict[str, Any], is_run: bool
) -> None:
    providers = [FakeProvider(name, turns=[text_turn("x")], answers=[FakeResponse(b"raw")]) for name in ("a", "b")]
    targets = [Target(provider, "m") for provider in providers]
    reply = post(app(*targets, repair={"a": first, "b": second}), body)
    assert (reply.status, reply.body != b"raw") == (200, is_run)


def test_a_run_falls_back_too_and_is_shown_under_the_name_that_was_asked_for() -> None:
    failed = [[TurnFailed(turn=0, error=ErrorInfo(code="upstream_connect_failed", message="down"), retryable=True)]]
    first, second = FakeProvider("a", turns=[failed]), FakeProvider("b", turns=[text_turn("hello")])
    reply = post(app(Target(first, "m-1"), Target(second, "m-2")), STORED)
    assert (reply.status, reply.json["model"]) == (200, "m")
    assert second.calls[0].model == "m-2"


class Silence(asyncio.Event):
    """An event that never comes; whoever begins to wait for it makes the client leave."""

    def __init__(self, leave: asyncio.Event) -> None:
        super().__init__()
        self._leave = leave

    async def wait(self) -> Literal[True]:
        self._leave.set()
        return await super().wait()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_a_run_cancels_its_upstream(stream: bool) -> None:
    async def main() -> None:
        leave = asyncio.Event()
        upstream = FakeProvider(turns=[[*text_turn("hello")[:3], Silence(leave)]])
        reply = await ask(app(Target(upstream, "m")), "POST", PATH, {**STORED, "stream": stream}, leave=leave)
        assert not reply.ended
        assert upstream.gone.is_set()

    asyncio.run(main())
