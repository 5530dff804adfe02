"""An upstream that speaks the Responses API itself, asked over a transport: items there, events back, nothing lost."""

import asyncio
from typing import Any

import msgspec
from test_chat_provider import FakeResponse

from antiphon.events import Diagnostic, ModelEvent, ReasoningFinished, TextDelta, TurnFailed, TurnFinished
from antiphon.providers.base import ModelCall
from antiphon.providers.responses import ResponsesProvider
from antiphon.rendering.items import output_items
from antiphon.transport import HttpRequest
from antiphon.wire.responses import decode_request, input_items

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "opaque"}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}


def answered(*output: dict[str, Any]) -> FakeResponse:
    whole = {"id": "resp_up", "object": "response", "status": "completed", "model": "up", "output": output}
    ended = {"type": "response.completed", "response": whole}
    return FakeResponse(b"event: response.completed\ndata: " + msgspec.json.encode(ended) + b"\n\n")


def refused(message: str, param: str) -> FakeResponse:
    error = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}
    return FakeResponse(msgspec.json.encode(error), status=400)


class Answers:
    """A transport that gives these responses, one after the other."""

    def __init__(self, *answers: FakeResponse) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> FakeResponse:
        self.requests.append(request)
        return self.answers.pop(0)

    async def close(self) -> None:
        pass

    @property
    def bodies(self) -> list[Any]:
        return [msgspec.json.decode(request.body) for request in self.requests]


def ask(provider: ResponsesProvider, *calls: ModelCall) -> list[ModelEvent]:
    async def collect() -> list[ModelEvent]:
        return [
            event for call in calls for events in [batch async for batch in provider.stream(call)] for event in events
        ]

    return asyncio.run(collect())


def call(**request: Any) -> ModelCall:
    decoded = decode_request(msgspec.json.encode({"model": "m", "input": "hi", **request}))
    return ModelCall(model="m", request=decoded, items=input_items(decoded))


def test_an_answer_comes_from_responses_and_is_read_as_events() -> None:
    transport = Answers(answered(THOUGHT, MESSAGE))
    events = ask(ResponsesProvider("up", "https://up.invalid/v1/", transport, api_key="sk-ours"), call())
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["hi"]
    assert isinstance(events[-1], TurnFinished)
    (request,) = transport.requests
    assert (request.url, request.header("authorization")) == ("https://up.invalid/v1/responses", "Bearer sk-ours")


def test_sealed_reasoning_makes_the_round_trip_through_our_items() -> None:
    from antiphon.events import RunStarted, TurnStarted

    transport = Answers(answered(THOUGHT, MESSAGE), answered(MESSAGE))
    provider = ResponsesProvider("up", "https://up.invalid/v1", transport)
    first = ask(provider, call())
    assert [event.details for event in first if isinstance(event, ReasoningFinished)] == [[THOUGHT]]
    started = RunStarted(run="resp_1", created_at_s=1, model="m", request={})
    turn = TurnStarted(turn=0, interaction="i", upstream="up", model="m")
    said = output_items([started, turn, *first], "resp_1")
    ask(provider, ModelCall(model="m", request=call().request, items=[*call().items, *said, *call().items]))
    sent = transport.bodies[1]["input"]
    assert [item["type"] for item in sent] == ["message", "reasoning", "message", "message"]
    assert sent[1] == {"type": "reasoning", "summary": [], "encrypted_content": "opaque"}


def test_what_a_model_refuses_is_left_out_from_then_on() -> None:
    transport = Answers(
        refused("Encrypted content is not supported with this model.", "include"),
        refused("Unsupported parameter: 'reasoning.effort' is not supported with this model.", "reasoning.effort"),
        answered(MESSAGE),
        answered(MESSAGE),
    )
    provider = ResponsesProvider("up", "https://up.invalid/v1", transport)
    events = ask(provider, call(reasoning={"effort": "low"}), call(reasoning={"effort": "low"}))
    assert [body.keys() & {"include", "reasoning"} for body in transport.bodies] == [
        {"include", "reasoning"},
        {"reasoning"},
        set(),
        set(),
    ]
    assert [event.quirk for event in events if isinstance(event, Diagnostic)] == ["Q106", "Q106", "Q106", "Q106"]


def test_a_refusal_that_teaches_nothing_is_a_failed_turn() -> None:
    transport = Answers(refused("The model does not exist.", "model"))
    events = ask(ResponsesProvider("up", "https://up.invalid/v1", transport), call())
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].error.status == 400


def test_a_stream_that_breaks_off_is_a_failed_turn() -> None:
    transport = Answers(FakeResponse(b'data: {"type":"response.created","response":{"id":"r"}}\n\n'))
    events = ask(ResponsesProvider("up", "https://up.invalid/v1", transport), call())
    assert isinstance(events[-1], TurnFailed)
    assert (events[-1].error.code, events[-1].retryable) == ("truncated_stream", True)
