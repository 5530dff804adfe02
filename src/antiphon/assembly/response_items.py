"""The items of a Responses answer while they are streamed: what was said of each, and the calls among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon.assembly.arguments import Settled, settle
from antiphon.assembly.emission import Emission
from antiphon.events import ToolCallDelta, ToolCallFinished, ToolCallStarted, ToolKind

Key = int | str

# Items that are calls for somebody here to run: the kind of the call, and the member that holds its arguments.
CALLS: dict[str, tuple[ToolKind, str]] = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}
# Items of tools that the upstream ran itself: whole, they are shown as they came.
RUN_THERE = frozenset({"web_search_call", "code_interpreter_call", "image_generation_call"})
_SPOKEN = frozenset({"message", "reasoning", ""})


class StreamedItem:
    """An item as far as it came. ``said`` is what was shown of its texts, by field and index of the part.

    ``arguments`` are the pieces of a call's, ``whole`` what they come to, as the upstream said at their end.
    """

    __slots__ = ("annotated", "arguments", "call", "is_done", "key", "said", "thought", "type", "whole")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.type = ""
        self.said: dict[tuple[str, int], list[str]] = {}
        self.annotated: dict[int, int] = {}
        self.thought: str | None = None  # which of the two forms of a thought is shown
        self.call: CallItem | None = None
        self.arguments: list[str] = []
        self.whole: str | None = None
        self.is_done = False

    @property
    def is_hosted(self) -> bool:
        """Whether it is of a tool that the upstream runs itself, or of a kind that is not known here."""
        return self.type not in CALLS and self.type not in _SPOKEN

    def finish(self) -> None:
        """Nothing belongs to it any more; what was kept of it is let go."""
        self.is_done = True
        self.said, self.arguments = {}, []


class CallItem:
    """A call that was announced. ``whole`` is how many calls it came to that may be run; ``upstream_id`` its own id."""

    __slots__ = ("_emission", "block", "kind", "member", "name", "upstream_id", "whole")

    def __init__(self, emission: Emission, block: str, name: str, item_type: str, upstream_id: str) -> None:
        self._emission = emission
        self.block = block
        self.name = name
        self.kind, self.member = CALLS[item_type]
        self.upstream_id = upstream_id
        self.whole = 0

    @classmethod
    def announced(cls, emission: Emission, item: StreamedItem, name: str, shown: Mapping[str, Any]) -> CallItem:
        """The call of an item, told to the stream's reader together with the arguments that came before its name."""
        upstream_id = text_of(shown.get("call_id"))
        call = cls(emission, emission.open_block(), name, item.type, upstream_id)
        call_id = emission.claim_call_id(upstream_id)
        if call_id != upstream_id:
            emission.note("Q33" if upstream_id else "Q09", upstream_id or name, "minted a call id")
        emission.events.append(
            ToolCallStarted(
                block=call.block,
                call_id=call_id,
                name=name,
                kind=call.kind,
                namespace=text_of(shown.get("namespace")) or None,
            )
        )
        for text in item.arguments:
            call.say(text)
        return call

    def say(self, text: str) -> None:
        """More of the arguments."""
        self._emission.events.append(ToolCallDelta(block=self.block, arguments=text))

    def close(
        self, item: StreamedItem, shown: Mapping[str, Any], *, schema: Mapping[str, Any] | None, mends_tail: bool
    ) -> None:
        """The call is over; ``shown`` is its item, which may have the arguments at last."""
        text = self._arguments(item, shown)
        cut = shown.get("status") == "incomplete"
        if self.kind == "custom":
            settled = Settled((text,), "incomplete" if cut and item.whole is None else "completed")
        else:
            settled = settle(text, name=self.name, schema=schema, cut=cut, mends_tail=mends_tail)
        if settled.quirk:
            self._emission.note(settled.quirk, text, settled.done)
        if not item.arguments and settled.texts[0]:
            self.say(settled.texts[0])
        self._finish(settled)

    def cut(self, item: StreamedItem) -> None:
        """The stream broke off before the call was over."""
        self._finish(Settled(("".join(item.arguments),), "incomplete"))

    def _arguments(self, item: StreamedItem, shown: Mapping[str, Any]) -> str:
        streamed = "".join(item.arguments)
        last = shown.get(self.member)
        if isinstance(last, dict):
            self._emission.note("Q18", last, "encoded arguments that were not text")
            return msgspec.json.encode(last).decode()
        found = (text for text in (last, item.whole) if isinstance(text, str) and text)
        whole = next(found, streamed)
        if streamed and whole != streamed and not whole.startswith(streamed):
            self._emission.note("text_changed", whole, "took the arguments as they were at the end")
        return whole

    def _finish(self, settled: Settled) -> None:
        events, block = self._emission.events, self.block
        for number, text in enumerate(settled.texts):
            if number:
                block = self._emission.open_block()
                call_id = self._emission.claim_call_id("")
                events.append(ToolCallStarted(block=block, call_id=call_id, name=self.name, kind=self.kind))
                events.append(ToolCallDelta(block=block, arguments=text))
            events.append(ToolCallFinished(block=block, arguments=text, status=settled.status))
        self.whole = len(settled.texts) if settled.status == "completed" else 0


def text_of(value: Any) -> str:
    """The value if it is a text, else nothing."""
    return value if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none if it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
