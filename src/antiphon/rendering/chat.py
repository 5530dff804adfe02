"""The events of one model call as what the chat API would show of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from antiphon.events import (
    ReasoningDelta,
    ReasoningStarted,
    RefusalDelta,
    RefusalStarted,
    RunEvent,
    TextDelta,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFinished,
    TurnStarted,
)


def chat_choices(events: Iterable[RunEvent]) -> list[dict[str, Any]]:
    """One dict for each choice of a model call, by index: ``index``, ``role``, ``content``, ``reasoning``,
    ``tool_calls`` (``id``, ``name``, ``arguments``) and ``finish_reason``.

    ``content`` and ``reasoning`` are None where there was none; ``refusal`` is there only if there was one. Of a run
    with several turns, the last one is shown. The finish reason is the upstream's own word; None without an end.
    """
    choices = _Choices()
    for event in events:
        if (handler := _HANDLERS.get(type(event))) is not None:
            handler(choices, event)
    return choices.finished()


class _Choice:
    """What one choice has said so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[dict[str, str]] = []
        self.finish_reason: str | None = None

    def shown(self, index: int) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": index,
            "role": "assistant",
            "content": "".join(self.text) or None,
            "reasoning": "".join(self.reasoning) or None,
            "tool_calls": self.calls,
            "finish_reason": self.finish_reason,
        }
        if self.refusal:
            choice["refusal"] = "".join(self.refusal)
        return choice


class _Choices:
    """Choices by index, and what each block's deltas belong to."""

    def __init__(self) -> None:
        self._by_index: dict[int, _Choice] = {}
        self._pieces: dict[str, list[str]] = {}
        self._calls: dict[str, dict[str, str]] = {}

    def finished(self) -> list[dict[str, Any]]:
        return [self._by_index[index].shown(index) for index in sorted(self._by_index)]

    def _choice(self, index: int) -> _Choice:
        return self._by_index.setdefault(index, _Choice())

    def turn_started(self, _: TurnStarted) -> None:
        self.__init__()  # type: ignore[misc]

    def text_started(self, event: TextStarted) -> None:
        self._pieces[event.block] = self._choice(event.choice).text

    def reasoning_started(self, event: ReasoningStarted) -> None:
        self._pieces[event.block] = self._choice(event.choice).reasoning

    def refusal_started(self, event: RefusalStarted) -> None:
        self._pieces[event.block] = self._choice(event.choice).refusal

    def delta(self, event: TextDelta | ReasoningDelta | RefusalDelta) -> None:
        self._pieces[event.block].append(event.text)

    def call_started(self, event: ToolCallStarted) -> None:
        call = self._calls[event.block] = {"id": event.call_id, "name": event.name, "arguments": ""}
        self._choice(event.choice).calls.append(call)

    def call_delta(self, event: ToolCallDelta) -> None:
        self._calls[event.block]["arguments"] += event.arguments

    def call_finished(self, event: ToolCallFinished) -> None:
        self._calls[event.block]["arguments"] = event.arguments

    def turn_finished(self, event: TurnFinished) -> None:
        word = event.provider_data.get("finish_reason")
        self._choice(0).finish_reason = word if isinstance(word, str) else event.finish_reason
        for index, reason in event.other_finish_reasons.items():
            self._choice(index).finish_reason = reason


_HANDLERS: dict[type, Callable[[_Choices, Any], None]] = {
    TurnStarted: _Choices.turn_started,
    TextStarted: _Choices.text_started,
    TextDelta: _Choices.delta,
    ReasoningStarted: _Choices.reasoning_started,
    ReasoningDelta: _Choices.delta,
    RefusalStarted: _Choices.refusal_started,
    RefusalDelta: _Choices.delta,
    ToolCallStarted: _Choices.call_started,
    ToolCallDelta: _Choices.call_delta,
    ToolCallFinished: _Choices.call_finished,
    TurnFinished: _Choices.turn_finished,
}
