"""What a request lets the model call, held to by us whatever the upstream does. Pure.

A call that is not allowed never reaches the client, who would act on it: it is taken out of the turn and disclosed. A
turn that held nothing else has failed: an answer without its only content would look like an empty success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.events import (
    Diagnostic,
    ErrorInfo,
    ModelEvent,
    RefusalStarted,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
)
from antiphon.wire.responses import CreateResponse

_CALL_EVENTS = (ToolCallStarted, ToolCallDelta, ToolCallFinished)
_CONTENT = (TextStarted, RefusalStarted)


class ToolGate:
    """Passes the events of one turn on, without the calls that the request does not allow.

    ``max_calls`` is how many calls this turn may still make; None means any number. ``is_open`` says that nothing is
    limited.
    """

    def __init__(self, request: CreateResponse, *, max_calls: int | None = None) -> None:
        self._allowed = _allowed(request.tool_choice)
        self._max_calls = max_calls
        self._one_call = request.parallel_tool_calls is False
        self._passed = 0
        self._dropped: set[str] = set()
        self._names: list[str] = []  # of calls that are not allowed
        self._has_content = False
        self.is_open = self._allowed is None and max_calls is None and not self._one_call

    def let_through(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """What of these events goes on; the very list where nothing is limited."""
        if self.is_open:
            return events
        passed: list[ModelEvent] = []
        for event in events:
            passed += self._judged(event)
        return passed

    def _judged(self, event: ModelEvent) -> Sequence[ModelEvent]:
        if isinstance(event, _CONTENT):
            self._has_content = True
        elif isinstance(event, ToolCallStarted):
            objection = self._objection(event)
            if objection is not None:
                self._dropped.add(event.block)
                return (objection,)
            self._passed += 1
        elif isinstance(event, _CALL_EVENTS) and event.block in self._dropped:
            return ()
        elif isinstance(event, TurnFinished) and self._dropped:
            return (self._end(event),)
        return (event,)

    def _objection(self, call: ToolCallStarted) -> Diagnostic | None:
        if self._allowed is not None and not any(_is_meant(call, choice) for choice in self._allowed):
            self._names.append(call.name)
            return _dropped(call, quirk="tool_not_allowed")
        if self._one_call and self._passed:
            return _dropped(call, quirk="parallel_tool_calls")
        if self._max_calls is not None and self._passed >= self._max_calls:
            return _dropped(call, quirk="max_tool_calls")
        return None

    def _end(self, finished: TurnFinished) -> ModelEvent:
        if self._passed or self._has_content or not self._names:
            return finished
        message = f"The model called {', '.join(self._names)}, which the request's tool_choice does not allow."
        error = ErrorInfo(code="tool_not_allowed", message=message)
        return TurnFailed(turn=finished.turn, error=error, retryable=True, usage=finished.usage)


def _dropped(call: ToolCallStarted, *, quirk: str) -> Diagnostic:
    return Diagnostic(quirk=quirk, seen=f"call of {call.name}", done="dropped: the request excludes it")


def _allowed(choice: str | dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """The tools that may be called, as the request names them; None for all."""
    if choice == "none":
        return []
    if not isinstance(choice, dict):
        return None
    if choice["type"] == "allowed_tools":
        return list(choice["tools"])
    # A hosted tool that is not here could not be called: the choice was taken for auto, and disclosed.
    return [choice] if choice["type"] in ("function", "custom", "mcp", "file_search") else None


def _is_meant(call: ToolCallStarted, choice: dict[str, Any]) -> bool:
    kind, name = choice.get("type"), choice.get("name")
    if kind not in ("function", "custom", "mcp", "namespace"):
        return call.kind == kind
    if kind == "mcp":
        return call.kind == "mcp" and call.namespace == choice.get("server_label") and name in (None, call.name)
    if kind == "namespace":
        return call.namespace == name
    return call.kind == kind and name == call.name and choice.get("namespace") in (None, call.namespace)
