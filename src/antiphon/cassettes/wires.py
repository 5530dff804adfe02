"""What answers of the other wires say: Anthropic's Messages and Gemini's contents, streamed or whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from antiphon.cassettes.endpoints import is_stream
from antiphon.cassettes.format import RecordedResponse
from antiphon.sse import SSEDecoder


class Said(msgspec.Struct, kw_only=True):
    """An answer put together: ``calls`` are names with their arguments as JSON, ``usage`` is the upstream's own."""

    reasoning: str = ""
    text: str = ""
    calls: list[tuple[str, str]] = []
    finish_reason: str | None = None
    usage: dict[str, Any] = {}


def said(operation: str, response: RecordedResponse) -> Said | None:
    """What an answer says, or None where it is of another wire, or is no answer but an error."""
    fold = _FOLDS.get(operation)
    if fold is None or (response.status or 200) >= 400:
        return None
    return fold(payloads(response))


def payloads(response: RecordedResponse) -> list[Any]:
    """The JSON values of a body: of each event, of each line, of a list's items, or the one there is."""
    if not is_stream(response):
        value = _json(response.body)
        return value if isinstance(value, list) else [value]
    decoder = SSEDecoder()
    events = [event.data for event in [*decoder.feed(response.body), *decoder.flush()]]
    return [_json(data) for data in events or response.body.split(b"\n")]


def _messages(values: Iterable[Any]) -> Said:
    """Anthropic: one message, or the events of which it is made."""
    found, blocks = Said(), dict[int, dict[str, Any]]()
    for value in _objects(list(values)):
        kind, index = value.get("type"), value.get("index")
        index = index if isinstance(index, int) else 0
        if kind == "message":
            blocks |= dict(enumerate(_objects(value.get("content"))))
            found.finish_reason = _reason(value.get("stop_reason"))
            found.usage |= _object(value.get("usage"))
        elif kind == "message_start":
            found.usage |= _object(_object(value.get("message")).get("usage"))
        elif kind == "content_block_start":
            blocks[index] = {**_object(value.get("content_block")), "json": ""}
        elif kind == "content_block_delta":
            _add(blocks.setdefault(index, {}), _object(value.get("delta")))
        elif kind == "message_delta":
            found.finish_reason = _reason(_object(value.get("delta")).get("stop_reason"))
            found.usage |= _object(value.get("usage"))
    for block in blocks.values():
        found.text += str(block.get("text") or "")
        found.reasoning += str(block.get("thinking") or "")
        if isinstance(block.get("name"), str):
            found.calls.append((block["name"], block.get("json") or _text(block.get("input"))))
    return found


# Where a delta's text belongs in its block.
_DELTAS = {"text": "text", "thinking": "thinking", "partial_json": "json"}


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, place in _DELTAS.items():
        if isinstance(delta.get(name), str):
            block[place] = str(block.get(place) or "") + delta[name]


def _contents(values: Iterable[Any]) -> Said:
    """Gemini: one response, or the parts of one; of several candidates the first."""
    found = Said()
    for value in _objects(list(values)):
        found.usage = _object(value.get("usageMetadata")) or found.usage
        for candidate in _objects(value.get("candidates"))[:1]:
            found.finish_reason = _reason(candidate.get("finishReason")) or found.finish_reason
            for part in _objects(_object(candidate.get("content")).get("parts")):
                if part.get("thought"):
                    found.reasoning += str(part.get("text") or "")
                elif call := _object(part.get("functionCall")):
                    found.calls.append((str(call.get("name")), _text(call.get("args"))))
                else:
                    found.text += str(part.get("text") or "")
    return found


_FOLDS: dict[str, Callable[[Iterable[Any]], Said]] = {
    "/messages": _messages,
    "generateContent": _contents,
    "streamGenerateContent": _contents,
}


def _reason(value: Any) -> str | None:
    """Some tools keep Gemini's as the number of its enumeration, in which 1 is STOP."""
    return None if value is None else {"1": "STOP"}.get(str(value), str(value))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _text(value: Any) -> str:
    return msgspec.json.encode(value if value is not None else {}).decode()


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
