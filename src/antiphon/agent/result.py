"""What a run of an agent gives: its events while it goes, and its result when it is over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from dataclasses import field as member
from functools import cached_property
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from antiphon.agent.output import OutputType
from antiphon.agent.partial import NOTHING, PartialJson
from antiphon.agent.prices import Price
from antiphon.errors import RunFailed, UsageError
from antiphon.events import (
    ErrorInfo,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStatus,
    TextDelta,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)
from antiphon.rendering.items import output_items, public
from antiphon.store.items import counts
from antiphon.wire.items import PRIVATE
from antiphon.wire.responses import Item

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=str)
else:
    from typing import TypeVar

    T = TypeVar("T")

_CALLS = frozenset({"function_call", "custom_tool_call"})
_ANSWERS = frozenset({"function_call_output", "custom_tool_call_output"})


class Approval(NamedTuple):
    """A call that waits for a person; ``arguments`` is JSON text, ``server`` None for a function.

    What its methods give is said to the agent next: ``agent.run([approval.approve()], history=result.history)``. All
    calls that one turn made wait for each other, and are decided on together.
    """

    id: str
    name: str
    arguments: str
    server: str | None = None

    def approve(self, *, arguments: str | None = None) -> Item:
        """Let it be run, as it was made or with these arguments."""
        changed = {} if arguments is None else {"arguments": arguments}
        return {"type": "mcp_approval_response", "approval_request_id": self.id, "approve": True, **changed}

    def deny(self, reason: str | None = None) -> Item:
        """Let it not be run; the model is told the reason."""
        told = {} if reason is None else {"reason": reason}
        return {"type": "mcp_approval_response", "approval_request_id": self.id, "approve": False, **told}


@dataclass(frozen=True, eq=False)
class RunResult(Generic[T]):
    """A run that is over; ``events`` is its whole journal, and everything else is read from that.

    ``status`` is ``completed``; ``incomplete``, with the limit that was reached as ``reason``; ``failed``, with
    ``error``; or ``cancelled``. ``answer`` is what a tool ended the run with, ``sub_runs`` are results of agents that
    its tools ran.
    """

    events: Sequence[RunEvent] = member(repr=False)
    input_items: Sequence[Item] = member(repr=False)
    output_type: OutputType | None = member(default=None, repr=False)
    prices: Mapping[str, Price] = member(default_factory=dict, repr=False)
    answer: str | None = member(default=None, repr=False)
    sub_runs: Sequence[RunResult[Any]] = member(default=(), repr=False)

    @property
    def run(self) -> str:
        """The run's id."""
        started = self.events[0]
        assert isinstance(started, RunStarted)
        return started.run

    @property
    def status(self) -> RunStatus:
        """How the run ended."""
        return self._finished.status

    @property
    def reason(self) -> str | None:
        """Why a run ended before the model was done."""
        return self._finished.reason

    @property
    def error(self) -> ErrorInfo | None:
        """What went wrong in a failed run."""
        return self._finished.error

    @property
    def items(self) -> list[Item]:
        """What the run gave, as output items of the Responses API."""
        return [public(item) for item in self._output]

    @cached_property
    def text(self) -> str:
        """The model's last words: its text after the last call, without refusals; or what a tool ended the run with."""
        return self._last_words("text") if self.answer is None else self.answer

    @cached_property
    def refusal(self) -> str:
        """The model's refusal; empty unless it refused."""
        return self._last_words("refusal")

    @cached_property
    def output(self) -> T:
        """The answer in the agent's ``output_type``: the text, unless one was given.

        Raises:
            RunFailed: there is no such answer.
        """
        if self.status == "failed":
            code = self.error.code if self.error else "error"
            raise self._failure(self.error.message if self.error else "The run failed.", code)
        if self.output_type is None:
            return self.text  # type: ignore[return-value]  # T is str then
        if self.status != "completed":
            raise self._failure(f"The run ended {self.status} ({self.reason}), without an answer.", "no_output")
        if self.refusal:
            raise self._failure(f"The model refused: {self.refusal}", "refusal")
        try:
            value: T = self.output_type.read(self.text)
        except (ValueError, RecursionError) as error:
            raise self._failure(f"The answer does not have the type that was asked for: {error}", "no_output") from None
        return value

    @property
    def approvals(self) -> list[Approval]:
        """The calls that wait for a person, in the order they were made: go on with their decisions and `history`."""
        waiting = (item for item in self._output if item["type"] == "mcp_approval_request")
        decided = {item.get("approval_request_id") for item in self._output}
        decided |= {item.get(PRIVATE, {}).get("approval_request_id") for item in self._output}
        return [
            Approval(item["id"], item["name"], item["arguments"], item["server_label"] or None)
            for item in waiting
            if item["id"] not in decided
        ]

    @property
    def history(self) -> list[Item]:
        """What was said so far, to go on from with ``run(..., history=...)``; valid after a cancel too."""
        whole = [item for item in self._output if counts(self.status, "output", item["type"], item)]
        calls = {item["call_id"] for item in whole if item["type"] in _CALLS}
        answered = {item["call_id"] for item in whole if item["type"] in _ANSWERS}
        if self.status == "completed":
            answered |= calls  # whoever reads this may answer the rest
        pairs = calls & answered
        return [
            *self.input_items,
            *(item for item in whole if item["type"] not in _CALLS | _ANSWERS or item["call_id"] in pairs),
        ]

    @cached_property
    def usage(self) -> Usage:
        """The tokens of all model calls together, as their upstreams counted them."""
        return sum((usage for _, usage in self._usages()), Usage())

    @cached_property
    def usage_by_model(self) -> dict[str, Usage]:
        """The tokens of each model, by the upstream's name for it, those of sub-agents among them."""
        totals: dict[str, Usage] = {}
        for model, usage in chain(self._usages(), *(run.usage_by_model.items() for run in self.sub_runs)):
            totals[model] = totals.get(model, Usage()) + usage
        return totals

    @cached_property
    def cost_usd(self) -> float | None:
        """What all of it cost, sub-agents included, by the agents' prices; None if a model has none."""
        costs = [run.cost_usd for run in self.sub_runs]
        for model, usage in self._usages():
            price = self.prices.get(model)
            costs.append(None if price is None else price.cost_usd(usage))
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def _usages(self) -> Iterator[tuple[str, Usage]]:
        model = ""
        for event in self.events:
            if isinstance(event, TurnStarted):
                model = event.model
            elif isinstance(event, TurnFinished | TurnFailed) and event.usage is not None:
                yield model, event.usage

    @property
    def _finished(self) -> RunFinished:
        finished = self.events[-1]
        assert isinstance(finished, RunFinished)
        return finished

    @cached_property
    def _output(self) -> list[Item]:
        return output_items(self.events, self.run)

    def _last_words(self, field: str) -> str:
        words: list[str] = []
        for item in reversed(self._output):
            if item["type"] == "message":
                words += [part[field] for part in reversed(item["content"]) if field in part]
            elif item["type"] != "reasoning":
                break
        return "".join(reversed(words))

    def _failure(self, message: str, reason: str) -> RunFailed:
        return RunFailed(message, reason=reason, result=self)


class RunStream(Generic[T]):
    """The events of a run as they happen; iterate it once, and use it as a context manager to leave it early.

    A run that is left is cancelled, and its `result` is there all the same.
    """

    def __init__(
        self,
        start: Callable[[bool], AsyncGenerator[list[RunEvent], None]],
        result: Callable[[], RunResult[T] | None],
        *,
        wants_json: bool = False,
    ) -> None:
        self._start = start
        self._result = result
        self._wants_json = wants_json
        self._iterator: AsyncGenerator[Any, None] | None = None  # kept, so that nobody but `close` closes it

    async def __aenter__(self) -> RunStream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncGenerator[RunEvent, None]:
        return self._iterated(self._events(live=False))

    def partial(self) -> AsyncGenerator[Any, None]:
        """The answer as it grows, as JSON: each time there is more of it; iterate this instead of the stream.

        An answer with a type is shown before it was checked then, and not asked for again: `result` says whether it
        fits. Of an answer in plain text it is the text.
        """
        return self._iterated(self._partial())

    def _iterated(self, iterator: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        if self._iterator is not None:
            raise UsageError("A stream is iterated once.")
        self._iterator = iterator
        return iterator

    async def _partial(self) -> AsyncGenerator[Any, None]:
        partial, text, last = PartialJson(), "", NOTHING
        async with aclosing(self._events(live=True)) as events:
            async for event in events:
                if isinstance(event, TurnStarted):
                    partial, text, last = PartialJson(), "", NOTHING
                elif isinstance(event, TextDelta):
                    text += event.text
                    partial.feed(event.text)
                    value = partial.value if self._wants_json else text
                    if value is not NOTHING and value != last:
                        last = value
                        yield value

    async def _events(self, *, live: bool) -> AsyncGenerator[RunEvent, None]:
        async with aclosing(self._start(live)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def close(self) -> None:
        """Cancel the run, unless it is over."""
        if self._iterator is not None:
            await self._iterator.aclose()

    @property
    def result(self) -> RunResult[T]:
        """The result, once the run is over.

        Raises:
            UsageError: it is not.
        """
        result = self._result()
        if result is None:
            raise UsageError("The run is not over: read its events to the end, or close it, before its result.")
        return result
