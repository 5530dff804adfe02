"""A chat-completions upstream for tests: decides by the request what to answer, and keeps what it was asked."""

import json
from collections.abc import AsyncIterator
from typing import Any

from fakes import FakeResponse

from antiphon.transport import HttpRequest

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class ChatUpstream:
    """A transport. Calls the first tool if it has to; thinks if ``reasoning_effort`` asks; else speaks ``answer``."""

    def __init__(self, answer: str = "Hello there.") -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    async def send(self, request: HttpRequest) -> FakeResponse:
        if request.method == "GET":
            return FakeResponse(b'{"object":"list","data":[{"id":"m","object":"model"}]}', headers=_JSON)
        body = json.loads(request.body)
        self.asked.append(body)
        if not body.get("stream"):
            message = {"role": "assistant", "content": self.answer}
            choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
            whole = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "usage": USAGE}
            return FakeResponse(json.dumps({**whole, "choices": [choice]}).encode(), headers=_JSON)
        return FakeResponse(*[piece async for piece in self._stream(body)])

    async def close(self) -> None:
        pass

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        finish = "stop"
        if body.get("reasoning_effort"):
            yield _chunk(body, {"reasoning_content": "Let me think."})
        if body.get("tools") and body.get("tool_choice") == "required":
            function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"location":"Paris"}'}
            finish = "tool_calls"
            yield _chunk(body, {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        else:
            for word in self.answer.split(" "):
                yield _chunk(body, {"content": word if word == self.answer.split(" ")[0] else f" {word}"})
        yield _chunk(body, {}, finish)
        yield b"data: " + json.dumps({**_head(body), "choices": [], "usage": USAGE}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"


_JSON = (("content-type", "application/json"),)


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({**_head(body), "choices": [choice]}).encode() + b"\n\n"
