"""`Agent`: a model, its instructions and its tools, run by the same loop as the server's responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, Self, TypeVar

from msgspec import ValidationError, convert
from msgspec.structs import asdict, replace

from antiphon.agent.acting import Decision, Tool
from antiphon.agent.approvals import carried_calls
from antiphon.agent.effects import CarriedCall, ToolCall, ToolPolicy
from antiphon.agent.hosted import HostedTools
from antiphon.agent.journal import Journal
from antiphon.agent.limits import Limits
from antiphon.agent.loop import Loop, Target
from antiphon.agent.models import Model, models_of
from antiphon.agent.output import OutputType
from antiphon.agent.parts import Input, as_items
from antiphon.agent.prices import Price
from antiphon.agent.result import RunResult, RunStream, T
from antiphon.agent.steps import BeforeStep, Steps, StopCondition
from antiphon.agent.sync import SyncRunStream, forbid_running_loop
from antiphon.agent.vector_store import VectorStore
from antiphon.clock import Clock, Ids, RandomIds, SystemClock
from antiphon.errors import RunFailed, UsageError
from antiphon.events import RunEvent, RunStarted
from antiphon.providers.base import Provider
from antiphon.tools.base import ToolError, ToolResult, ToolServer
from antiphon.tools.function import FunctionTool, ToolContext, tool
from antiphon.tools.results import StopRun, as_result
from antiphon.wire.hosted import HOSTED_TYPES
from antiphon.wire.items import check_outputs, checked_item
from antiphon.wire.responses import CreateResponse, Item, input_items, stored_request

# Generous for work that ends, and an end for work that does not.
DEFAULT_LIMITS = Limits(
    max_turns=32, max_tool_calls=128, max_attempts=3, max_total_tokens=1_000_000, max_repeats=8, timeout_s=1800.0
)

# What an agent says itself, or has no use for: a run is not stored, so nothing can be asked for by id.
_NOT_SETTINGS = frozenset(
    {"model", "input", "instructions", "tools", "max_tool_calls", "stream", "store", "background"}
)
_NOT_SETTINGS |= {"previous_response_id", "conversation"}

Approve = Callable[[ToolCall], Awaitable[bool | str | Decision]]

N = TypeVar("N")

# The run whose tool is running here: runs of other agents within it are counted to it.
_OUTER: ContextVar[Steps | None] = ContextVar("outer run of an agent", default=None)


class Agent(Generic[T]):
    """A model with instructions and tools. It holds no conversation: runs may go side by side.

    Each run opens connections, to its tool servers too, and closes them; inside of ``async with agent:`` they are kept
    for the next one.

    Args:
        model: The upstream's name for it, which may begin with that of the upstream (``groq/llama-3.3-70b-versatile``);
            or a `Model`, which agents may share; or several of these: the first one is asked, and the others in turn
            where it fails before anything was seen of its answer.
        instructions: What it is told before everything else.
        tools: Functions, or what `antiphon.tool` made of them; servers of tools, such as `antiphon.MCPServer`; files to
            be searched, an `antiphon.VectorStore`; and tools that an upstream of the Responses API runs itself, as that
            describes them: ``{"type": "web_search"}``.
        output_type: What it shall answer with instead of text: a dataclass, a Struct, a TypedDict, a pydantic model or
            any other type, or a JSON Schema. An answer that does not fit is asked again, ``limits.max_format_retries``
            times; until it fits, nothing of it is streamed.
        base_url: A chat-completions endpoint; without one it is ``OPENAI_BASE_URL``, or OpenAI.
        api_key: Its key; without ``base_url`` and ``api_key`` it is ``OPENAI_API_KEY``.
        provider: A `Provider` that is open, instead of ``base_url``; the caller closes it.
        settings: Further parameters of the Responses API, such as ``temperature`` or ``max_output_tokens``.
        limits: What one run may use up: all limits, or the ones that shall be others than `DEFAULT_LIMITS` by name.
        prices: What tokens cost, by the upstream's name for a model; wanted by ``limits.max_cost_usd``.
        before_step: Called before each model call; may change the `Step`.
        stop_when: Asked before each model call but the first: whether to stop there.
        approve: Asked about each call of a tool that needs it: True, False, why not, or a `Decision`. Without it the
            run ends with the calls waiting, and `RunResult.approvals` says which; it goes on from there whenever
            somebody has decided, in this process or another.

    Raises:
        UsageError: these do not go together, or a tool cannot be offered.
        InvalidRequest: a setting is wrong.
    """

    def __init__(
        self,
        model: str | Model | Sequence[str | Model],
        *,
        instructions: str | None = None,
        tools: Iterable[Callable[..., Any] | ToolServer | VectorStore | Mapping[str, Any]] = (),
        output_type: type[T] | Mapping[str, Any] | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        provider: Provider | None = None,
        settings: Mapping[str, Any] | None = None,
        limits: Limits | Mapping[str, Any] = DEFAULT_LIMITS,
        prices: Mapping[str, Price] | None = None,
        before_step: BeforeStep | None = None,
        stop_when: Iterable[StopCondition] | StopCondition = (),
        approve: Approve | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        if wrong := _NOT_SETTINGS.intersection(settings or ()):
            raise UsageError(f"{', '.join(sorted(wrong))}: no setting of an agent. Use its own parameters, or limits.")
        self.models = models_of(model, base_url=base_url, api_key=api_key, provider=provider)
        self.instructions = instructions
        offered = [*tools]
        self._run_there = [dict(each) for each in offered if isinstance(each, Mapping)]
        stores = [each for each in offered if isinstance(each, VectorStore)]
        servers = [each for each in offered if not callable(each) and not isinstance(each, VectorStore | Mapping)]
        self.stores = _unique(((store.tool_name, store) for store in stores), "searches")
        self.servers = _unique(((server.label, server) for server in servers), "servers of tools")
        self.tools = _by_name(each for each in offered if callable(each))
        self.limits = _with_prices(_limits(limits), self.models, prices or {})
        self._output = None if output_type is None or output_type is str else OutputType(output_type)
        self._settings = dict(settings or {})
        self._before_step = before_step
        self._stop_when = (stop_when,) if callable(stop_when) else tuple(stop_when)
        self._approve = approve
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._kept = AsyncExitStack()
        self._keeps = False
        self._request([])  # what is wrong with the settings is said here

    async def __aenter__(self) -> Self:
        for model in self.models:
            await self._kept.enter_async_context(model.provider())
        for close in [each.close for each in self.servers.values()] + [each.close for each in self.stores.values()]:
            self._kept.push_async_callback(close)
        self._keeps = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self._keeps = False
        await self._kept.aclose()

    @property
    def model(self) -> str:
        """The name of the model that is asked first."""
        return self.models[0].name

    async def run(self, said: Input, *, history: Sequence[Item] = (), deps: Any = None) -> RunResult[T]:
        """Let the model answer, calling tools as it likes.

        ``said`` is a text, or a list of texts, parts (`antiphon.image`, `antiphon.file`) and items. ``history`` is that
        of an earlier result, and may have been kept as JSON; ``deps`` is given to tools and hooks. A cancelled run
        gives no result: see `stream`.

        Raises:
            RunFailed: there is no answer; its ``result`` says how far the run came.
            InvalidRequest: an item of the input is wrong.
        """
        stream, steps = self._begin(said, history, deps)
        async with stream:
            async for _ in stream:
                pass
        result = stream.result
        if result.status in ("failed", "completed"):
            try:
                _ = result.output
            except RunFailed as failed:
                raise failed from steps.error
        return result

    def stream(self, said: Input, *, history: Sequence[Item] = (), deps: Any = None) -> RunStream[T]:
        """The same run, event by event; a failure is its last event, and no exception.

        Raises:
            InvalidRequest: an item of the input is wrong.
        """
        return self._begin(said, history, deps)[0]

    def run_sync(self, said: Input, *, history: Sequence[Item] = (), deps: Any = None) -> RunResult[T]:
        """`run`, for code that is not async.

        Raises:
            UsageError: an event loop is running here; await `run` instead.
        """
        forbid_running_loop("run")
        return asyncio.run(self.run(said, history=history, deps=deps))

    def stream_sync(self, said: Input, *, history: Sequence[Item] = (), deps: Any = None) -> SyncRunStream[T]:
        """`stream`, for code that is not async, in any thread.

        Raises:
            UsageError: an event loop is running here; use `stream` instead.
            InvalidRequest: an item of the input is wrong.
        """
        return SyncRunStream(self.stream(said, history=history, deps=deps))

    def as_tool(self, name: str, description: str) -> FunctionTool[..., Awaitable[T]]:
        """The agent as a tool of another one: it is told a task, and gives its answer. It shares the run's ``deps``."""

        async def ask(task: str, context: ToolContext[Any]) -> T:
            result = await self.run(task, deps=context.deps)
            if result.status != "completed":
                raise ToolError(f"{name} stopped before it was done ({result.reason}). It said: {result.text}")
            return result.output

        return FunctionTool(ask, name=name, description=description, timeout_s=None)  # it has limits of its own

    # --- one run -----------------------------------------------------------------------------

    def _begin(self, said: Input, history: Sequence[Item], deps: Any) -> tuple[RunStream[T], Steps]:
        request = self._request(as_items(said))
        items = input_items(request)
        past = [checked_item(item, f"history[{position}]") for position, item in enumerate(history)]
        check_outputs(items, past)
        started = RunStarted(
            run=self._ids.new("resp"),
            created_at_s=int(self._clock.now_s()),
            model=self.model,
            request={key: value for key, value in request.raw.items() if key != "input"},
        )
        journal = Journal(None, "", started, input_items=items)
        steps = Steps(
            journal.events, before_step=self._before_step, stop_when=self._stop_when, deps=deps, limits=self.limits
        )
        said_so_far = [*past, *items]

        def result() -> RunResult[T] | None:
            if not journal.has_ended:
                return None
            return RunResult(
                journal.events, said_so_far, self._output, self.limits.prices, steps.answer, tuple(steps.sub_runs)
            )

        carried = carried_calls(past, items)

        async def events(live: bool) -> AsyncGenerator[list[RunEvent], None]:
            outer = _OUTER.get()
            # What is streamed is shown before it was checked, and so it is not asked for again.
            asked = replace(request, stream=True) if live else request
            try:
                async with aclosing(self._events(asked, said_so_far, journal, steps, carried)) as batches:
                    async for batch in batches:
                        yield batch
            finally:
                if outer is not None and (ended := result()) is not None:
                    outer.sub_runs.append(ended)

        return RunStream(events, result, wants_json=self._output is not None), steps

    async def _events(
        self,
        request: CreateResponse,
        items: list[Item],
        journal: Journal,
        steps: Steps,
        carried: Sequence[CarriedCall],
    ) -> AsyncGenerator[list[RunEvent], None]:
        run = journal.started.run
        async with AsyncExitStack() as stack:
            targets = [Target(await stack.enter_async_context(each.provider()), each.name) for each in self.models]
            loop = Loop(
                run=run,
                request=request,
                items=items,
                targets=targets,
                journal=journal,
                clock=self._clock,
                ids=self._ids,
                limits=replace(self.limits, max_attempts=max(self.limits.max_attempts, len(targets))),
                tools={name: _runnable(each, run, steps) for name, each in self.tools.items()},
                client_tools=(),
                before_turn=steps.prepare,
                decide=None if self._approve is None else partial(self._decide, steps),
                hosted=self._hosted(request, items),
                carried=carried,
            )
            async with aclosing(loop.events()) as batches:
                async for batch in batches:
                    yield batch

    async def _decide(self, steps: Steps, call: ToolCall) -> Decision:
        assert self._approve is not None
        try:
            answer = await self._approve(call)
        except Exception as error:
            steps.error = error
            raise
        if isinstance(answer, Decision):
            return answer
        return Decision(False, answer) if isinstance(answer, str) else Decision(answer)

    def _hosted(self, request: CreateResponse, items: Sequence[Item]) -> HostedTools | None:
        if not self.servers and not self.stores:
            return None
        return HostedTools(
            [tool for tool in request.tools or () if tool["type"] in HOSTED_TYPES],
            items,
            connect=lambda tool: self.servers[tool.server_label],
            search=lambda tool, queries: self.stores[tool.name].answer(queries),
            keeps=self._keeps,
        )

    def _request(self, items: list[Item]) -> CreateResponse:
        raw: dict[str, Any] = {"model": self.model, "input": items, "store": False, **self._settings}
        if self.instructions is not None:
            raw["instructions"] = self.instructions
        offered = [each.definition for each in self.tools.values()]
        offered += [each.definition for each in self.servers.values()]
        offered += [each.definition for each in self.stores.values()]
        offered += self._run_there
        if offered:
            raw["tools"] = offered
        if self._output is not None:
            raw["text"] = {**raw.get("text", {}), "format": self._output.format}
        return stored_request(raw)


def _unique(named: Iterable[tuple[str, N]], what: str) -> dict[str, N]:
    found: dict[str, N] = {}
    for name, each in named:
        if name in found:
            raise UsageError(f"Two {what} are called {name!r}. Give one of them another name.")
        found[name] = each
    return found


def _by_name(tools: Iterable[Callable[..., Any]]) -> dict[str, FunctionTool[..., Any]]:
    named: dict[str, FunctionTool[..., Any]] = {}
    for each in tools:
        made: FunctionTool[..., Any] = each if isinstance(each, FunctionTool) else tool(each)
        if made.name in named:
            raise UsageError(f"Two tools are called {made.name!r}. Give one of them another name: tool(name=...).")
        named[made.name] = made
    return named


def _limits(given: Limits | Mapping[str, Any]) -> Limits:
    """The limits that are meant.

    Raises:
        UsageError: there is no limit of such a name, or it cannot be that.
    """
    if isinstance(given, Limits):
        return given
    try:
        return convert({**asdict(DEFAULT_LIMITS), **given}, _OnlyLimits)
    except ValidationError as error:
        raise UsageError(f"limits are {dict(given)!r}: {error}.") from None


class _OnlyLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits, and nothing beside them."""


def _with_prices(limits: Limits, models: Iterable[Model], prices: Mapping[str, Price]) -> Limits:
    """The limits with all prices that are known.

    Raises:
        UsageError: a cost is limited, and what a model costs is not known.
    """
    own = {model.name: model.price for model in models if model.price is not None}
    limits = replace(limits, prices={**limits.prices, **own, **prices})
    for model in models:
        if limits.max_cost_usd is not None and model.name not in limits.prices:
            raise UsageError(f"max_cost_usd needs the price of {model.name!r}. Give it: Agent(prices={{...}}).")
    return limits


def _runnable(made: FunctionTool[..., Any], run: str, steps: Steps) -> Tool:
    policy = ToolPolicy(needs_approval=made.needs_approval, idempotent=made.idempotent, read_only=made.read_only)
    return Tool(partial(_run_tool, made, run, steps), policy)


async def _run_tool(made: FunctionTool[..., Any], run: str, steps: Steps, call: ToolCall) -> ToolResult:
    context = ToolContext(
        run=run, call_id=call.call_id, name=call.name, idempotency_key=call.idempotency_key, deps=steps.deps
    )
    _OUTER.set(steps)  # here only: a tool is a task of its own
    value = await made.call(call.arguments, context)
    result = as_result(value)
    if isinstance(value, StopRun):
        steps.answer = result.output
    return result
