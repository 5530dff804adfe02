"""What the loop does besides asking a model: lists tools, runs them, asks a person. What comes of it are events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from itertools import chain, takewhile
from typing import NamedTuple, TypeVar

from msgspec import structs

from antiphon.agent.effects import AskApproval, CallTools, CarriedCall, ListTools, TakeUp, ToolCall, ToolPolicy
from antiphon.agent.hosted import HostedTools, Policy
from antiphon.assembly.file_citations import FileCitations
from antiphon.clock import Ids
from antiphon.errors import AntiphonError
from antiphon.events import (
    ApprovalDecided,
    ApprovalRequested,
    ErrorInfo,
    ModelEvent,
    RunEvent,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    ToolKind,
    ToolListCompleted,
    ToolListFailed,
    ToolListStarted,
)
from antiphon.tools.base import ToolError, ToolResult
from antiphon.wire.items import Item

# What the model is told of calls that were not run, or may have been.
_REFUSED = "This call was not run: it was denied, or the limit of tool calls is reached."
_UNKNOWN = (
    "The outcome of this call is unknown: the server stopped while it was running, and it was not run again."
    " It may have taken effect: check before you repeat it."
)

_FUNCTIONS: tuple[ToolKind, ...] = ("function", "custom")

_ToolName = tuple[ToolKind, str | None, str]  # kind, namespace, name
_Event = TypeVar("_Event", bound=RunEvent)


class Tool(NamedTuple):
    """A function the server runs itself. ``run`` takes a whole call and gives what the model is told."""

    run: Callable[[ToolCall], Awaitable[str | ToolResult]]
    policy: ToolPolicy = ToolPolicy()


class Decision(NamedTuple):
    """What a person decided on a call; the model is told the ``reason`` of a denial.

    ``arguments``, JSON text, replace those that the model made.
    """

    approved: bool
    reason: str | None = None
    arguments: str | None = None


Decide = Callable[[ToolCall], Awaitable[Decision]]


class Acting:
    """Does the effects of one run that are not model calls. ``events`` is its journal, as it grows.

    ``decide`` is asked about calls that need an approval; without one, nobody is.
    """

    def __init__(
        self,
        *,
        events: Sequence[RunEvent],
        ids: Ids,
        tools: Mapping[str, Tool],
        hosted: HostedTools | None = None,
        decide: Decide | None = None,
    ) -> None:
        self._events = events
        self._ids = ids
        self._tools = tools
        self._hosted = hosted
        self._decide = decide
        self._hosted_names: list[str] = []  # what the model was offered last

    def perform(self, effect: ListTools | TakeUp | CallTools | AskApproval) -> AsyncGenerator[list[RunEvent], None]:
        """What comes of an effect, in batches as it comes."""
        match effect:
            case ListTools():
                return self._list_tools(effect)
            case TakeUp():
                return self._take_up(effect)
            case CallTools():
                return self._call_tools(effect)
            case AskApproval():
                return self._ask_approval(effect)

    def treatment(self, items: Sequence[Item]) -> Callable[[list[ModelEvent]], list[RunEvent]]:
        """What is made of a turn's events before anybody sees them; ``items`` are those that the model is asked with.

        Calls are noted what the server's own policies say of their tools; markers of files become annotations.
        """
        policies = self._policies(items)
        self._hosted_names = [name for kind, _, name in policies if kind not in _FUNCTIONS]
        files = None if self._hosted is None else self._hosted.cited_files(items)
        citations = None if files is None else FileCitations(files)

        def treated(events: list[ModelEvent]) -> list[RunEvent]:
            shown = events if citations is None else citations.let_through(events)
            return [_treated(event, policies) for event in shown] if policies else [*shown]

        return treated

    def _policies(self, items: Sequence[Item]) -> dict[_ToolName, Policy]:
        policies: dict[_ToolName, Policy] = {
            (kind, None, name): Policy(needs_approval=True)
            for name, tool in self._tools.items()
            if tool.policy.needs_approval
            for kind in _FUNCTIONS
        }
        if self._hosted is not None:
            policies.update(self._hosted.policies(items))
        return policies

    async def _list_tools(self, effect: ListTools) -> AsyncGenerator[list[RunEvent], None]:
        """Ask the servers side by side; what they have comes in the order of the request."""
        assert self._hosted is not None
        blocks = {server: effect.begun.get(server) or f"list.{server}" for server in effect.servers}
        yield [
            ToolListStarted(block=block, server=server, source=self._hosted.source(server))
            for server, block in blocks.items()
            if server not in effect.begun
        ]
        tasks = [asyncio.create_task(self._list(server, block)) for server, block in blocks.items()]
        async with aclosing(_in_order(tasks)) as batches:
            async for batch in batches:
                yield [*batch]

    async def _list(self, server: str, block: str) -> ToolListCompleted | ToolListFailed:
        assert self._hosted is not None
        try:
            return ToolListCompleted(block=block, tools=await self._hosted.list_tools(server))
        except AntiphonError as error:
            return ToolListFailed(block=block, error=ErrorInfo(code=error.code, message=error.message))

    async def _take_up(self, effect: TakeUp) -> AsyncGenerator[list[RunEvent], None]:
        """Write down calls that an earlier run made, and what was decided on them: all at once, or nothing."""
        calls = {f"carried.{number}": call for number, call in enumerate(effect.calls)}
        made: Iterable[RunEvent] = chain.from_iterable(_made_before(block, call) for block, call in calls.items())
        decided = (_decided(block, call) for block, call in calls.items() if call.approval_id is not None)
        yield [*made, *decided]

    async def _call_tools(self, effect: CallTools) -> AsyncGenerator[list[RunEvent], None]:
        """Run the calls side by side; their results come in the order of the calls, each as soon as that allows."""
        if effect.calls:
            yield [ToolCallExecuting(block=call.block) for call in effect.calls]
        async with aclosing(_in_order([asyncio.create_task(self._run_tool(call)) for call in effect.calls])) as batches:
            async for batch in batches:
                yield [*batch]
        refused = [_answered(call, "tool_call_refused", self._refusal(call)) for call in effect.refused]
        unknown = [_answered(call, "tool_call_interrupted", _UNKNOWN) for call in effect.unknown]
        if refused or unknown:
            yield [*refused, *unknown]

    def _refusal(self, call: ToolCall) -> str:
        decided = (event for event in self._events if isinstance(event, ApprovalDecided))
        reason = next((event.reason for event in decided if event.block == call.block and not event.approved), None)
        return f"This call was not run: it was denied. {reason}" if reason else _REFUSED

    async def _run_tool(self, call: ToolCall) -> ToolCallCompleted | ToolCallFailed:
        is_hosted = self._hosted is not None and call.kind not in _FUNCTIONS
        tool = self._hosted if is_hosted else self._tools.get(call.name)
        if tool is None:
            names = [*self._tools, *self._hosted_names]
            known = f"There are: {', '.join(names)}." if names else "There are no tools."
            return _answered(call, "tool_not_found", f"There is no tool {call.name!r}. {known}")
        try:
            result = await tool.run(call)
            if isinstance(result, str):
                return ToolCallCompleted(block=call.block, output=result)
            return ToolCallCompleted(
                block=call.block, output=result.output, content=result.content, results=result.results
            )
        except ToolError as error:
            return _answered(call, "tool_failed", str(error))
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is a result: the model is told
            info = ErrorInfo(code="tool_failed", message=f"{type(error).__name__}: {error}")
            return ToolCallFailed(block=call.block, output=f"The tool failed: {info.message}", error=info)

    async def _ask_approval(self, effect: AskApproval) -> AsyncGenerator[list[RunEvent], None]:
        asked = [(call, self._ids.new("mcpr")) for call in effect.calls]
        beside = [call.block for call in effect.beside]
        yield [ApprovalRequested(block=call.block, approval_id=approval, beside=beside) for call, approval in asked]
        if self._decide is None:
            return
        for call, approval in asked:
            decision = await self._decide(call)
            yield [ApprovalDecided(block=call.block, approval_id=approval, **decision._asdict())]


def _treated(event: ModelEvent, policies: Mapping[_ToolName, Policy]) -> ModelEvent:
    if not isinstance(event, ToolCallStarted):
        return event
    policy = policies.get((event.kind, event.namespace, event.name))
    return event if policy is None else structs.replace(event, **policy._asdict())


def _made_before(block: str, call: CarriedCall) -> tuple[ToolCallStarted, ToolCallFinished]:
    started = ToolCallStarted(
        block=block,
        call_id=call.call_id,
        name=call.name,
        kind=call.kind,
        namespace=call.namespace,
        needs_approval=call.approval_id is not None,
        repeatable=call.repeatable,
        idempotency_key=call.idempotency_key,
    )
    return started, ToolCallFinished(block=block, arguments=call.arguments)


def _decided(block: str, call: CarriedCall) -> ApprovalDecided:
    return ApprovalDecided(
        block=block,
        approval_id=call.approval_id or "",
        approved=call.approved,
        reason=call.reason,
        arguments=call.new_arguments,
    )


async def _in_order(tasks: list[asyncio.Task[_Event]]) -> AsyncGenerator[list[_Event], None]:
    """What the tasks give, in their order, each as soon as that allows; those left are cancelled."""
    try:
        while tasks:
            await asyncio.wait(tasks[:1])
            done = [*takewhile(asyncio.Task.done, tasks)]
            del tasks[: len(done)]
            yield [task.result() for task in done]
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _answered(call: ToolCall, code: str, message: str) -> ToolCallFailed:
    return ToolCallFailed(block=call.block, output=message, error=ErrorInfo(code=code, message=message))
