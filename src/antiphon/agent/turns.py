"""A journal as turns: what the model said and called in each, and what came of the calls. Without ids and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from antiphon.events import (
    ApprovalDecided,
    ApprovalRequested,
    Event,
    ReasoningDelta,
    ReasoningStarted,
    RefusalDelta,
    RefusalStarted,
    RunEvent,
    RunFinished,
    TextDelta,
    TextStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    ToolListCompleted,
    ToolListFailed,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)

# What happens before a model is asked: lists of tools, calls that an earlier run left.
BEFORE = -1


class Turn(NamedTuple):
    """One turn: who was asked, and what was said and done, each with a label."""

    number: int
    model: str
    rows: list[tuple[str, str]]


def turns(events: Sequence[RunEvent]) -> list[Turn]:
    """The turns of a run; of one that was asked more than once, the last attempt. `BEFORE` is left out if empty."""
    reading = _Reading()
    for event in events:
        reading.take(event)
    return [turn for turn in reading.turns.values() if turn.rows or turn.number != BEFORE]


def ending(events: Sequence[RunEvent]) -> tuple[str, str]:
    """How a run ended, and what it used, as one row."""
    finished = events[-1]
    usage = sum((event.usage for event in events if isinstance(event, TurnFinished) and event.usage), Usage())
    calls = sum(isinstance(event, ToolCallFinished) for event in events)
    said = [len([turn for turn in turns(events) if turn.number != BEFORE]), "turns,", calls, "calls,"]
    used = " ".join(map(str, [*said, usage.total_tokens, "tokens"]))
    if not isinstance(finished, RunFinished):
        return "ended", f"not yet: {used}"
    why = finished.reason or (finished.error and finished.error.message)
    return "ended", f"{finished.status}{f' ({why})' if why else ''}: {used}"


class _Reading:
    def __init__(self) -> None:
        self._turn = Turn(BEFORE, "", [])
        self.turns = {BEFORE: self._turn}
        self._open: dict[str, int] = {}  # block -> its row in the turn
        self._calls: dict[str, str] = {}  # block -> name

    def take(self, event: RunEvent) -> None:
        if (handler := _HANDLERS.get(type(event))) is not None:
            handler(self, event)

    def turn_started(self, event: TurnStarted) -> None:
        self._turn = self.turns[event.turn] = Turn(event.turn, event.model, [])

    def turn_failed(self, event: TurnFailed) -> None:
        self._say("error", f"{event.error.code}: {event.error.message}")

    def speech_started(self, event: TextStarted) -> None:
        self._open[event.block] = len(self._turn.rows)
        self._say(_SPEECH[type(event)], "")

    def said(self, event: TextDelta) -> None:
        row = self._open[event.block]
        label, text = self._turn.rows[row]
        self._turn.rows[row] = label, text + event.text

    def call_started(self, event: ToolCallStarted) -> None:
        name = f"{event.namespace}.{event.name}" if event.namespace else event.name
        self._calls[event.block] = name
        self._open[event.block] = len(self._turn.rows)
        self._say("calls", f"{name}(…)")

    def call_finished(self, event: ToolCallFinished) -> None:
        cut = "" if event.status == "completed" else " (cut off)"
        self._turn.rows[self._open[event.block]] = "calls", f"{self._calls[event.block]}({event.arguments}){cut}"

    def answered(self, event: ToolCallCompleted | ToolCallFailed) -> None:
        self._say("tool", event.output)

    def requested(self, event: ApprovalRequested) -> None:
        self._say("asks", f"whether {self._calls[event.block]} may run")

    def decided(self, event: ApprovalDecided) -> None:
        reason = f": {event.reason}" if event.reason else ""
        self._say("decided", f"{'approved' if event.approved else 'denied'}{reason}")

    def listed(self, event: ToolListCompleted) -> None:
        self._say("lists", ", ".join(str(tool.get("name")) for tool in event.tools))

    def not_listed(self, event: ToolListFailed) -> None:
        self._say("error", event.error.message)

    def _say(self, label: str, text: str) -> None:
        self._turn.rows.append((label, text))


_SPEECH: dict[type[Event], str] = {TextStarted: "assistant", ReasoningStarted: "reasoning", RefusalStarted: "refusal"}

_HANDLERS: dict[type[Event], Callable[[_Reading, Any], None]] = {
    TurnStarted: _Reading.turn_started,
    TurnFailed: _Reading.turn_failed,
    **dict.fromkeys(_SPEECH, _Reading.speech_started),
    **dict.fromkeys((TextDelta, ReasoningDelta, RefusalDelta), _Reading.said),
    ToolCallStarted: _Reading.call_started,
    ToolCallFinished: _Reading.call_finished,
    ToolCallCompleted: _Reading.answered,
    ToolCallFailed: _Reading.answered,
    ApprovalRequested: _Reading.requested,
    ApprovalDecided: _Reading.decided,
    ToolListCompleted: _Reading.listed,
    ToolListFailed: _Reading.not_listed,
}
