"""The tool calls of one choice, from their first pieces to their whole arguments.

Where a piece goes is decided in `antiphon.assembly.tool_calls`, what the arguments come to in
`antiphon.assembly.arguments`; here it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from antiphon.assembly.arguments import Settled, settle
from antiphon.assembly.emission import Emission
from antiphon.assembly.tool_calls import Piece, Row, Sighting, Slot, decide
from antiphon.dialects.answers import AnswerRules
from antiphon.errors import LimitExceeded
from antiphon.events import ToolCallDelta, ToolCallFinished, ToolCallStarted, ToolKind

MAX_CALLS = 1024

_ENTRY_KEYS = frozenset({"index", "id", "type", "function", "custom", "name", "arguments"})
_FUNCTION_KEYS = frozenset({"name", "arguments", "input"})


class ToolCalls:
    """The calls of one choice. ``before_announcing`` is called each time a call is about to be announced."""

    __slots__ = ("_at", "_before_announcing", "_choice", "_emission", "_offered", "_rules", "_slots")

    def __init__(
        self,
        choice: int,
        emission: Emission,
        rules: AnswerRules,
        offered: Mapping[str, Any],
        before_announcing: Callable[[], None],
    ) -> None:
        self._choice = choice
        self._emission = emission
        self._rules = rules
        self._offered = offered
        self._before_announcing = before_announcing
        self._slots: list[Slot] = []
        self._at: dict[int, Slot] = {}  # the latest call at each index

    def __bool__(self) -> bool:
        return any(slot.name for slot in self._slots)

    def take(self, entries: list[Any], *, whole: bool) -> None:
        """Take one chunk's ``tool_calls``, or with ``whole`` a message's: there each entry is a call of its own.

        Raises:
            LimitExceeded: the upstream sends more calls than anybody could mean.
        """
        for position, entry in enumerate(entries):
            if type(entry) is not dict:
                self._emission.note("Q01", entry, "ignored a tool call that is no object")
            elif whole:
                self._take_piece(self._read(entry, position))
            elif not self.take_more(entry):
                self._take_piece(self._read(entry, self._index(entry)))

    def add(self, name: str, arguments: str, call_id: str) -> None:
        """Add a call that came whole, and not as a tool call; ``call_id`` may be empty."""
        slot = self._new_slot(None, "function")
        self._fill(slot, Piece(None, call_id, name, arguments))

    def take_more(self, entry: object) -> bool:
        """The short way for most pieces: more arguments for an announced call, as row Q08 has it.

        False, and nothing done, if there is anything else to decide.
        """
        if type(entry) is not dict:
            return False
        index, function = entry.get("index"), entry.get("function")
        slot = self._at.get(index) if type(index) is int else None
        if slot is None or slot.block is None or type(function) is not dict or entry.get("id") or function.get("name"):
            return False
        text = function.get("arguments")
        if type(text) is not str or not _ENTRY_KEYS.issuperset(entry) or not _FUNCTION_KEYS.issuperset(function):
            return False
        if text:
            self._add_more(slot, text)
        return True

    def repeated(self, entry: dict[str, Any]) -> tuple[str, str, Callable[[str], None]]:
        """Of an entry that `take_more` took: the field that has the text, the text, and what takes more of the same."""
        return "arguments", entry["function"]["arguments"], partial(self._add_more, self._at[entry["index"]])

    def _add_more(self, slot: Slot, text: str) -> None:
        assert slot.block is not None  # it is announced
        slot.arguments.append(text)
        self._emission.events.append(ToolCallDelta(block=slot.block, arguments=text))

    def _index(self, entry: dict[str, Any]) -> int | None:
        index = entry.get("index")
        if type(index) is int:
            return index
        quirk = "Q02" if "index" in entry else "Q01"
        self._emission.note(quirk, entry, "no index: went by id, name and order")
        return None

    def _read(self, entry: dict[str, Any], index: int | None) -> Piece:
        function, kind = entry.get("function"), "function"
        if type(function) is not dict:
            function = entry.get("custom")
            kind = "custom" if type(function) is dict else "function"
        if type(function) is not dict:
            function = entry  # {"id", "name", "arguments"} without the level between
        extra = {key: value for key, value in entry.items() if key not in _ENTRY_KEYS and value is not None}
        if function is not entry and not _FUNCTION_KEYS.issuperset(function):
            extra["function"] = {key: value for key, value in function.items() if key not in _FUNCTION_KEYS}
        return Piece(
            at=index,
            id=_id(entry.get("id")),
            name=_text(function.get("name")),
            arguments=self._arguments(function.get("input" if kind == "custom" else "arguments")),
            kind="custom" if kind == "custom" else "function",
            extra=extra,
        )

    def _arguments(self, seen: object) -> str:
        if type(seen) is str:
            return seen
        if seen is None:
            return ""
        self._emission.note("Q18", seen, "encoded arguments that were not text")
        return msgspec.json.encode(seen).decode()

    def _take_piece(self, piece: Piece) -> None:
        owner = next((slot for slot in self._slots if slot.id == piece.id), None) if piece.id else None
        last = self._slots[-1] if self._slots else None
        place = (owner or last) if piece.at is None else self._at.get(piece.at)
        row = decide(Sighting(piece, place, owner, self._offered))
        if row.done is not None:
            self._emission.note(row.quirk, piece, row.done)
        slot = self._target(row, piece, place, owner)
        if slot is not None:
            self._fill(slot, piece)

    def _target(self, row: Row, piece: Piece, place: Slot | None, owner: Slot | None) -> Slot | None:
        if row.to == "place":
            return place
        if row.to == "owner":
            return owner
        if row.to == "nowhere":
            return None
        return self._new_slot(piece.at, piece.kind)

    def _new_slot(self, at: int | None, kind: ToolKind) -> Slot:
        if len(self._slots) >= MAX_CALLS:
            raise LimitExceeded("tool_calls", f"The upstream sent more than {MAX_CALLS} tool calls in one answer.")
        slot = Slot(at)
        slot.kind = kind
        self._slots.append(slot)
        if at is not None:
            self._at[at] = slot
        return slot

    def _fill(self, slot: Slot, piece: Piece) -> None:
        if piece.id and not slot.id:
            slot.id = piece.id
            if slot.block is not None:
                slot.extra["id"] = piece.id  # too late: the call already has one
        if piece.name and slot.block is None and piece.name != slot.name:
            slot.name = piece.name if piece.name.startswith(slot.name) else slot.name + piece.name
        if piece.extra:
            slot.extra.update(piece.extra)
        if piece.arguments:
            slot.arguments.append(piece.arguments)
            if slot.block is not None:
                self._emission.events.append(ToolCallDelta(block=slot.block, arguments=piece.arguments))
        if slot.block is None and slot.name and (slot.arguments or self._is_resolved(slot.name)):
            self._announce(slot)

    def _is_resolved(self, name: str) -> bool:
        """Whether a name is a whole one for certain: offered, and not the beginning of another that is offered."""
        return name in self._offered and not any(other != name and other.startswith(name) for other in self._offered)

    def _announce(self, slot: Slot) -> None:
        """Announce a call, after those that began before it: the order of calls is the order of their first pieces."""
        for earlier in self._slots:
            if earlier is slot:
                break
            if earlier.block is None and earlier.name:
                self._announce_one(earlier)
        self._announce_one(slot)

    def _announce_one(self, slot: Slot) -> None:
        self._before_announcing()
        call_id = self._emission.claim_call_id(slot.id)
        if not slot.id:
            self._emission.note("Q09", slot.name, "minted a call id")
        elif call_id != slot.id:
            self._emission.note("Q33", slot.id, "minted a call id: the upstream's was taken")
            slot.extra["id"] = slot.id
        slot.block = self._start(call_id, slot.name, slot.kind)
        if slot.arguments:
            self._emission.events.append(ToolCallDelta(block=slot.block, arguments=slot.text))

    def _start(self, call_id: str, name: str, kind: ToolKind) -> str:
        block = self._emission.open_block()
        self._emission.events.append(
            ToolCallStarted(block=block, call_id=call_id, name=name, kind=kind, choice=self._choice)
        )
        return block

    def finish(self, *, cut: bool, failed: bool) -> int:
        """Close every call; give the number of those that are whole.

        ``cut`` says that the model was stopped before it was done, ``failed`` that the stream was: then no call is
        whole, whatever its arguments look like.
        """
        whole = 0
        for slot in self._slots:
            if not slot.name:
                self._emission.note("Q14", slot.text or slot.id, "dropped a call that never got a name")
                continue
            if slot.block is None:
                self._announce(slot)
            settled = self._settle(slot, cut=cut, failed=failed)
            if settled.quirk:
                self._emission.note(settled.quirk, slot.text, settled.done)
            whole += self._close(slot, settled)
        return whole

    def _settle(self, slot: Slot, *, cut: bool, failed: bool) -> Settled:
        if failed or (cut and slot.kind == "custom"):
            return Settled((slot.text,), "incomplete", "Q39", "the answer stopped early: not executed")
        if slot.kind == "custom":
            return Settled((slot.text,))
        return settle(
            slot.text,
            name=slot.name,
            schema=self._offered.get(slot.name),
            cut=cut,
            mends_tail=self._rules.mends_argument_tail,
        )

    def _close(self, slot: Slot, settled: Settled) -> int:
        events, block = self._emission.events, slot.block
        for number, text in enumerate(settled.texts):
            if number:
                block = self._start(self._emission.claim_call_id(""), slot.name, slot.kind)
                events.append(ToolCallDelta(block=block, arguments=text))
            assert block is not None  # announced before it is closed
            events.append(
                ToolCallFinished(block=block, arguments=text, status=settled.status, provider_data=slot.extra)
            )
        return len(settled.texts) if settled.status == "completed" else 0


def _text(seen: object) -> str:
    return seen if type(seen) is str else ""


def _id(seen: object) -> str:
    return str(seen) if type(seen) is int else _text(seen)
