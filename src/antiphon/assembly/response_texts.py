"""Text, refusals and reasoning of a Responses answer, in the order they are said: one block open at a time.

A text may come in deltas, with the event that ends it, with its part, its item or the whole response. What came first
stands, and what comes later adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from antiphon.assembly.emission import Emission
from antiphon.assembly.response_items import Key, StreamedItem, objects, text_of
from antiphon.assembly.speech import Kind, Speech
from antiphon.events import BlockStatus


class Spot(NamedTuple):
    """Where a text belongs: the kind of block it is here, its member on the wire, and the item's list of such parts.

    ``field`` tells spots of one item apart; of a call it is the item's type.
    """

    kind: Kind
    field: str
    member: str
    parts: str = "content"


TEXT = Spot("text", "output_text", "text")
REFUSAL = Spot("refusal", "refusal", "refusal")
THOUGHT = Spot("reasoning", "reasoning_text", "text")
SUMMARY = Spot("reasoning", "summary_text", "text", "summary")
_PARTS = {spot.field: spot for spot in (TEXT, REFUSAL, THOUGHT, SUMMARY)}


class ResponseTexts:
    """Says what the items of one answer say."""

    def __init__(self, emission: Emission) -> None:
        self._emission = emission
        self._speech = Speech(0, emission)
        self._at: tuple[Key, str, int] | None = None  # the part whose text is open; of a reasoning, all of them

    @property
    def has_said(self) -> set[Kind]:
        """The kinds of what was said."""
        return self._speech.has_said

    def say(self, item: StreamedItem, spot: Spot, index: int, text: str, logprobs: Any = None) -> None:
        """Add text to a part of an item, opening its block where needed."""
        if not text:
            return
        if spot.kind == "reasoning":
            if item.thought not in (None, spot.field):
                return  # the same thought in another form: kept in the item's details, not shown twice
            item.thought = spot.field
        pieces = item.said.setdefault((spot.field, index), [])
        at = (item.key, spot.kind, 0 if spot.kind == "reasoning" else index)
        if self._at != at:
            self.leave()
            self._at = at
        elif not pieces:
            self._speech.say(spot.kind, "\n\n")  # the next part of one reasoning
        pieces.append(text)
        if logprobs and isinstance(logprobs, list):
            self._speech.say_text(text, objects(logprobs))
        else:
            self._speech.say(spot.kind, text)

    def whole(self, item: StreamedItem, spot: Spot, index: int, text: Any) -> None:
        """A text as it is in the end: what was not streamed of it is said now."""
        if not isinstance(text, str) or (spot.kind == "reasoning" and item.thought not in (None, spot.field)):
            return
        said = "".join(item.said.get((spot.field, index), ()))
        if text.startswith(said):
            self.say(item, spot, index, text[len(said) :])
        else:
            self._emission.note("text_changed", text, "kept the text as it was streamed")

    def whole_part(self, item: StreamedItem, index: int, part: Mapping[str, Any]) -> None:
        """A part as it is in the end, its annotations with it."""
        spot = _PARTS.get(text_of(part.get("type")))
        if spot is None:
            return
        self.whole(item, spot, index, part.get(spot.member))
        if self._at == (item.key, "text", index):
            for annotation in objects(part.get("annotations"))[item.annotated.get(index, 0) :]:
                self.annotate(item, index, annotation)

    def annotate(self, item: StreamedItem, index: int, annotation: dict[str, Any]) -> None:
        """Add a citation to the open text, or to the next one."""
        item.annotated[index] = item.annotated.get(index, 0) + 1
        self._speech.annotate(annotation)

    def finish_reasoning(self, item: StreamedItem, shown: Mapping[str, Any]) -> None:
        """A reasoning item is over: what is sealed or raw in it is kept for the upstream that made it."""
        for spot in (SUMMARY, THOUGHT):
            for index, part in enumerate(objects(shown.get(spot.parts))):
                self.whole(item, spot, index, part.get("text"))
        if shown.get("encrypted_content") or shown.get("content"):
            if self._at != (item.key, "reasoning", 0):
                self.leave()
                self._at = item.key, "reasoning", 0
            self._speech.add_detail(dict(shown))

    def leave_item(self, item: StreamedItem) -> None:
        """Whatever comes next does not belong to this item."""
        if self._at is not None and self._at[0] == item.key:
            self.leave()

    def leave(self, status: BlockStatus = "completed") -> None:
        """Whatever comes next does not belong to the text that is open."""
        self._speech.close(status)
        self._at = None
