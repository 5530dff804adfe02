"""A step of an agent: one model call, which the user's own functions may change, or leave out to stop the run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.agent.effects import Finish
from antiphon.agent.limits import Limits
from antiphon.agent.loop import STOPPED
from antiphon.errors import UsageError
from antiphon.events import ErrorInfo, RunEvent, ToolCallStarted, TurnFinished, Usage
from antiphon.providers.base import ModelCall
from antiphon.wire.hosted import DEFAULT_FILE_SEARCH_NAME, imported
from antiphon.wire.responses import CreateResponse, Item


class Step(msgspec.Struct, kw_only=True):
    """What the model is about to be asked. ``before_step`` may change the first five, in place.

    ``tools`` are the names of those it may call, a server's as ``label.name``. ``turn`` counts from 0; ``called``
    names the tools that were called so far, in order; ``usage`` is what was used up; ``deps`` was given to the run.
    """

    model: str
    instructions: str | None
    items: list[Item]
    tools: list[str]
    tool_choice: str | dict[str, Any]
    turn: int = 0
    called: Sequence[str] = ()
    usage: Usage = Usage()
    deps: Any = None


_STOP = Finish("completed", STOPPED)

BeforeStep = Callable[[Step], Awaitable[None] | None]
StopCondition = Callable[[Step], bool]


def stop_after(
    *, turns: int | None = None, call: str | None = None, calls: int | None = None, tokens: int | None = None
) -> StopCondition:
    """A condition for ``stop_when``: so many model calls, a call of this tool, so many calls or tokens; any of them.

    What was called is answered before the run stops.
    """

    def is_reached(step: Step) -> bool:
        return (
            (turns is not None and step.turn >= turns)
            or (call is not None and call in step.called)
            or (calls is not None and len(step.called) >= calls)
            or (tokens is not None and step.usage.total_tokens >= tokens)
        )

    return is_reached


class Steps:
    """Applies an agent's ``before_step`` and ``stop_when`` to the calls of one run; ``error`` is what they raised.

    ``answer`` is what a tool ended the run with; ``sub_runs`` are the runs that its tools made.
    """

    def __init__(
        self,
        events: Sequence[RunEvent],
        *,
        before_step: BeforeStep | None,
        stop_when: Sequence[StopCondition],
        deps: Any,
        limits: Limits,
    ) -> None:
        self._events = events
        self._before_step = before_step
        self._stop_when = stop_when
        self.deps = deps
        self._limits = limits
        self.error: Exception | None = None
        self.answer: str | None = None
        self.sub_runs: list[Any] = []

    async def prepare(self, call: ModelCall) -> ModelCall | Finish:
        """The call as it is to be made, or how the run shall end before it."""
        step = self._step(call)
        before = (step.model, step.instructions, [*step.items], [*step.tools], step.tool_choice)
        if self.answer is not None:
            return _STOP
        try:
            if call.turn and any(stop(step) for stop in self._stop_when):
                return _STOP
            if self._before_step is not None and inspect.isawaitable(done := self._before_step(step)):
                await done
            if self._limits.max_cost_usd is not None and step.model not in self._limits.prices:
                raise UsageError(f"max_cost_usd needs the price of {step.model!r}. Give it: Agent(prices={{...}}).")
        except Exception as error:  # noqa: BLE001 - whatever a hook raises ends the run, and is its cause
            self.error = error
            info = ErrorInfo(code="hook_failed", message=f"{type(error).__name__}: {error}")
            return Finish("failed", error=info)
        is_changed = before != (step.model, step.instructions, step.items, step.tools, step.tool_choice)
        return _changed(call, step) if is_changed else call

    def _step(self, call: ModelCall) -> Step:
        request = call.request
        assert isinstance(request, CreateResponse)
        usages = (event.usage for event in self._events if isinstance(event, TurnFinished))
        return Step(
            model=call.model,
            instructions=request.instructions,
            items=[*call.items],
            tools=[*_offered(call)],
            tool_choice=request.tool_choice or "auto",
            turn=call.turn,
            called=[event.name for event in self._events if isinstance(event, ToolCallStarted)],
            usage=sum((usage for usage in usages if usage is not None), Usage()),
            deps=self.deps,
        )


def _changed(call: ModelCall, step: Step) -> ModelCall:
    request = call.request
    assert isinstance(request, CreateResponse)
    offered = _offered(call)
    left = [choice for name, choice in offered.items() if name in step.tools]
    choice: str | dict[str, Any] | None = step.tool_choice
    if len(left) < len(offered) and choice in ("auto", "required"):
        # A hard limit: what is not offered is not run, should the model remember it.
        choice = {"type": "allowed_tools", "mode": choice, "tools": left} if left else "none"
    if choice == (request.tool_choice or "auto"):
        choice = request.tool_choice
    changed = replace(request, instructions=step.instructions, tool_choice=choice)
    return replace(call, model=step.model, items=step.items, request=changed)


def _offered(call: ModelCall) -> dict[str, dict[str, Any]]:
    """The tools that the model is offered, by their names, and how each is chosen; a server's as ``label.name``."""
    request = call.request
    assert isinstance(request, CreateResponse)
    tools = request.tools or []
    offered: dict[str, dict[str, Any]] = {}
    for tool in tools:
        if tool["type"] == "file_search":
            offered[tool.get("name", DEFAULT_FILE_SEARCH_NAME)] = {"type": "file_search"}
        elif tool["type"] in ("function", "custom"):
            offered[tool["name"]] = {"type": tool["type"], "name": tool["name"]}
        elif tool["type"] != "mcp":
            offered[tool["type"]] = {"type": tool["type"]}
    for server, listed in imported(tools, call.items):
        label = server.server_label
        for tool in listed:
            offered[f"{label}.{tool['name']}"] = {"type": "mcp", "server_label": label, "name": tool["name"]}
    return offered
