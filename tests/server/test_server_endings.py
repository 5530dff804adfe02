"""However a response ends: its stream folds to what `GET` gives, and both read the same again, to the byte."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Reply, ask, events_of
from fakes import FakeResponse
from scripted_upstream import USAGE, ChatUpstream
from test_server_compliance import as_documented
from whole_server import whole_app

from antiphon.rendering.fold import fold
from antiphon.transport import HttpRequest
from openapi_documents import SPEC, complaint


def said(finish_reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


def called(id_: str, arguments: str) -> bytes:
    return said(tool_calls=[{"index": 0, "id": id_, "function": {"name": "f", "arguments": arguments}}])


THOUGHT = said(reasoning_details=[{"type": "reasoning.text", "text": "Hm.", "signature": "s", "index": 0}])
HELLO = said(content="Hello")
ERROR = b'data: {"error": {"message": "The engine died.", "code": 500}}\n\n'
END = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\ndata: [DONE]\n\n"

# What the upstream says -> how the response ends, and with what; a mended one says so.
ENDINGS: dict[str, tuple[list[bytes], str, str | None, list[str]]] = {
    "answered": ([THOUGHT, HELLO, said("stop"), END], "completed", None, ["reasoning", "message"]),
    "mended": (
        [THOUGHT, called("a", "{}"), called("b", "{}"), said("stop"), END],
        *("completed", None, ["reasoning", "function_call", "function_call"]),
    ),
    "refused": ([said(refusal="No."), said("stop"), END], "completed", None, ["message"]),
    "full": ([THOUGHT, HELLO, said("length"), END], "incomplete", "max_output_tokens", ["reasoning", "message"]),
    "filtered": ([HELLO, said("content_filter"), END], "incomplete", "content_filter", ["message"]),
    "cut": ([THOUGHT, HELLO], "failed", "truncated_stream", ["reasoning", "message"]),
    "cut in a call": ([HELLO, called("a", '{"x')], "failed", "truncated_stream", ["message", "function_call"]),
    "broken": ([THOUGHT, HELLO, ERROR], "failed", "upstream_unavailable", ["reasoning", "message"]),
    "cancelled": ([THOUGHT, HELLO], "cancelled", None, ["reasoning", "message"]),
}


class Script(ChatUpstream):
    """Says this and ends; or, with ``stays``, says no more and does not end."""

    def __init__(self, chunks: list[bytes], *, stays: bool) -> None:
        super().__init__()
        self._chunks: list[bytes | asyncio.Event] = [*chunks, *([asyncio.Event()] if stays else [])]

    async def send(self, request: HttpRequest) -> FakeResponse:
        return FakeResponse(*self._chunks)


@pytest.mark.parametrize("reasoning_events", ["summary", "raw"])
@pytest.mark.parametrize("profile", ["openai", "open-responses"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_stream_folds_to_the_response_and_is_the_same_again(
    ending: str, profile: str, reasoning_events: str, tmp_path: Path
) -> None:
    chunks, status, why, output = ENDINGS[ending]
    upstream = Script(chunks, stays=status == "cancelled")
    flags = {"profile": profile, "reasoning_events": reasoning_events, "seal_keys": "s" * 40}
    request = {
        "model": "m",
        "input": "hi",
        "stream": True,
        "background": status == "cancelled",
        "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "function", "name": "f"}],
        "unknown": "disclosed",
    }

    async def first() -> Reply:
        async with whole_app(upstream, tmp_path, **flags) as app:

            async def watched(scope: Any, receive: Any, send: Any) -> None:
                async def watch(message: Any) -> None:
                    await send(message)
                    if status == "cancelled" and b'"delta":"Hello"' in message.get("body", b""):
                        run = message["body"].partition(b'"item_id":"msg_')[2][:32].decode()
                        await ask(app, "POST", f"/v1/responses/resp_{run}/cancel")

                await app(scope, receive, watch)

            return await ask(watched, "POST", "/v1/responses", request)

    async def again(response_id: str) -> tuple[bytes, dict[str, Any], bytes]:
        async with whole_app(upstream, tmp_path, **flags) as app:  # the server was started anew
            path = f"/v1/responses/{response_id}"
            stream = (await ask(app, "GET", f"{path}?stream=true")).body
            rest = (await ask(app, "GET", f"{path}?stream=true&starting_after=3")).body
            return stream, (await ask(app, "GET", path)).json, rest

    streamed = asyncio.run(first())
    events = events_of(streamed)
    response = events[-1]["response"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (response["status"], [item["type"] for item in response["output"]]) == (status, output)
    assert why == ((response["incomplete_details"] or {}).get("reason") or (response["error"] or {}).get("code"))
    assert response["antiphon"]["diagnostics"]
    assert all(item.get("encrypted_content") for item in response["output"] if item["type"] == "reasoning")

    assert not SPEC.exists() or complaints(events, profile) == []
    assert fold(events) == response
    assert fold(events[:-1])["output"] == response["output"]
    stream, found, rest = asyncio.run(again(response["id"]))
    assert found == response
    assert stream == streamed.body
    assert rest == b"\n\n".join(streamed.body.split(b"\n\n")[4:])


def complaints(events: list[dict[str, Any]], profile: str) -> list[str]:
    """What the document of the profile has against the events; OpenAI's lists only a few codes of errors."""
    found = []
    for event in events:
        shown = event
        if "response" in event:
            shown = {**event, "response": as_documented(profile, event["response"])}
            if profile == "openai" and shown["response"]["error"]:
                shown["response"]["error"]["code"] = "server_error"
        found.append(complaint(profile, shown))
    return [each for each in found if each is not None]
