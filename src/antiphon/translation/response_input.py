"""Items, and chat messages, as the input of a request to an upstream that speaks the Responses API itself.

Which call has which output, and what the model may not see, is settled as it is for chat upstreams: the `Transcript`
does it. But here a turn stays the items that it was, in their order, since sealed reasoning belongs before what it led
to; and a tool's output may hold images.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.dialects.requests import ChatRules
from antiphon.translation.call_items import private
from antiphon.translation.content import ChatPart, chat_parts
from antiphon.translation.ids import CallIds
from antiphon.translation.messages import Transcript, _AssistantTurn, _Call
from antiphon.translation.notes import Notes
from antiphon.translation.reasoning import kept_reasoning
from antiphon.translation.tools import Offer
from antiphon.wire.items import PRIVATE, Item

InputItem = dict[str, Any]


# Tools that an upstream of the Responses API runs itself, and the items that show it.
_RUN_THERE = ("web_search", "code_interpreter", "image_generation")
_SHOWN_AS = frozenset({"web_search_call", "code_interpreter_call", "image_generation_call"})


def is_run_there(kind: str) -> bool:
    """Whether a tool of this type is the upstream's to run; web searches have many versions."""
    return kind.startswith(_RUN_THERE)


class ResponseInput(Transcript):
    """Collects items, or chat messages, in order; `items` gives the input they amount to.

    ``freeform`` are the names of tools that this upstream takes as freeform tools.
    """

    def __init__(
        self,
        offer: Offer,
        *,
        rules: ChatRules,
        notes: Notes,
        upstream: str | None = None,
        freeform: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(offer, rules=rules, notes=notes, upstream=upstream)
        self._freeform = freeform
        self._said: dict[int, list[str | _Call | InputItem]] = {}  # what a turn holds, in order, by its identity

    def items(self) -> list[InputItem]:
        """All input items, in order."""
        ids = CallIds(self._rules)
        found: list[InputItem] = []
        for entry in self._entries:
            if isinstance(entry, _AssistantTurn):
                found += self._turn_items(entry, ids)
            else:
                found.append({"type": "message", "role": entry["role"], "content": input_content(entry["content"])})
        if not found:
            self._notes.add("R36", seen="no input", done="sent as an empty user message: a chat needs one")
            found.append({"type": "message", "role": "user", "content": ""})
        return found

    def add(self, item: Item) -> None:
        """Take the next item of the history; what the upstream ran itself it is shown as it showed it."""
        kept = private(item)
        if item.get("type") in _SHOWN_AS and kept.get("upstream_id") and kept.get("upstream") == self._upstream:
            shown = {name: value for name, value in item.items() if name != PRIVATE}
            self._order_of(self._open_turn()).append({**shown, "id": kept["upstream_id"]})
        else:
            super().add(item)

    # --- what a turn holds -------------------------------------------------------------------

    def _add_message(self, item: Item) -> None:
        if item["role"] != "assistant":
            super()._add_message(item)
            return
        text = "".join(part["text"] for part in chat_parts(item["content"], self._rules, self._notes) if "text" in part)
        if text:
            turn = self._open_turn()
            turn.texts.append(text)
            self._order_of(turn).append(text)

    def _add_reasoning(self, item: Item) -> None:
        thought = self._thought(item)
        if thought is not None:
            self._order_of(self._open_turn()).append(thought)

    def _add_call(self, item: Item, *said: Any) -> None:
        before = self._entries[-1] if self._entries else None
        count = len(before.calls) if isinstance(before, _AssistantTurn) else 0
        super()._add_call(item, *said)
        turn = self._entries[-1] if self._entries else None
        if isinstance(turn, _AssistantTurn) and len(turn.calls) > (count if turn is before else 0):
            self._order_of(turn).append(turn.calls[-1])

    def _order_of(self, turn: _AssistantTurn) -> list[str | _Call | InputItem]:
        return self._said.setdefault(id(turn), [])

    def _thought(self, item: Item) -> InputItem | None:
        """Reasoning as the upstream that made it wants it back: sealed or raw, and without an id it would look up."""
        kept = kept_reasoning(item, self._notes)
        own = next((detail for detail in kept.details if detail.get("type") == "reasoning"), None)
        if own is not None and kept.upstream in (None, self._upstream):
            names = ("summary", "content", "encrypted_content")
            return {"type": "reasoning", "summary": [], **{name: own[name] for name in names if own.get(name)}}
        if kept.details:
            self._notes.add(
                "Q72", seen="signed or encrypted reasoning", done="not echoed: it belongs to another upstream"
            )
        return None

    # --- as items ----------------------------------------------------------------------------

    def _turn_items(self, turn: _AssistantTurn, ids: CallIds) -> list[InputItem]:
        order = self._said.get(id(turn)) or [*turn.texts, *turn.calls]
        found: list[InputItem] = []
        outputs: list[InputItem] = []
        lifted: list[ChatPart] = []
        for part in order:
            if isinstance(part, str):
                said = {"type": "output_text", "text": part, "annotations": []}
                found.append({"type": "message", "role": "assistant", "status": "completed", "content": [said]})
            elif isinstance(part, dict):
                found.append(part)
            elif not part.took_place:
                self._notes.add("Q25", seen=f"incomplete call of {part.name}", done="not shown: it never took place")
            else:
                wire_id = ids.assign(part.call_id, part.name)
                found.append(self._call_item(part, wire_id))
                outputs.append(self._output_item(part, wire_id, lifted))
        while found and found[-1]["type"] == "reasoning":
            found.pop()  # refused where nothing follows it
            self._notes.add("R30", seen="reasoning without an answer", done="not echoed: no message to put it on")
        seen = [{"type": "message", "role": "user", "content": input_content(lifted)}] if lifted else []
        return [*found, *outputs, *seen]

    def _call_item(self, call: _Call, wire_id: str) -> InputItem:
        if call.name in self._freeform:
            text = msgspec.json.decode(call.arguments)["input"]
            return {"type": "custom_tool_call", "call_id": wire_id, "name": call.name, "input": text}
        arguments = self._json(call.arguments)
        return {"type": "function_call", "call_id": wire_id, "name": call.name, "arguments": arguments}

    def _output_item(self, call: _Call, wire_id: str, lifted: list[ChatPart]) -> InputItem:
        kind = "custom_tool_call_output" if call.name in self._freeform else "function_call_output"
        if self._rules.responses == "full" and call.is_answered:
            parts = chat_parts(call.output, self._rules, self._notes)
            if any(part["type"] != "text" for part in parts):
                return {"type": kind, "call_id": wire_id, "output": input_content(parts)}
        content = self._tool_message(call, wire_id, lifted)["content"]
        text = content if isinstance(content, str) else "\n".join(part["text"] for part in content)
        return {"type": kind, "call_id": wire_id, "output": text}


def input_content(content: str | list[ChatPart]) -> str | list[dict[str, Any]]:
    """The content of a chat message as that of an input item."""
    return content if isinstance(content, str) else [_input_part(part) for part in content]


def _input_part(part: ChatPart) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "input_text", "text": text}
        case {"type": "image_url", "image_url": {"url": str(url), **more}}:
            return {"type": "input_image", "image_url": url, "detail": more.get("detail") or "auto"}
        case {"type": "file", "file": dict(file)}:
            return {"type": "input_file", **file}
    return dict(part)
