"""A run's events as a Responses stream and as the Response object. The same events always give the same bytes.

A stream begins with response.created and response.in_progress; a background run is ``queued`` until its first turn.
Exactly one terminal event ends a stream, and it carries the Response object as ``GET`` shows it:

    completed    response.completed
    incomplete   response.incomplete, with the reason
    failed       response.failed, with the error and whatever output there was. No ``error`` event goes before it: in
                 its nested form openai-python raises and the output is lost, in its flat form it says nothing that
                 response.failed does not say to every client.
    cancelled    response.incomplete, its response having the status ``cancelled``. There is no event for this: an
                 invented name makes openai-node throw, and clients ask again after response.failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon.events import (
    Diagnostic,
    Fork,
    RunEvent,
    RunFinished,
    RunStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)
from antiphon.rendering.echo import echoed
from antiphon.rendering.frames import DONE, Frame, FrameWriter, sse
from antiphon.rendering.items import Handlers, ItemBuilder
from antiphon.wire.sealed import Sealer

__all__ = ["DONE", "Frame", "ResponsesRenderer", "response_object", "sse"]

_TERMINAL = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.incomplete",
}
# The chat API's words for the two reasons that OpenAI documents; any other is shown as it is.
_REASONS = {"length": "max_output_tokens"}


class _Handlers(dict[type, Any]):
    def __missing__(self, event: type) -> None:
        raise ValueError(f"{event.__name__} has no place here: a run begins with RunStarted and ends with RunFinished.")


class ResponsesRenderer:
    """Renders the events of one run, fed in any portions, in order, from its `RunStarted` on.

    ``sealer`` seals what the request's ``include`` wants sealed; without one it is left out. Every setting stands in
    `RunStarted`.

    What was mended stands in the Response object, under ``antiphon.diagnostics``: only where there is any, each thing
    once. Of a fork ``antiphon.forked_from`` says which response it left, and at which turn. Both API documents allow
    members they do not know, and there is no event for it that every client would take.
    """

    def __init__(self, *, sealer: Sealer | None = None) -> None:
        self._writer = FrameWriter()
        self._items = ItemBuilder(self._writer, sealer=sealer)
        self._response: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._diagnostics: dict[Diagnostic, None] = {}
        self._fork: Fork | None = None
        self._handlers: Handlers = _Handlers({RunStarted: self._run_started})

    def render(self, events: Iterable[RunEvent]) -> list[Frame]:
        """The frames these events become.

        Raises:
            ValueError: the events are not a legal sequence.
        """
        handlers = self._handlers
        for event in events:
            handlers[type(event)](event)
        return self._writer.take()

    @property
    def response(self) -> dict[str, Any]:
        """The Response object as it stands now; empty before `RunStarted`."""
        if not self._response:
            return {}
        response = {**self._response, "output": self._items.output(), "usage": _usage(self._usage)}
        if extension := self._extension():
            response["antiphon"] = extension
        return response

    def _extension(self) -> dict[str, Any]:
        """What the API has no place for."""
        extension: dict[str, Any] = {}
        if self._fork is not None:
            extension["forked_from"] = {"response": self._fork.run, "turn": self._fork.turn}
        if self._diagnostics:
            extension["diagnostics"] = [_disclosed(event) for event in self._diagnostics]
        return extension

    def _run_started(self, event: RunStarted) -> None:
        self._items.run_started(event)
        self._fork = event.forked_from
        self._response = {
            "id": event.run,
            "object": "response",
            "created_at": event.created_at_s,
            "completed_at": None,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": event.model,
            "output": [],
            "usage": None,
            **echoed(event.request),
        }
        self._handlers.update(self._items.handlers)
        self._handlers[Diagnostic] = self._diagnostic
        self._handlers.update({TurnFinished: self._turn_ended, TurnFailed: self._turn_ended})
        self._handlers[RunFinished] = self._run_finished
        del self._handlers[RunStarted]
        if self._response["background"]:
            self._response["status"] = "queued"
            self._show("response.created")
            self._show("response.queued")
            self._handlers[TurnStarted] = self._first_turn_started
        else:
            self._show("response.created")
            self._show("response.in_progress")

    def _show(self, type_: str) -> None:
        self._writer.write(type_, {"response": self.response})

    def _first_turn_started(self, event: TurnStarted) -> None:
        self._response["status"] = "in_progress"
        self._show("response.in_progress")
        handler = self._handlers[TurnStarted] = self._items.handlers[TurnStarted]
        handler(event)

    def _diagnostic(self, event: Diagnostic) -> None:
        self._diagnostics[event] = None

    def _turn_ended(self, event: TurnFinished | TurnFailed) -> None:
        self._items.handlers[type(event)](event)
        if event.usage is not None:
            self._usage = (self._usage or Usage()) + event.usage

    def _run_finished(self, event: RunFinished) -> None:
        self._items.settle()
        response = self._response
        response["status"] = event.status
        if event.status == "completed":
            response["completed_at"] = event.finished_at_s
        elif event.status == "incomplete":
            reason = event.reason or "unknown"
            response["incomplete_details"] = {"reason": _REASONS.get(reason, reason)}
        elif event.status == "failed":
            error = event.error
            response["error"] = {
                "code": error.code if error else "server_error",
                "message": error.message if error else event.reason or "The run failed.",
            }
        self._show(_TERMINAL[event.status])
        self._handlers.clear()


def response_object(events: Iterable[RunEvent], *, sealer: Sealer | None = None) -> dict[str, Any]:
    """The Response object of a run, which its stream's last event carries too."""
    renderer = ResponsesRenderer(sealer=sealer)
    renderer.render(events)
    return renderer.response


def _disclosed(event: Diagnostic) -> dict[str, str]:
    return {"quirk": event.quirk, "seen": event.seen, "done": event.done}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
