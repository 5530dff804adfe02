"""A chat request on its way out, and the way back for what it renamed."""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Struct, field, structs

from antiphon.events import Diagnostic, ModelEvent, ToolCallDelta, ToolCallFinished, ToolCallStarted
from antiphon.translation.notes import shown
from antiphon.translation.tools import Tool

_CALL_EVENTS = (ToolCallStarted, ToolCallDelta, ToolCallFinished)


class ChatCall(Struct, kw_only=True):
    """One chat-completions request and what must be undone in its answer.

    ``body`` is ready to be sent. ``offered`` are the parameter schemas of the tools by their names on the wire, for
    assembly. ``diagnostics`` disclose what was changed or dropped. A call holds the state of one answer: translate
    again to ask again.
    """

    body: dict[str, Any]
    offered: dict[str, dict[str, Any]]
    diagnostics: list[Diagnostic]
    renamed: dict[str, Tool] = {}
    held: dict[str, Tool] = field(default_factory=dict)  # freeform calls in progress, by block

    def restore(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """The events with the client's own tool names, namespaces and kinds.

        The input of a freeform tool comes as one delta at its end: text inside a JSON string cannot be taken out
        piece by piece while the upstream may still break the JSON (R23). Where nothing is to be restored, the very
        list is given back.
        """
        if not self.renamed or not any(isinstance(event, _CALL_EVENTS) for event in events):
            return events
        restored: list[ModelEvent] = []
        for event in events:
            if isinstance(event, ToolCallStarted):
                restored.extend(self._started(event))
            elif isinstance(event, ToolCallDelta) and event.block in self.held:
                continue
            elif isinstance(event, ToolCallFinished) and event.block in self.held:
                restored.extend(_finished(event, self.held.pop(event.block)))
            else:
                restored.append(event)
        return restored

    def _started(self, event: ToolCallStarted) -> list[ModelEvent]:
        tool = self.renamed.get(event.name)
        if tool is None:
            return [event]
        if tool.kind == "custom":
            self.held[event.block] = tool
        events: list[ModelEvent] = []
        if event.name == tool.name and tool.namespace is not None and not tool.is_hosted:
            done = f"taken as {tool.flat_name}, the only tool of that name"
            events.append(Diagnostic(quirk="R24", seen=f"call of {event.name}", done=done))
        events.append(structs.replace(event, name=tool.name, namespace=tool.namespace, kind=tool.kind))
        return events


def _finished(event: ToolCallFinished, tool: Tool) -> list[ModelEvent]:
    """A freeform call's only delta and its end, and a diagnostic if the model wrapped the input its own way."""
    text, mended = _unwrapped(event.arguments, is_whole=event.status == "completed")
    if tool.has_grammar and (inner := _without_wrapping(text)) is not None:
        text, mended = inner, True
    text = _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    events: list[ModelEvent] = []
    if mended:
        done = "taken as the input of a freeform tool"
        events.append(Diagnostic(quirk="R22", seen=shown(event.arguments), done=done))
    if text:
        events.append(ToolCallDelta(block=event.block, arguments=text))
    events.append(structs.replace(event, arguments=text))
    return events


# JSON can escape half a character, which no UTF-8 text can hold.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Models write raw line breaks into JSON strings, above all in patches.
_LENIENT = json.JSONDecoder(strict=False)
_CUT = re.compile(r'\s*\{\s*"input"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)


def _unwrapped(arguments: str, *, is_whole: bool) -> tuple[str, bool]:
    """The text inside ``{"input": text}``, and whether it came wrapped otherwise (R22)."""
    try:
        value = _LENIENT.decode(arguments)
    except (ValueError, RecursionError):
        if is_whole:
            return arguments, True
        cut = _CUT.match(arguments)
        return (_decoded_prefix(cut[1]) if cut else ""), False
    match value:
        case {"input": str(text)}:
            return text, len(value) > 1
        case str(text):
            return text, True
        case dict() if len(value) == 1:
            [inner] = value.values()
            if isinstance(inner, list) and inner:
                inner = inner[-1]  # {"command": ["apply_patch", "*** Begin Patch…"]}
            return (inner if isinstance(inner, str) else arguments), True
    return (arguments if value else ""), True


def _decoded_prefix(escaped: str) -> str:
    """What a JSON string that was cut off holds so far."""
    for end in range(len(escaped), max(len(escaped) - 6, -1), -1):  # \uXXXX is the longest escape
        try:
            return str(_LENIENT.decode(f'"{escaped[:end]}"'))
        except ValueError:
            continue
    return ""


_FENCED = re.compile(r"\s*```[\w+-]*\n(.*?)\n?```\s*", re.DOTALL)
_HEREDOC = re.compile(r"\s*(?:\w+\s+)?<<-?\s*['\"]?(\w+)['\"]?\n(.*)\n\1\s*", re.DOTALL)


def _without_wrapping(text: str) -> str | None:
    """The text inside a code fence or a shell's here-document, or None if it is in neither."""
    if fenced := _FENCED.fullmatch(text):
        return fenced[1]
    if heredoc := _HEREDOC.fullmatch(text):
        return heredoc[2]
    return None
