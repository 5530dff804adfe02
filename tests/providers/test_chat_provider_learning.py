"""A provider asks again in the form a refusal asks for, before anything was shown, and remembers it for the model."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from antiphon.dialects import ChatRules, Dialect
from antiphon.events import Diagnostic, ModelEvent, TurnFailed, TurnFinished
from antiphon.providers.base import ModelCall
from antiphon.providers.chat import ChatProvider
from antiphon.transport import HttpRequest
from antiphon.wire.responses import decode_request, input_items

ANSWER = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

Body = dict[str, Any]
# What an upstream says against a request; None if nothing.
Objection = Callable[[Body], str | None]


class FakeResponse:
    """A whole body at once."""

    headers = ()

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.is_closed = False
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def close(self) -> None:
        self.is_closed = True


class StrictUpstream:
    """Refuses what any of its objections is against, one at a time."""

    def __init__(self, *objections: Objection, status: int = 400) -> None:
        self.bodies: list[Body] = []
        self.responses: list[FakeResponse] = []
        self._objections = objections
        self._status = status

    async def send(self, request: HttpRequest) -> FakeResponse:
        body = json.loads(request.body)
        self.bodies.append(body)
        said = next((said for objection in self._objections if (said := objection(body))), None)
        refused = json.dumps({"error": {"message": said}}).encode()
        response = FakeResponse(self._status, refused) if said else FakeResponse(200, ANSWER)
        self.responses.append(response)
        return response

    async def close(self) -> None:
        pass


def against(key: str, said: str) -> Objection:
    return lambda body: said if key in body else None


NO_STREAM_OPTIONS = against("stream_options", "Unknown parameter: stream_options")
NO_SEED = against("seed", "Unknown parameter: seed")
NEW_LIMIT = against("max_tokens", "Unsupported parameter: max_tokens. Use max_completion_tokens instead.")


def ask(provider: ChatProvider, model: str = "m", **parameters: Any) -> list[ModelEvent]:
    """All events of one call; the first batch must be the one that says it was accepted."""
    request = decode_request(json.dumps({"model": model, "input": "hi", **parameters}).encode())
    call = ModelCall(model=model, request=request, items=input_items(request))

    async def collect() -> list[ModelEvent]:
        return [event async for batch in provider.stream(call) for event in batch]

    return asyncio.run(collect())


def quirks(events: list[ModelEvent]) -> list[str]:
    return [event.quirk for event in events if isinstance(event, Diagnostic)]


def test_what_is_refused_is_left_out_and_remembered_for_the_model() -> None:
    upstream = StrictUpstream(NO_STREAM_OPTIONS)
    provider = ChatProvider("up", "http://up/v1", upstream)
    events = ask(provider)
    assert isinstance(events[-1], TurnFinished)
    assert quirks(events) == ["Q80"]
    assert quirks(ask(provider)) == []
    assert ["stream_options" in body for body in upstream.bodies] == [True, False, False]


def test_it_is_told_what_was_seen_and_done() -> None:
    first = ask(ChatProvider("up", "http://up/v1", StrictUpstream(NO_STREAM_OPTIONS, status=422)))[0]
    assert isinstance(first, Diagnostic)
    assert "422" in first.seen
    assert "stream_options" in first.seen
    assert "remembered" in first.done


def test_what_one_model_refuses_another_may_take() -> None:
    upstream = StrictUpstream(lambda body: NEW_LIMIT(body) if body["model"] == "o4" else None)
    provider = ChatProvider("up", "http://up/v1", upstream)
    for model in ("o4", "gpt-4o", "o4"):
        ask(provider, model, max_output_tokens=20)
    keys = [(body["model"], "max_completion_tokens" in body) for body in upstream.bodies]
    assert keys == [("o4", False), ("o4", True), ("gpt-4o", False), ("o4", True)]


def test_one_refusal_after_the_other_is_learned_from() -> None:
    upstream = StrictUpstream(NO_STREAM_OPTIONS, NO_SEED, NEW_LIMIT)
    provider = ChatProvider("up", "http://up/v1", upstream)
    events = ask(provider, seed=3, max_output_tokens=20)
    # The parameter of the client that is not sent is disclosed on its own.
    assert quirks(events) == ["Q80", "Q106", "Q100", "Q106"]
    assert len(upstream.bodies) == 4
    ask(provider, seed=3, max_output_tokens=20)
    assert len(upstream.bodies) == 5


def test_a_lesson_that_does_not_help_is_not_remembered_and_the_last_refusal_is_the_failure() -> None:
    upstream = StrictUpstream(NO_STREAM_OPTIONS, lambda _: "the model is on fire")
    provider = ChatProvider("up", "http://up/v1", upstream)
    for _ in range(2):
        failed = ask(provider)[-1]
        assert isinstance(failed, TurnFailed)
        assert failed.error.message == "the model is on fire"
    assert ["stream_options" in body for body in upstream.bodies] == [True, False, True, False]


def test_an_upstream_that_is_never_content_is_asked_five_times_at_most() -> None:
    wanted = {"max_tokens": "max_tokens is unknown, max_completion_tokens is not"}
    wanted["max_completion_tokens"] = "max_completion_tokens is unknown"
    upstream = StrictUpstream(*(against(key, said) for key, said in wanted.items()))
    events = ask(ChatProvider("up", "http://up/v1", upstream), max_output_tokens=20)
    assert isinstance(events[-1], TurnFailed)
    assert len(upstream.bodies) == 5


def test_every_answer_is_let_go_of() -> None:
    upstream = StrictUpstream(NO_STREAM_OPTIONS, NO_SEED)
    ask(ChatProvider("up", "http://up/v1", upstream), seed=3)
    assert [response.is_closed for response in upstream.responses] == [True] * 3


def test_a_refusal_that_is_being_read_is_let_go_of_by_who_gives_up() -> None:
    class Endless(FakeResponse):
        async def chunks(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

    response = Endless(400, b"")

    class Upstream(StrictUpstream):
        async def send(self, request: HttpRequest) -> FakeResponse:
            return response

    async def give_up() -> None:
        request = decode_request(b'{"model":"m","input":"hi"}')
        call = ModelCall(model="m", request=request, items=input_items(request))
        reading = asyncio.ensure_future(anext(ChatProvider("up", "http://up/v1", Upstream()).stream(call)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(give_up())
    assert response.is_closed


def test_the_dialect_is_that_of_the_model() -> None:
    upstream = StrictUpstream()
    new, old = Dialect(requests=ChatRules(max_tokens_key="max_completion_tokens")), Dialect()
    provider = ChatProvider("up", "http://up/v1", upstream, dialect_of={"new": new, "old": old}.__getitem__)
    for model in ("new", "old"):
        ask(provider, model, max_output_tokens=20)
    assert ["max_completion_tokens" in body for body in upstream.bodies] == [True, False]


def test_what_was_learned_goes_before_what_the_dialect_says() -> None:
    upstream = StrictUpstream(against("max_completion_tokens", "extra_forbidden: max_completion_tokens"))
    dialect = Dialect(requests=ChatRules(max_tokens_key="max_completion_tokens"))
    provider = ChatProvider("up", "http://up/v1", upstream, dialect_of=lambda _: dialect)
    ask(provider, max_output_tokens=20)
    ask(provider, max_output_tokens=20)
    assert ["max_tokens" in body for body in upstream.bodies] == [False, True, True]
