"""The server as the openai package sees it: over a real socket, with its own classes of errors."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import openai
import pytest
from fakes import FakeProvider, FakeResponse

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, SystemClock
from antiphon.config import hash_key
from antiphon.errors import ConnectFailed, ModelNotFound
from antiphon.events import ErrorInfo, TurnFailed
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.chat import Chat
from antiphon.server.conversations import Conversations
from antiphon.server.models import Models
from antiphon.server.passthrough import Passthrough
from antiphon.server.responses import Responses
from antiphon.server.serving import Server, listen
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import text_turn, tool_turn


def application(provider: FakeProvider) -> App:
    def resolve(model: str) -> list[Target]:
        if model != "m":
            raise ModelNotFound(model)
        return [Target(provider, model)]

    clock, ids = SystemClock(), CountingIds()
    store = SqliteStore.open(None, clock=clock)
    runner = Runner(store=store, resolve=resolve, clock=clock, ids=ids)
    routes = [
        *Responses(runner, store).routes(),
        *Conversations(store, ids).routes(),
        *Chat(runner, Passthrough(resolve, provider, ids), resolve).routes(),
        *Models([provider], resolve, clock).routes(),
    ]
    return App(routes, keys=Keys({hash_key("sk-test"): "tester"}), clock=clock, ids=ids)


class Sdk(NamedTuple):
    """The SDK, connected over loopback to a server whose upstream is this script."""

    client: openai.OpenAI
    upstream: FakeProvider
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    upstream = FakeProvider(listed=[{"id": "m"}])
    sockets = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(application(upstream), ready.set)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve(sockets)))
    thread.start()
    try:
        assert ready.wait(5)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1"
        with openai.OpenAI(base_url=url, api_key="sk-test", max_retries=0, timeout=10) as client:
            yield Sdk(client, upstream, loop)
    finally:
        server.should_exit = True
        thread.join()
        loop.close()


def test_a_streamed_response_passes_the_sdks_own_accumulator(sdk: Sdk) -> None:
    sdk.upstream.turns = [tool_turn(("call_1", "add", '{"a":2,"b":3}'), ("call_2", "multiply", '{"a":2,"b":3}'))]
    with sdk.client.responses.stream(model="m", input="hi") as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert types[-1] == "response.completed"
    assert [(item.name, item.arguments) for item in final.output if item.type == "function_call"] == [
        ("add", '{"a":2,"b":3}'),
        ("multiply", '{"a":2,"b":3}'),
    ]
    found = sdk.client.responses.retrieve(final.id)
    assert [item.id for item in found.output] == [item.id for item in final.output]
    sdk.client.responses.delete(final.id)
    with pytest.raises(openai.NotFoundError):
        sdk.client.responses.retrieve(final.id)


def test_a_response_that_is_not_streamed_arrives_whole(sdk: Sdk) -> None:
    sdk.upstream.turns = [text_turn("hel", "lo")]
    response = sdk.client.responses.create(model="m", input="hi")
    assert (response.status, response.output_text) == ("completed", "hello")
    assert response._request_id is not None


def test_chat_completions_pass_through_streamed(sdk: Sdk) -> None:
    chunk = b'data: {"id":"1","object":"chat.completion.chunk","created":0,"model":"m","choices":[%s]}\n\n'
    pieces = [chunk % (b'{"index":0,"delta":{"content":"%s"}}' % text) for text in (b"he", b"llo")]
    sdk.upstream.answers = [FakeResponse(*pieces, b"data: [DONE]\n\n")]
    stream = sdk.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert [part.choices[0].delta.content for part in stream] == ["he", "llo"]


def test_models_are_listed_and_found(sdk: Sdk) -> None:
    assert [model.id for model in sdk.client.models.list()] == ["m"]
    assert sdk.client.models.retrieve("m").owned_by == "fake"
    with pytest.raises(openai.NotFoundError):
        sdk.client.models.retrieve("gpt-9")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("rate_limit_exceeded", openai.RateLimitError),
        ("context_length_exceeded", openai.BadRequestError),
        ("upstream_connect_failed", openai.InternalServerError),
        ("upstream_authentication_failed", openai.InternalServerError),
        ("cassette_mismatch", openai.UnprocessableEntityError),
    ],
)
def test_upstream_failures_are_the_sdks_classes(
    sdk: Sdk, code: str, expected: type[openai.APIStatusError], stream: bool
) -> None:
    sdk.upstream.turns = [[[TurnFailed(turn=0, error=ErrorInfo(code=code, message="no"))]]]
    with pytest.raises(expected) as caught:
        sdk.client.responses.create(model="m", input="hi", stream=stream)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"model": "gpt-9", "input": "hi"}, openai.NotFoundError),
        ({"model": "m", "input": 7}, openai.BadRequestError),
        ({"model": "m", "input": "hi", "background": True, "store": False}, openai.BadRequestError),
        ({"model": "m", "input": "hi", "previous_response_id": "resp_0"}, openai.BadRequestError),
    ],
)
def test_wrong_requests_are_the_sdks_classes(
    sdk: Sdk, request_: dict[str, Any], expected: type[openai.APIStatusError]
) -> None:
    with pytest.raises(expected) as caught:
        sdk.client.responses.create(**request_)
    assert caught.value.type == "invalid_request_error"


def test_a_wrong_key_is_an_authentication_error(sdk: Sdk) -> None:
    with pytest.raises(openai.AuthenticationError):
        sdk.client.with_options(api_key="sk-wrong").responses.create(model="m", input="hi")


def test_an_upstream_that_is_down_is_a_server_error_in_passthrough_too(sdk: Sdk) -> None:
    sdk.upstream.answers = [ConnectFailed("down")]
    with pytest.raises(openai.InternalServerError):
        sdk.client.chat.completions.create(model="m", messages=[])


def test_closing_the_clients_stream_cancels_the_upstream(sdk: Sdk) -> None:
    sdk.upstream.turns = [[*text_turn("hello")[:3], asyncio.Event()]]
    sdk.upstream.gone.clear()
    stream = sdk.client.responses.create(model="m", input="hi", stream=True)
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    assert not sdk.upstream.gone.is_set()
    stream.close()
    assert sdk.upstream.gone.wait(5)


# --- in the background ------------------------------------------------------------------------


def ended(sdk: Sdk, response_id: str) -> Any:
    """The response, as the documentation says to wait for it."""
    for _ in range(500):
        response = sdk.client.responses.retrieve(response_id)
        if response.status not in ("queued", "in_progress"):
            return response
        time.sleep(0.01)
    raise AssertionError(f"{response_id} does not end")


def test_a_background_response_is_created_polled_and_read_again(sdk: Sdk) -> None:
    sdk.upstream.turns = [text_turn("he", "llo")]
    queued = sdk.client.responses.create(model="m", input="hi", background=True)
    assert (queued.status, queued.background) == ("queued", True)
    response = ended(sdk, queued.id)
    assert (response.status, response.output_text) == ("completed", "hello")
    events = list(sdk.client.responses.retrieve(queued.id, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    rest = list(sdk.client.responses.retrieve(queued.id, stream=True, starting_after=4))
    assert rest == events[5:]


def test_a_background_stream_that_was_dropped_is_taken_up_by_the_sdks_own_helper(sdk: Sdk) -> None:
    go_on = asyncio.Event()
    sdk.upstream.turns = [[*text_turn("he", "llo")[:3], go_on, *text_turn("he", "llo")[3:]]]
    seen = []
    with sdk.client.responses.create(model="m", input="hi", background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    sdk.loop.call_soon_threadsafe(go_on.set)
    response_id, last = seen[0].response.id, seen[-1].sequence_number
    with sdk.client.responses.stream(response_id=response_id, starting_after=last) as stream:
        rest = list(stream)
        assert stream.get_final_response().output_text == "hello"
    assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    assert rest[-1].type == "response.completed"


def test_a_background_response_is_cancelled(sdk: Sdk) -> None:
    sdk.upstream.turns = [[*text_turn("hello")[:3], asyncio.Event()]]
    sdk.upstream.gone.clear()
    created = sdk.client.responses.create(model="m", input="hi", background=True)
    assert sdk.client.responses.cancel(created.id).status == "cancelled"
    assert sdk.client.responses.cancel(created.id).status == "cancelled"
    sdk.upstream.turns = [text_turn("hello")]
    made = sdk.client.responses.create(model="m", input="hi")
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        sdk.client.responses.cancel(made.id)
