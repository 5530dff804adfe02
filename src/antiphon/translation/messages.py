"""Items become chat messages.

A chat message of the assistant holds what several items say: reasoning, text and all calls of a turn. Its tool messages
follow it at once, one for each call, in the order of the calls, whatever the order of the items was (Q110, R29, R31).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from antiphon.dialects.requests import ChatRules
from antiphon.translation.call_items import (
    CALLS,
    HOSTED,
    OUTPUTS,
    WITHOUT_MESSAGE,
    Said,
    call_id_of,
    encoded,
    private,
)
from antiphon.translation.content import ChatPart, chat_parts, collapsed, seen_parts, with_markers
from antiphon.translation.ids import CallIds
from antiphon.translation.notes import Notes
from antiphon.translation.reasoning import Echo, echo_of, echo_of_message
from antiphon.translation.roles import ChatMessage, arrange_roles
from antiphon.translation.tools import Offer, Tool, namespace_of, wire_safe
from antiphon.wire.items import Item
from antiphon.wire.sealed import summary_of

_INTERRUPTED = "[The call was interrupted: there is no output.]"
_WAITING = "[The call waits for a person's approval: it has not been run.]"
# What provider data may not replace; a residual `index` is refused by strict servers (Q36).
_CALL_FIELDS = frozenset({"id", "type", "function", "index"})


class _Call(Struct, kw_only=True):
    """A call in the history. ``output`` is None until its item comes."""

    call_id: str
    name: str
    arguments: str
    provider_data: dict[str, Any] = {}
    output: Any = None
    is_answered: bool = False
    needs_approval: bool = False
    changed_arguments: str | None = None  # what a person made of them
    is_whole: bool = True

    @property
    def took_place(self) -> bool:
        """A call that was cut off was not made, unless somebody answered it all the same."""
        return self.is_whole or self.is_answered


class _AssistantTurn(Struct):
    """What will be one assistant message and its tool messages."""

    texts: list[str] = []
    calls: list[_Call] = []
    reasoning: list[Echo] = []
    number: int | None = None  # where a call of it says so


class Transcript:
    """Collects items in order; `messages` gives the chat messages they amount to."""

    def __init__(self, offer: Offer, *, rules: ChatRules, notes: Notes, upstream: str | None = None) -> None:
        self._offer = offer
        self._rules = rules
        self._notes = notes
        self._upstream = upstream
        self._cites = any(tool.kind == "file_search" for tool in offer.tools.values())
        self._entries: list[ChatMessage | _AssistantTurn] = []
        self._turn: _AssistantTurn | None = None  # open: the next item of the assistant joins it
        self._turns_of_call: dict[str, list[tuple[_AssistantTurn, _Call]]] = {}

    def add_instructions(self, instructions: str) -> None:
        """Add a developer's message that is not an item."""
        self._entries.append({"role": self._rules.developer_role, "content": instructions})

    def add(self, item: Item) -> None:
        """Take the next item of the history."""
        kind = str(item.get("type"))
        if kind == "message":
            self._add_message(item)
        elif kind == "reasoning":
            self._add_reasoning(item)
        elif kind == "compaction":
            self._turn = None
            self._entries.append({"role": "user", "content": summary_of(item)})
        elif kind in CALLS:
            self._add_call(item, CALLS[kind](item))
        elif kind in OUTPUTS:
            self._add_output(item, OUTPUTS[kind](item))
        elif kind not in WITHOUT_MESSAGE:
            self._notes.add("R25", seen=f"item {kind}", done="not shown to the model: chat has no form for it")

    def add_message(self, message: ChatMessage) -> None:
        """Take the next message of a chat request, instead of an item."""
        role = message["role"]
        if role == "tool":
            content = message["content"]
            output = content if isinstance(content, str) else [_input_part(part) for part in content]
            self._add_output({"call_id": message["tool_call_id"]}, output)
            return
        self._turn = None
        if role == "assistant":
            self._entries.append(self._said_and_called(message))
            return
        parts = seen_parts(message["content"], self._rules, self._notes)
        has_more = any(part.keys() - {"type", "text"} for part in parts)  # marks for a cache, say
        named = {"name": message["name"]} if message.get("name") else {}
        role = self._rules.developer_role if role == "developer" else role
        self._entries.append({"role": role, **named, "content": parts if has_more else collapsed(parts)})

    def messages(self) -> list[ChatMessage]:
        """All chat messages, in order."""
        messages: list[ChatMessage] = []
        ids = CallIds(self._rules)
        for entry in self._entries:
            if isinstance(entry, _AssistantTurn):
                messages += self._turn_messages(entry, ids)
            else:
                messages.append(entry)
        if not messages:
            self._notes.add("R36", seen="no input", done="sent as an empty user message: a chat needs one")
            messages.append({"role": "user", "content": ""})
        return arrange_roles(messages, self._rules, self._notes)

    # --- items -------------------------------------------------------------------------------

    def _add_message(self, item: Item) -> None:
        role, content = item["role"], item["content"]
        if role == "assistant" and self._cites:
            content = with_markers(content)
        parts = chat_parts(content, self._rules, self._notes)
        if role == "assistant":
            text = "".join(part["text"] for part in parts if part["type"] == "text")
            if any(part["type"] != "text" for part in parts):
                self._notes.add(
                    "Q109", seen="an image or file from the assistant", done="left out: chat takes text only"
                )
            if text:
                self._open_turn().texts.append(text)
            return
        self._turn = None
        role = self._rules.developer_role if role == "developer" else role
        self._entries.append({"role": role, "content": collapsed(parts)})

    def _add_reasoning(self, item: Item) -> None:
        echo = echo_of(item, self._rules, self._notes, upstream=self._upstream)
        if echo is not None:
            self._open_turn().reasoning.append(echo)

    def _add_call(self, item: Item, said: Said) -> None:
        call_id, number = call_id_of(item), private(item).get("turn")
        if (again := self._waiting(item, call_id)) is not None:  # it waited for a decision, and takes place now
            again.changed_arguments = said.arguments if said.arguments != again.arguments else None
            self._answer(again, item)
            return
        turn = self._open_turn(number)
        call = _Call(
            call_id=call_id,
            name=self._wire_name(item, said.kind, said.name),
            arguments=said.arguments,
            provider_data=self._provider_data(item),
            needs_approval=item["type"] == "mcp_approval_request",
            is_whole=item.get("status") != "incomplete",
        )
        turn.calls.append(call)
        for name in {call_id, str(item.get("id"))} if call.needs_approval else {call_id}:
            self._turns_of_call.setdefault(name, []).append((turn, call))
        self._answer(call, item)
        if item["type"] in HOSTED and number is None:
            self._turn = None

    def _waiting(self, item: Item, call_id: str) -> _Call | None:
        """The call of an earlier turn that this item takes up again, if it is one: the newest of its id."""
        for name in (str(item.get("approval_request_id")), call_id):
            _, call = next(reversed(self._turns_of_call.get(name, [])), (None, None))
            if call is not None and not call.is_answered and (call.needs_approval or private(item).get("carried")):
                return call
        return None

    def _answer(self, call: _Call, item: Item) -> None:
        """Take the output of a call that a server ran, which stands in the call's own item."""
        if item["type"] in HOSTED:
            call.output, call.is_answered = HOSTED[item["type"]](item), True

    def _said_and_called(self, message: ChatMessage) -> _AssistantTurn:
        """The turn that an assistant message of a chat request is."""
        turn = _AssistantTurn()
        calls = message.get("tool_calls") or []
        content = message.get("content")
        parts = seen_parts(message.get("refusal") or "" if content is None else content, self._rules, self._notes)
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        if any(part["type"] != "text" for part in parts):
            self._notes.add("Q109", seen="more than text from the assistant", done="left out: chat takes text only")
        if text or not calls:
            turn.texts.append(text)
        if (echo := echo_of_message(message, self._rules, self._notes)) is not None:
            turn.reasoning.append(echo)
        for call in calls:
            kind = "custom" if call.get("type") == "custom" else "function"
            named = call[kind]
            made = _Call(
                call_id=call["id"],
                name=self._wire_name({}, kind, named["name"]),
                arguments=named["arguments"] if kind == "function" else encoded({"input": named["input"]}),
                provider_data={name: value for name, value in call.items() if name not in _CALL_FIELDS | {kind}},
            )
            turn.calls.append(made)
            self._turns_of_call.setdefault(made.call_id, []).append((turn, made))
        return turn

    def _add_output(self, item: Item, output: Any) -> None:
        call_id = call_id_of(item)
        # An id may come again in a later turn (Q33): the newest turn that waits for it is meant.
        for turn, call in reversed(self._turns_of_call.get(call_id, [])):
            if not call.is_answered:
                call.output, call.is_answered = output, True
                if turn is self._turn:
                    self._turn = None
                return
        self._notes.add("Q110", seen=f"output of call {call_id}", done="dropped: no such call waits for an output")

    def _open_turn(self, number: int | None = None) -> _AssistantTurn:
        """The turn that the next item of the assistant belongs to; ``number`` is that of its turn, where it is known.

        What follows a call that a server ran, and is not of its turn, was said when the call was answered.
        """
        turn = self._turn
        if turn is None or (turn.number is not None and turn.number != number):
            turn = self._turn = _AssistantTurn()
            self._entries.append(turn)
        if number is not None:
            turn.number = number
        return turn

    def _wire_name(self, item: Item, kind: str, name: str) -> str:
        wire = self._offer.wire_name(item, kind, name)
        # A tool of the past that is no longer offered: nothing has to find back from it.
        namespace = None if kind == "mcp" else namespace_of(item)
        return wire or wire_safe(Tool("function", name, namespace).flat_name, self._rules.max_name_length)

    def _provider_data(self, item: Item) -> dict[str, Any]:
        """Fields of a call that its upstream wants back, such as thought signatures (Q35)."""
        kept = private(item)
        if not isinstance(kept.get("provider_data"), dict):
            return {}
        if self._upstream not in (None, kept.get("upstream")):
            self._notes.add("Q35", seen="signed tool call", done="signature not echoed: it belongs to another upstream")
            return {}
        return {name: value for name, value in kept["provider_data"].items() if name not in _CALL_FIELDS}

    def _json(self, arguments: str) -> str:
        """Arguments that are an object: templates parse them, and one bad call would fail every later request (Q25)."""
        if arguments.strip() in ("", "null"):
            return "{}"
        try:
            if isinstance(msgspec.json.decode(arguments), dict):
                return arguments
        except (msgspec.DecodeError, RecursionError):
            pass
        self._notes.add("Q25", seen=arguments, done="sent as one string: the arguments are not a JSON object")
        return encoded({"arguments": arguments})

    # --- messages ----------------------------------------------------------------------------

    def _turn_messages(self, turn: _AssistantTurn, ids: CallIds) -> list[ChatMessage]:
        for call in turn.calls:
            if not call.took_place:
                self._notes.add("Q25", seen=f"incomplete call of {call.name}", done="not shown: it never took place")
        turn.calls = [call for call in turn.calls if call.took_place]
        if not turn.texts and not turn.calls:
            if turn.reasoning:
                self._notes.add("R30", seen="reasoning without an answer", done="not echoed: no message to put it on")
            return []
        message: ChatMessage = {"role": "assistant"}
        self._set_content(message, turn)
        self._set_reasoning(message, turn)
        if not turn.calls:
            return [message]
        message["tool_calls"] = [
            {
                "id": ids.assign(call.call_id, call.name),
                "type": "function",
                "function": {"name": call.name, "arguments": self._json(call.arguments)},
                **call.provider_data,
            }
            for call in turn.calls
        ]
        tool_messages: list[ChatMessage] = []
        lifted: list[ChatPart] = []
        for call, sent in zip(turn.calls, message["tool_calls"], strict=True):
            tool_messages.append(self._tool_message(call, sent["id"], lifted))
        if lifted:
            tool_messages.append({"role": "user", "content": lifted})
        return [message, *tool_messages]

    def _set_content(self, message: ChatMessage, turn: _AssistantTurn) -> None:
        if turn.texts:
            message["content"] = "\n\n".join(turn.texts)
        elif self._rules.empty_content != "omit":
            message["content"] = "" if self._rules.empty_content == "empty" else None

    def _set_reasoning(self, message: ChatMessage, turn: _AssistantTurn) -> None:
        for echo in turn.reasoning:
            if echo.text:
                message[echo.field] = f"{message[echo.field]}\n\n{echo.text}" if echo.field in message else echo.text
            if echo.details:
                message.setdefault("reasoning_details", []).extend(echo.details)
        if self._rules.echo_reasoning == "require" and turn.calls and not any(echo.text for echo in turn.reasoning):
            message["reasoning_content"] = " "  # "" is refused too (nanobot#946)
            self._notes.add("Q70", seen="a tool call without its reasoning", done="sent with a blank as its reasoning")

    def _tool_message(self, call: _Call, wire_id: str, lifted: list[ChatPart]) -> ChatMessage:
        message: ChatMessage = {"role": "tool", "tool_call_id": wire_id}
        if not call.is_answered and call.needs_approval:
            return {**message, "content": self._tool_content(_WAITING)}
        if not call.is_answered:
            self._notes.add("Q110", seen=f"call {call.call_id} of {call.name}", done="closed as interrupted")
            return {**message, "content": self._tool_content(_INTERRUPTED)}
        parts = chat_parts(call.output, self._rules, self._notes)
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        if call.changed_arguments is not None:
            text = f"[A person changed the arguments of this call to {call.changed_arguments}]\n{text}"
        others = [part for part in parts if part["type"] != "text"]
        if others:
            self._notes.add("Q103", seen=f"{others[0]['type']} in a tool's output", done="moved to a user message")
            lifted += [{"type": "text", "text": f"[From the output of {call.name}, call {wire_id}:]"}, *others]
            text = text or "[The output is in the next message.]"
        return {**message, "content": self._tool_content(text)}

    def _tool_content(self, text: str) -> str | list[ChatPart]:
        return text if self._rules.tool_content == "text" else [{"type": "text", "text": text}]


def _input_part(part: ChatPart) -> dict[str, Any]:
    """A part of a chat tool message as a tool's output item would have it."""
    if part["type"] != "image_url":
        return part
    return {"type": "input_image", "image_url": part["image_url"]["url"], "detail": part["image_url"].get("detail")}
