"""Recordings of OGX and llama-stack: fidelity ``parsed``.

The recorder keeps what the Python SDK made of an answer: objects with their class name, absent fields as explicit
nulls, streams as lists of such objects. Nulls of SDK objects are therefore absence. A recording is one HTTP call, or
one call of a tool.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.cassettes.format import Chunk, Interaction, RecordedRequest, RecordedResponse, ToolCall
from antiphon.cassettes.importers.bodies import EVENT_STREAM, JSON, event_stream, json_lines, whole
from antiphon.errors import ConnectionLost, ProviderError
from antiphon.events import ErrorInfo

NDJSON = "application/x-ndjson"


class _Request(msgspec.Struct):
    url: str | None = None
    method: str = "POST"
    headers: dict[str, str] = {}
    body: Any = None
    payload: Any = None
    endpoint: str | None = None
    tool_name: str | None = None
    kwargs: Any = None
    provider: str | None = None


class _Response(msgspec.Struct):
    body: Any
    is_streaming: bool = False
    status: int = 200
    is_exception: bool = False
    exception_data: dict[str, Any] | None = None
    exception_message: str | None = None


class _Recording(msgspec.Struct):
    request: _Request
    response: _Response
    test_id: str | None = None


def interactions(document: Any) -> Iterator[Interaction]:
    """The one interaction of a parsed recording.

    Raises:
        msgspec.ValidationError, ValueError: the document is not such a recording.
    """
    found = msgspec.convert(document, _Recording)
    request = found.request
    tags = {"test": found.test_id} if found.test_id else {}
    if request.tool_name is not None:
        yield Interaction(id="0", kind="tool", fidelity="parsed", tool=_tool_call(found), tags=tags)
        return
    if request.url is None:
        raise ValueError("the recording has neither a url nor a tool_name")
    body = request.payload if request.body is None else request.body
    yield Interaction(
        id="0",
        fidelity="parsed",
        request=RecordedRequest(
            method=request.method,
            url=request.url,
            headers=tuple((name.lower(), value) for name, value in request.headers.items()),
            body=b"" if body is None else msgspec.json.encode(body),
        ),
        response=_exception(found.response) if found.response.is_exception else _response(found.response),
        tags=tags,
    )


def _tool_call(found: _Recording) -> ToolCall:
    response = found.response
    error = None
    if response.is_exception:
        error = ErrorInfo(code="tool_error", message=response.exception_message or "the tool failed")
    return ToolCall(
        name=found.request.tool_name or "",
        arguments=found.request.kwargs,
        result=_plain(response.body),
        error=error,
    )


def _response(response: _Response) -> RecordedResponse:
    body = response.body
    if not response.is_streaming:
        return RecordedResponse(
            status=response.status, headers=(("content-type", JSON),), chunks=whole(_whole_body(body))
        )
    if not isinstance(body, list):
        raise ValueError(f"a streamed response is a list, this is {type(body).__name__}")
    media_type, chunks = _stream(body)
    return RecordedResponse(status=response.status, headers=(("content-type", media_type),), chunks=chunks)


def _whole_body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, list):  # the items of the SDK's page object
        return msgspec.json.encode({"object": "list", "data": [_plain(each) for each in body]})
    return body.encode() if isinstance(body, str) else msgspec.json.encode(_plain(body))


def _stream(body: list[Any]) -> tuple[str, tuple[Chunk, ...]]:
    if all(isinstance(each, str) for each in body):  # the lines of an event stream, line ends taken off
        return EVENT_STREAM, whole("".join(line + "\n" for line in body).encode())
    values = [_plain(each) for each in body]
    if not all(isinstance(value, dict) for value in values):
        raise ValueError("a streamed response holds something that is no object")
    objects = [(msgspec.json.encode(value), value) for value in values]
    if any(str(each.get("__type__")).startswith("ollama.") for each in body):
        return NDJSON, json_lines(objects)
    return EVENT_STREAM, event_stream(objects)


def _exception(response: _Response) -> RecordedResponse:
    """An exception of the SDK, as the HTTP answer it was made of, or as a call that got none."""
    data = response.exception_data or {}
    message = response.exception_message or str(data.get("message", "the call failed"))
    status = data.get("status_code")
    if not isinstance(status, int):
        return RecordedResponse(status=None, error=ErrorInfo(code=ConnectionLost.code, message=message))
    body = data.get("body") or {"message": message, "type": None, "param": None, "code": ProviderError.code}
    if isinstance(body, dict) and "error" not in body:  # the SDK took it out of its envelope
        body = {"error": body}
    return RecordedResponse(status=status, headers=(("content-type", JSON),), chunks=whole(msgspec.json.encode(body)))


def _plain(value: Any) -> Any:
    """The object inside ``__type__`` and ``__data__``, without its nulls."""
    if isinstance(value, dict) and "__type__" in value and "__data__" in value:
        return _without_nulls(value["__data__"])
    return value


def _without_nulls(value: Any) -> Any:
    """``usage`` is kept as it is: vLLM and others do send nulls in it, and it is shown as it came."""
    if isinstance(value, dict):
        return {
            key: each if key == "usage" else _without_nulls(each) for key, each in value.items() if each is not None
        }
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value
