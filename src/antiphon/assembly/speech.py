"""What one choice says: text, reasoning and refusal, as blocks of which at most one is open.

A block opens with its first character and closes when another kind begins, a tool call is announced or the answer
ends; so the order of blocks is the order in which the model spoke (Q47, Q73, Q74).

Opaque parts of reasoning (signatures, encrypted blocks) never cut a text in two: those that come while text is open
wait for it to close.
"""

from __future__ import annotations

from typing import Any, Literal

from antiphon.assembly.emission import Emission
from antiphon.events import (
    AnnotationAdded,
    BlockStatus,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RefusalDelta,
    RefusalFinished,
    RefusalStarted,
    TextDelta,
    TextFinished,
    TextStarted,
)

Kind = Literal["text", "reasoning", "refusal"]

_STARTED: dict[Kind, type[TextStarted | ReasoningStarted | RefusalStarted]] = {
    "text": TextStarted,
    "reasoning": ReasoningStarted,
    "refusal": RefusalStarted,
}
_DELTA: dict[Kind, type[TextDelta | ReasoningDelta | RefusalDelta]] = {
    "text": TextDelta,
    "reasoning": ReasoningDelta,
    "refusal": RefusalDelta,
}

# Of an opaque part, what is a piece of text and grows; everything else is said once and replaced if said again.
_GROWING = ("text", "summary", "data")


class _Grown(list[str]):
    """Pieces of one text, told apart from a list an upstream sent."""


class Details:
    """The ``reasoning_details`` of a block, put together again from their fragments (Q64)."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[tuple[object, ...], dict[str, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, fragment: dict[str, Any]) -> None:
        """Take one fragment: those with one type and one index, or one id where there is no index, are one part."""
        index = fragment.get("index")
        name = index if index is not None else fragment.get("id")
        key = (str(fragment.get("type")), str(name) if name is not None else len(self._parts))
        part = self._parts.setdefault(key, {})
        for field, value in fragment.items():
            if field in _GROWING and type(value) is str:
                grown = part.get(field)
                if type(grown) is not _Grown:
                    grown = part[field] = _Grown()
                grown.append(value)
            elif value is not None or field not in part:
                part[field] = value

    def take(self) -> list[dict[str, Any]]:
        """The parts, in order of appearance; none are left."""
        parts = [
            {field: "".join(value) if type(value) is _Grown else value for field, value in part.items()}
            for part in self._parts.values()
        ]
        self._parts = {}
        return parts


class Speech:
    """The open block of a choice, if any.

    ``kind`` is None where none is open. ``field`` is the name its text has on the wire, and ``delta`` the event that
    more of it becomes.
    """

    __slots__ = ("_annotations", "_choice", "_details", "_emission", "block", "delta", "field", "has_said", "kind")

    def __init__(self, choice: int, emission: Emission) -> None:
        self._choice = choice
        self._emission = emission
        self._details = Details()
        self._annotations: list[dict[str, Any]] = []
        self.kind: Kind | None = None
        self.block = ""
        self.field: str | None = None
        self.delta: type[TextDelta | ReasoningDelta | RefusalDelta] = TextDelta
        self.has_said: set[Kind] = set()

    def say(self, kind: Kind, text: str, field: str | None = None) -> None:
        """Add text to the open block of this kind, opening it first where needed."""
        if self.kind != kind:
            self._open(kind, field)
        elif self.field is None:
            self.field = field
        self._emission.events.append(self.delta(block=self.block, text=text))

    def say_more(self, text: str) -> None:
        """Add text to the open block."""
        self._emission.events.append(self.delta(block=self.block, text=text))

    def say_text(self, text: str, logprobs: list[dict[str, Any]]) -> None:
        """`say` for text that comes with log probabilities; ``text`` may be empty where a text is open."""
        if self.kind != "text":
            self._open("text", "content")
        self._emission.events.append(TextDelta(block=self.block, text=text, logprobs=logprobs))

    def add_detail(self, fragment: dict[str, Any]) -> None:
        """Keep an opaque part of the reasoning; it belongs to the open reasoning, or to one of its own."""
        self._details.add(fragment)
        if self.kind is None:
            self._open("reasoning", None)

    def annotate(self, annotation: dict[str, Any]) -> None:
        """Add a citation to the open text, or to the next one."""
        if self.kind == "text":
            self._emission.events.append(AnnotationAdded(block=self.block, annotation=annotation))
        else:
            self._annotations.append(annotation)

    def close(self, status: BlockStatus = "completed") -> None:
        """Close the open block; opaque parts that waited for it become a reasoning of their own."""
        self._close(status)
        if self._details:
            self._open("reasoning", None)
            self._close("completed")

    def unclaimed_annotations(self) -> list[dict[str, Any]]:
        """Citations for which no text ever came."""
        return self._annotations

    def _open(self, kind: Kind, field: str | None) -> None:
        self._close("completed")
        self.kind, self.field, self.delta = kind, field, _DELTA[kind]
        self.block = self._emission.open_block()
        self.has_said.add(kind)
        self._emission.events.append(_STARTED[kind](block=self.block, choice=self._choice))
        if kind == "text" and self._annotations:
            waiting, self._annotations = self._annotations, []
            for annotation in waiting:
                self.annotate(annotation)

    def _close(self, status: BlockStatus) -> None:
        events = self._emission.events
        if self.kind == "text":
            events.append(TextFinished(block=self.block, status=status))
        elif self.kind == "refusal":
            events.append(RefusalFinished(block=self.block, status=status))
        elif self.kind == "reasoning":
            details = self._details.take()
            events.append(ReasoningFinished(block=self.block, status=status, details=details, field=self.field))
        self.kind = self.field = None
