"""A chat provider turns whatever an upstream does into events, and always lets go of the connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from antiphon.errors import AntiphonError, ConnectFailed, ConnectionLost, InvalidEvent, ProviderError
from antiphon.events import ModelEvent, TextDelta, TextFinished, TurnFailed, TurnFinished
from antiphon.providers.base import ModelCall
from antiphon.providers.chat import ChatProvider
from antiphon.transport import HttpRequest
from antiphon.wire.responses import decode_request, input_items

HELLO = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class FakeResponse:
    """A response with given chunks; an exception among them is raised in its place."""

    def __init__(
        self, *chunks: bytes | Exception, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.status = status
        self.headers = headers
        self.read = 0
        self.closed = 0
        self._chunks = chunks

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.read += 1
            yield chunk

    async def close(self) -> None:
        self.closed += 1


class FakeTransport:
    """Answers with one response, or fails to connect."""

    def __init__(self, answer: FakeResponse | AntiphonError) -> None:
        self.answer = answer
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> FakeResponse:
        self.requests.append(request)
        if isinstance(self.answer, AntiphonError):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        pass


def ask(answer: FakeResponse | AntiphonError, **call: Any) -> list[list[ModelEvent]]:
    provider = ChatProvider("up", "http://up.invalid/v1/", FakeTransport(answer), api_key="sk-ours")

    async def collect() -> list[list[ModelEvent]]:
        return [batch async for batch in provider.stream(model_call(**call))]

    return asyncio.run(collect())


def model_call(**fields: Any) -> ModelCall:
    request = decode_request(b'{"model":"m","input":"hi"}')
    return ModelCall(model="m", request=request, items=input_items(request), **fields)


def test_the_first_batch_is_empty_and_says_that_the_call_was_accepted() -> None:
    batches = ask(FakeResponse(HELLO, END))
    assert batches[0] == []
    assert [type(event) for event in batches[-1]] == [TextFinished, TurnFinished]


def test_the_request_goes_to_the_base_url_with_our_key() -> None:
    transport = FakeTransport(FakeResponse(END))
    provider = ChatProvider("up", "http://up.invalid/v1/", transport, api_key="sk-ours", headers={"X-Team": "a"})

    async def ask_twice() -> None:
        for authorization in (None, "Bearer client"):
            async for _ in provider.stream(model_call(authorization=authorization)):
                pass

    asyncio.run(ask_twice())
    ours, forwarded = transport.requests
    assert (ours.method, ours.url) == ("POST", "http://up.invalid/v1/chat/completions")
    assert (ours.header("authorization"), forwarded.header("authorization")) == ("Bearer sk-ours", "Bearer client")
    assert ours.header("x-team") == "a"
    assert msgspec.json.decode(ours.body)["messages"] == [{"role": "user", "content": "hi"}]


def test_a_refused_key_is_a_failed_turn_with_the_upstreams_words_and_is_not_tried_again() -> None:
    body = b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}'
    ((*_, failed),) = ask(response := FakeResponse(body, status=401))
    assert isinstance(failed, TurnFailed)
    assert (failed.error.code, failed.error.status) == ("upstream_authentication_failed", 401)
    assert "Incorrect API key" in failed.error.message
    assert (failed.retryable, response.closed) == (False, 1)


def test_an_overloaded_upstream_may_be_asked_again() -> None:
    ((*_, failed),) = ask(FakeResponse(b"busy", status=503, headers=(("retry-after", "2"),)))
    assert isinstance(failed, TurnFailed)
    assert (failed.retryable, failed.error.retry_after_s) == (True, 2.0)


def test_no_connection_is_a_failed_turn_that_may_be_tried_again() -> None:
    ((failed,),) = ask(ConnectFailed("nobody listens"))
    assert isinstance(failed, TurnFailed)
    assert (failed.retryable, failed.error.code) == (True, "upstream_connect_failed")


def test_a_cut_stream_keeps_what_came_and_never_counts_as_finished() -> None:
    batches = ask(response := FakeResponse(HELLO, ConnectionLost("cut")))
    *_, closed, failed = batches[-1]
    assert any(isinstance(event, TextDelta) for batch in batches for event in batch)
    assert isinstance(closed, TextFinished)
    assert isinstance(failed, TurnFailed)
    assert (closed.status, failed.error.code, response.closed) == ("incomplete", "upstream_connection_lost", 1)


def test_a_finished_stream_is_read_to_its_end_so_that_the_connection_can_be_used_again() -> None:
    response = FakeResponse(HELLO, END, b": bye\n\n")
    assert isinstance(ask(response)[-1][-1], TurnFinished)
    assert response.read == 3


def test_a_reader_who_stops_lets_go_of_the_connection() -> None:
    response = FakeResponse(HELLO, HELLO, END)
    provider = ChatProvider("up", "http://up.invalid/v1", FakeTransport(response))

    async def stop_early() -> None:
        batches = provider.stream(model_call())
        await anext(batches)
        await anext(batches)
        await batches.aclose()

    asyncio.run(stop_early())
    assert (response.read, response.closed) == (1, 1)


def test_the_list_of_models_is_the_upstreams_own_or_an_error_that_names_it() -> None:
    def models(answer: FakeResponse) -> Any:
        return asyncio.run(ChatProvider("up", "http://up.invalid/v1", FakeTransport(answer)).models())

    assert models(FakeResponse(b'{"data":[{"id":"a"}]}')) == [{"id": "a"}]
    with pytest.raises(InvalidEvent, match="up"):
        models(FakeResponse(b"<html>"))
    with pytest.raises(ProviderError):
        models(FakeResponse(b"no", status=500))
