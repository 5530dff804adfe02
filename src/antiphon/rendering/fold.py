"""Anybody's Responses stream folded into its Response object.

A whole stream carries the object in its last event. One that was cut does not: then the object is built from what
came, by ``output_index``, and by ``item_id`` where a server left that out. Nothing here trusts the stream: a member
of the wrong type counts as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Object = dict[str, Any]

_TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})
_SNAPSHOTS = frozenset({"response.created", "response.queued", "response.in_progress"}) | _TERMINAL


def fold(stream_events: Iterable[Object]) -> Object:
    """The Response object that a stream's events, decoded, amount to; ``{}`` for no events.

    The last event that carries the whole object wins; the streamed items are put in only where its output is missing
    or empty. Without a terminal event the status is ``failed`` after an ``error`` event, else ``incomplete``.
    """
    response: Object = {}
    error: Object | None = None
    ended = False
    streamed: list[Object] = []
    for event in stream_events:
        kind = event.get("type")
        if kind in _SNAPSHOTS:
            response = dict(_object(event.get("response")))
            ended = kind in _TERMINAL
        elif kind == "error":
            error = _object(event.get("error")) or event
        else:
            streamed.append(event)
    if not (ended and response.get("output")) and (items := _rebuilt(streamed)):
        response["output"] = items
    if not ended and (response or error):
        response.update(_cut(error))
    return response


def _rebuilt(events: Iterable[Object]) -> list[Object]:
    output = _Output()
    for event in events:
        if (handler := HANDLERS.get(str(event.get("type")))) is not None:
            handler(output, event)
    return output.items()


def _cut(error: Object | None) -> Object:
    if error is None:
        return {"status": "incomplete", "incomplete_details": {"reason": "stream_ended"}}
    return {"status": "failed", "error": {"code": error.get("code"), "message": error.get("message")}}


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


class _Output:
    """Items as they grow."""

    def __init__(self) -> None:
        self._items: dict[int | str, Object] = {}
        self._parts: dict[tuple[int | str, str, Any], Object] = {}

    def items(self) -> list[Object]:
        """The items by their index; those without one last, as they came."""
        numbered = sorted(key for key in self._items if isinstance(key, int))
        named = [key for key in self._items if isinstance(key, str)]
        return [self._items[key] for key in numbered] + [self._items[key] for key in named]

    def put(self, event: Object) -> None:
        """Take an announced or finished item as it stands."""
        item = dict(_object(event.get("item")))
        key = self._key(event, item.get("id"))
        self._items[key] = item
        self._parts = {place: part for place, part in self._parts.items() if place[0] != key}

    def item(self, event: Object) -> Object:
        """The item an event belongs to, made up where it was never announced."""
        item_id = event.get("item_id")
        return self._items.setdefault(self._key(event, item_id), {"id": item_id})

    def part(self, event: Object, parts: str, index: str) -> Object:
        """The content or summary part an event belongs to; a new one is empty and stands last."""
        item = self.item(event)
        number = event.get(index)
        place = (self._key(event, item.get("id")), parts, number if isinstance(number, int) else 0)
        if place not in self._parts:
            listed = item[parts] = _list(item.get(parts))
            if 0 <= place[2] < len(listed):
                listed[place[2]] = self._parts[place] = dict(_object(listed[place[2]]))
            else:
                self._parts[place] = {}
                listed.append(self._parts[place])
        return self._parts[place]

    @staticmethod
    def _key(event: Object, item_id: Any) -> int | str:
        index = event.get("output_index")
        return index if isinstance(index, int) else str(item_id)


_Handler = Callable[[_Output, Object], None]
_Find = Callable[[_Output, Object], Object]


def _part(parts: str, index: str, type_: str | None = None) -> _Find:
    def find(output: _Output, event: Object) -> Object:
        part = output.part(event, parts, index)
        if type_ is not None:
            part.setdefault("type", type_)
        return part

    return find


def _append(find: _Find, name: str) -> _Handler:
    def append(output: _Output, event: Object) -> None:
        target, delta = find(output, event), event.get("delta")
        text = target.get(name)
        if isinstance(delta, str) and (text is None or isinstance(text, str)):
            target[name] = (text or "") + delta

    return append


def _set(find: _Find, name: str) -> _Handler:
    def put(output: _Output, event: Object) -> None:
        if name in event:
            find(output, event)[name] = event[name]

    return put


def _replace(find: _Find) -> _Handler:
    def replace(output: _Output, event: Object) -> None:
        part = find(output, event)
        whole = dict(_object(event.get("part")))
        part.clear()
        part.update(whole)

    return replace


def _annotate(output: _Output, event: Object) -> None:
    part = _TEXT(output, event)
    part["annotations"] = [*_list(part.get("annotations")), event.get("annotation")]


_CONTENT = _part("content", "content_index")
_TEXT = _part("content", "content_index", "output_text")
_THOUGHT = _part("content", "content_index", "reasoning_text")
_SUMMARY = _part("summary", "summary_index", "summary_text")

# Event type without ".delta" or ".done" -> what the text belongs to, and under which name it stands there.
_TEXTS: dict[str, tuple[_Find, str]] = {
    "response.output_text": (_TEXT, "text"),
    "response.refusal": (_part("content", "content_index", "refusal"), "refusal"),
    "response.reasoning_text": (_THOUGHT, "text"),
    "response.reasoning": (_THOUGHT, "text"),
    "response.reasoning_summary_text": (_SUMMARY, "text"),
    "response.function_call_arguments": (_Output.item, "arguments"),
    "response.mcp_call_arguments": (_Output.item, "arguments"),
    "response.custom_tool_call_input": (_Output.item, "input"),
    "response.code_interpreter_call_code": (_Output.item, "code"),
}
HANDLERS: dict[str, _Handler] = {
    "response.output_item.added": _Output.put,
    "response.output_item.done": _Output.put,
    "response.output_text.annotation.added": _annotate,
    **{f"{name}.delta": _append(find, text) for name, (find, text) in _TEXTS.items()},
    **{f"{name}.done": _set(find, text) for name, (find, text) in _TEXTS.items()},
    # reasoning_part is vLLM's name for the content part of a reasoning item.
    **{
        f"response.{part}.{end}": _replace(_CONTENT)
        for part in ("content_part", "reasoning_part")
        for end in ("added", "done")
    },
    **{f"response.reasoning_summary_part.{end}": _replace(_SUMMARY) for end in ("added", "done")},
}
