"""Anybody's Responses stream folded into its Response object.

A whole stream carries the object in its last event. One that was cut does not: then the object is built from what
came, by ``output_index``, and by ``item_id`` where a server left that out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})
_SNAPSHOTS = frozenset({"response.created", "response.queued", "response.in_progress"}) | _TERMINAL


def fold(stream_events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The Response object that a stream's events, decoded, amount to; ``{}`` for no events.

    The last event that carries the whole object wins; the streamed items are put in only where its output is missing
    or empty. Without a terminal event the status is ``failed`` after an ``error`` event, else ``incomplete``.
    """
    response: dict[str, Any] = {}
    error: dict[str, Any] | None = None
    output = _Output()
    ended = False
    for event in stream_events:
        kind = event.get("type")
        if kind in _SNAPSHOTS:
            response = dict(event.get("response") or {})
            ended = kind in _TERMINAL
        elif kind == "error":
            error = event.get("error") or event
        elif (handler := _HANDLERS.get(str(kind))) is not None:
            handler(output, event)
    streamed = output.items()
    if streamed and not (ended and response.get("output")):
        response["output"] = streamed
    if not ended and (response or error):
        _end(response, error)
    return response


def _end(response: dict[str, Any], error: dict[str, Any] | None) -> None:
    if error is None:
        response["status"] = "incomplete"
        response["incomplete_details"] = {"reason": "stream_ended"}
    else:
        response["status"] = "failed"
        response["error"] = {"code": error.get("code"), "message": error.get("message")}


class _Output:
    """Items as they grow, by output index, or by id where there is none."""

    def __init__(self) -> None:
        self._items: dict[int | str, dict[str, Any]] = {}

    def items(self) -> list[dict[str, Any]]:
        """The items in the order of their index; those without one last, as they came."""
        keys = sorted(self._items, key=lambda key: (isinstance(key, str), key if isinstance(key, int) else 0))
        return [self._items[key] for key in keys]

    def added(self, event: dict[str, Any]) -> None:
        item = dict(event.get("item") or {})
        self._items[self._key(event, item.get("id"))] = item

    def item(self, event: dict[str, Any]) -> dict[str, Any]:
        return self._items.setdefault(self._key(event, event.get("item_id")), {"id": event.get("item_id")})

    def _key(self, event: dict[str, Any], item_id: Any) -> int | str:
        index = event.get("output_index")
        return index if isinstance(index, int) else str(item_id)

    def part(self, event: dict[str, Any], parts: str, index: str, empty: dict[str, Any]) -> dict[str, Any]:
        item = self.item(event)
        listed = list(item.get(parts) or [])
        place = event.get(index) or 0
        while len(listed) <= place:
            listed.append(dict(empty))
        item[parts] = listed
        part: dict[str, Any] = listed[place]
        return part


_Handler = Callable[[_Output, dict[str, Any]], None]
_Find = Callable[[_Output, dict[str, Any]], dict[str, Any]]


def _appending(find: _Find, name: str) -> _Handler:
    def append(output: _Output, event: dict[str, Any]) -> None:
        target = find(output, event)
        target[name] = (target.get(name) or "") + (event.get("delta") or "")

    return append


def _setting(find: _Find, name: str) -> _Handler:
    def put(output: _Output, event: dict[str, Any]) -> None:
        if name in event:
            find(output, event)[name] = event[name]

    return put


def _part(parts: str, index: str, empty: dict[str, Any]) -> _Find:
    return lambda output, event: output.part(event, parts, index, empty)


def _put_part(parts: str, index: str) -> _Handler:
    def put(output: _Output, event: dict[str, Any]) -> None:
        part = output.part(event, parts, index, {})
        part.clear()
        part.update(event.get("part") or {})

    return put


def _annotate(output: _Output, event: dict[str, Any]) -> None:
    part = _TEXT(output, event)
    part["annotations"] = [*(part.get("annotations") or []), event.get("annotation")]


_TEXT = _part("content", "content_index", {"type": "output_text", "text": "", "annotations": []})
_REFUSAL = _part("content", "content_index", {"type": "refusal", "refusal": ""})
_RAW = _part("content", "content_index", {"type": "reasoning_text", "text": ""})
_SUMMARY = _part("summary", "summary_index", {"type": "summary_text", "text": ""})

# Event type without ".delta" or ".done" -> whose text it is, and under which name it stands there.
_TEXTS: dict[str, tuple[_Find, str]] = {
    "response.output_text": (_TEXT, "text"),
    "response.refusal": (_REFUSAL, "refusal"),
    "response.reasoning_text": (_RAW, "text"),
    "response.reasoning": (_RAW, "text"),
    "response.reasoning_summary_text": (_SUMMARY, "text"),
    "response.function_call_arguments": (_Output.item, "arguments"),
    "response.mcp_call_arguments": (_Output.item, "arguments"),
    "response.custom_tool_call_input": (_Output.item, "input"),
    "response.code_interpreter_call_code": (_Output.item, "code"),
}
_HANDLERS: dict[str, _Handler] = {
    "response.output_item.added": _Output.added,
    "response.output_item.done": _Output.added,
    "response.content_part.added": _put_part("content", "content_index"),
    "response.content_part.done": _put_part("content", "content_index"),
    "response.reasoning_part.added": _put_part("content", "content_index"),
    "response.reasoning_part.done": _put_part("content", "content_index"),
    "response.reasoning_summary_part.added": _put_part("summary", "summary_index"),
    "response.reasoning_summary_part.done": _put_part("summary", "summary_index"),
    "response.output_text.annotation.added": _annotate,
    **{f"{name}.delta": _appending(find, text) for name, (find, text) in _TEXTS.items()},
    **{f"{name}.done": _setting(find, text) for name, (find, text) in _TEXTS.items()},
}
