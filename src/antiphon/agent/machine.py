"""What is next? The loop's decisions, as a machine without I/O.

The machine is fed the run's events, in the order of the journal, and answers with an effect when something has to be
done. The loop does it, and what comes of it are events again. Because nothing else goes in, a run that is replayed,
resumed after a crash or forked at a step is this same machine fed a recorded prefix: what the prefix already holds is
not done again.

    IDLE ── run.started ──> ASKING ── turn.finished, nothing to do ─────────────> ENDED
             │        ▲     │  ▲ │── turn.failed, nothing shown, tries left ──> ASKING
             │        │     │  │ │── turn.failed, interrupted, to be retried ─> ASKING, the next turn
             ▼        │     │  │ └── turn.failed ─────────────────────────────> ENDED
          LISTING ── listed │  │ all answered
             │              ▼  │
             │ carried     ACTING ── approval needed ──> WAITING ── decided ──> ACTING
             └──────────────────────────────────────────────────▲

Calls that waited for a decision in an earlier run are carried into this one: it begins with them, decided, and asks
the model when they are answered.

What a journal that broke off had under way, `Machine.interruption` closes, and `Machine.pending` is what is left to do.

A call of a tool that the server does not have is the client's: the run ends, and the client comes back with the
output. Only whole calls are ever executed: after a cut, or at the token limit, none is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from enum import Enum, auto

import msgspec

from antiphon.agent.effects import (
    AskApproval,
    CallModel,
    CallTools,
    CarriedCall,
    Effect,
    Finish,
    ListTools,
    TakeUp,
    ToolCall,
    ToolPolicy,
)
from antiphon.agent.limits import Limits
from antiphon.events import (
    ApprovalDecided,
    ApprovalRequested,
    BlockEvent,
    ErrorInfo,
    Event,
    ItemReceived,
    ReasoningFinished,
    ReasoningStarted,
    RefusalFinished,
    RefusalStarted,
    RunEvent,
    RunFinished,
    RunStarted,
    TextFinished,
    TextStarted,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    ToolListCompleted,
    ToolListFailed,
    ToolListStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)

# The code of what the end of a process cut off.
INTERRUPTED = "interrupted"


class State(Enum):
    """Where a run stands."""

    IDLE = auto()
    LISTING = auto()
    ASKING = auto()
    ACTING = auto()
    WAITING = auto()
    ENDED = auto()


# Finish reasons of a model that end the run as incomplete, and the reason the client is told.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

_INTERRUPTION = ErrorInfo(code=INTERRUPTED, message="The server stopped while this response was being made.")

# Kinds of tools that a server runs, and no client can.
_HOSTED = frozenset({"mcp", "file_search", "web_search"})

# A call of a tool that is not there has no effect.
_OF_NO_TOOL = ToolPolicy(read_only=True)
# Of a hosted tool the journal says what holds.
_OF_NO_POLICY = ToolPolicy()

_FINISHED_FOR: dict[type[Event], type[TextFinished] | type[ReasoningFinished] | type[RefusalFinished]] = {
    TextStarted: TextFinished,
    ReasoningStarted: ReasoningFinished,
    RefusalStarted: RefusalFinished,
}


class Machine:
    """One run's decisions. ``tools`` are the functions the server runs itself; hosted tools it always does.

    A call of any other is the client's; where ``client_tools`` names all that the client has, one of a tool that
    nobody has is handed to `CallTools`, to be answered. ``servers`` are asked for their tools first, ``carried`` are
    calls that an earlier run left. Calls in the blocks ``run_here`` were the server's, whatever tools it has now.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        tools: Mapping[str, ToolPolicy] | None = None,
        *,
        client_tools: Container[str] | None = None,
        servers: Iterable[str] = (),
        carried: Iterable[CarriedCall] = (),
        run_here: Container[str] = (),
    ) -> None:
        self.state = State.IDLE
        self._limits = limits or Limits()
        self._tools = tools or {}
        self._client_tools = client_tools
        self._run_here = run_here
        self._run = ""
        self._effect: Effect | None = None  # decided last, not begun
        self._turn = -1
        self._attempt = 0
        self._in_turn = False  # a turn was started and did not end
        self._shown = False  # something of this turn was already given on
        self._open: dict[str, Event] = {}  # started, not finished: block -> its started event
        self._calls: list[ToolCall] = []  # whole calls of this turn, in order
        self._broken = False  # a call of this turn was cut off
        self._unlisted: dict[str, str | None] = dict.fromkeys(servers)  # server -> its block, once it was asked
        self._carried = tuple(carried)
        self._decided: dict[str, ApprovalDecided] = {}
        self._unanswered: dict[str, None] = {}  # blocks of server-side calls without a result, in order
        self._executing: set[str] = set()  # blocks of calls that were begun
        self._executed = 0
        self._used_tokens = 0
        self._model = ""
        self._cost_usd = 0.0
        self._repeats: Counter[tuple[str | None, ...]] = Counter()  # how often one call had one result

    def feed(self, event: Event) -> Effect | None:
        """Take the run's next event; return what must be done because of it, if anything."""
        return self.feed_all((event,))

    def feed_all(self, events: Iterable[Event]) -> Effect | None:
        """Take several events; return the effect of the last one that had any."""
        effect = None
        for event in events:
            handler = _TRANSITIONS.get(type(event))
            if handler is not None and (following := handler(self, event)) is not None:
                effect = self._effect = following
        return effect

    @property
    def pending(self) -> Effect | None:
        """What the events so far leave to be done; of tool calls, what is not answered yet.

        None where nothing is: the run waits for a decision, has ended, or has something under way that only
        `interruption` would close.
        """
        effect = self._effect
        if isinstance(effect, ListTools):
            return self._list_tools()
        if not isinstance(effect, CallTools):
            return effect
        left = [call for call in effect.calls if call.block in self._unanswered]
        unknown = tuple(call for call in left if call.block in self._executing and not call.repeatable)
        return CallTools(
            calls=tuple(call for call in left if call not in unknown),
            refused=tuple(call for call in effect.refused if call.block in self._unanswered),
            unknown=unknown,
        )

    def interruption(self, *, retry: bool) -> list[RunEvent]:
        """The events that close the turn which a journal that broke off leaves open; none if there is no such turn.

        A turn that nobody saw anything of is asked again in any case, one that was partly seen if ``retry``.
        """
        if not self._in_turn:
            return []
        failed = TurnFailed(turn=self._turn, error=_INTERRUPTION, retryable=retry or not self._shown)
        return [*self.close_open_blocks(), failed]

    def closing(self) -> list[RunEvent]:
        """The events without which the run must not be ended from outside its course: after a cancel, a cut, a crash.

        What is open is closed as incomplete, and every call that the server owes an answer has one, so that the
        transcript can be continued. A call that waits for a person goes on waiting: it can still be decided on.
        """
        if self.state is State.WAITING:
            return [*self.close_open_blocks()]
        message = "This call has no result: the run was ended before there was one."
        error = ErrorInfo(code="tool_call_abandoned", message=message)
        unanswered = [ToolCallFailed(block=block, output=message, error=error) for block in self._unanswered]
        self._unanswered.clear()
        return [*self.close_open_blocks(), *unanswered]

    def close_open_blocks(self) -> list[BlockEvent]:
        """The events that close what is still open, as incomplete: after a cancel, a cut or a crash."""
        closing: list[BlockEvent] = []
        for block, started in self._open.items():
            finished = _FINISHED_FOR.get(type(started))
            if finished is None:
                closing.append(ToolCallFinished(block=block, arguments="", status="incomplete"))
            else:
                closing.append(finished(block=block, status="incomplete"))
        self._open.clear()
        return closing

    # --- transitions -------------------------------------------------------------------------

    def _on_run_started(self, event: RunStarted) -> Effect:
        self._run = event.run
        return self._list_tools() if self._unlisted else self._begin()

    def _list_tools(self) -> ListTools:
        self.state = State.LISTING
        begun = {server: block for server, block in self._unlisted.items() if block is not None}
        return ListTools(tuple(self._unlisted), begun)

    def _on_list_started(self, event: ToolListStarted) -> None:
        self._unlisted[event.server] = event.block

    def _on_list_completed(self, event: ToolListCompleted) -> Effect | None:
        for server in [server for server, block in self._unlisted.items() if block == event.block]:
            del self._unlisted[server]
        return None if self._unlisted else self._begin()

    def _on_list_failed(self, event: ToolListFailed) -> Effect:
        return self._end(Finish("failed", error=event.error))

    def _begin(self) -> Effect:
        if self._carried:
            return TakeUp(self._carried)
        return self._ask_next_turn()

    def _on_turn_started(self, event: TurnStarted) -> None:
        self.state = State.ASKING
        self._effect = None
        self._turn, self._attempt, self._model = event.turn, event.attempt, event.model
        self._in_turn, self._shown, self._broken = True, False, False
        self._calls = []

    def _on_block_started(self, event: TextStarted) -> None:
        self._shown = True
        self._open[event.block] = event

    def _on_item_received(self, event: ItemReceived) -> None:
        self._shown = True

    def _on_block_finished(self, event: TextFinished) -> None:
        self._open.pop(event.block, None)

    def _on_call_finished(self, event: ToolCallFinished) -> None:
        started = self._open.pop(event.block, None)
        if event.status != "completed":
            self._broken = True
        elif isinstance(started, ToolCallStarted) and started.choice == 0:
            self._calls.append(self._whole(started, event.arguments))
            if not self._in_turn:  # carried from an earlier run
                self._unanswered[event.block] = None

    def _whole(self, started: ToolCallStarted, arguments: str) -> ToolCall:
        policy = self._tools.get(started.name)
        if policy is None or started.kind in _HOSTED:
            was_there = started.kind in _HOSTED or (self._client_tools is None and started.block in self._run_here)
            policy = _OF_NO_POLICY if was_there else _OF_NO_TOOL
        return ToolCall(
            block=started.block,
            call_id=started.call_id,
            name=started.name,
            arguments=arguments,
            idempotency_key=started.idempotency_key or f"{self._run}/{started.block}",
            kind=started.kind,
            namespace=started.namespace,
            needs_approval=started.needs_approval or policy.needs_approval,
            repeatable=started.repeatable or policy.idempotent or policy.read_only,
        )

    def _on_turn_failed(self, event: TurnFailed) -> Effect:
        self._in_turn = False
        self._count(event.usage)
        if event.retryable and event.error.code == INTERRUPTED:
            # As a turn of its own: ids of blocks stay unique, and a run that ends every process ends at its limit.
            return self._ask_next_turn()
        if event.retryable and not self._shown and self._attempt + 1 < self._limits.max_attempts:
            return CallModel(self._turn, self._attempt + 1)
        return self._end(Finish("failed", error=event.error))

    def _on_turn_finished(self, event: TurnFinished) -> Effect:
        self._in_turn = False
        self._count(event.usage)
        if reason := _INCOMPLETE.get(event.finish_reason):
            return self._end(Finish("incomplete", reason))
        if self._broken:
            return self._end(Finish("incomplete", "max_output_tokens"))
        own = tuple(call for call in self._calls if self._is_own(call))
        if not own:
            return self._end(Finish("completed"))
        self._unanswered = {call.block: None for call in own}
        self.state = State.ACTING
        waiting = tuple(call for call in own if call.needs_approval)
        if waiting:
            self.state = State.WAITING
            return AskApproval(waiting, tuple(call for call in own if not call.needs_approval))
        return self._act(own)

    def _on_asked(self, event: ApprovalRequested) -> None:
        self._effect = None

    def _on_decided(self, event: ApprovalDecided) -> Effect | None:
        self._decided[event.block] = event
        own = tuple(call for call in self._calls if call.block in self._unanswered)
        if any(call.needs_approval and call.block not in self._decided for call in own):
            return None
        self.state = State.ACTING
        return self._act(own)

    def _act(self, calls: tuple[ToolCall, ...]) -> CallTools:
        """Run what is allowed: a denied call and one beyond the limit are answered, not run."""
        run: list[ToolCall] = []
        refused: list[ToolCall] = []
        for call in calls:
            decided = self._decided.get(call.block)
            allowed = (decided is None or decided.approved) and self._executed < self._limits.max_tool_calls
            if allowed and decided is not None and decided.arguments is not None:
                call = msgspec.structs.replace(call, arguments=decided.arguments)
            (run if allowed else refused).append(call)
            self._executed += allowed
        return CallTools(tuple(run), tuple(refused))

    def _is_own(self, call: ToolCall) -> bool:
        if call.kind in _HOSTED or call.name in self._tools or call.block in self._run_here:
            return True
        return self._client_tools is not None and call.name not in self._client_tools

    def _on_executing(self, event: ToolCallExecuting) -> None:
        self._executing.add(event.block)

    def _on_answered(self, event: ToolCallCompleted) -> Effect | None:
        self._unanswered.pop(event.block, None)
        if (call := next((call for call in self._calls if call.block == event.block), None)) is not None:
            self._repeats[call.namespace, call.name, call.arguments, event.output] += 1
        if self._unanswered or self.state is not State.ACTING:
            return None
        if not all(map(self._is_own, self._calls)):
            return self._end(Finish("completed"))  # the rest of the calls are the client's to answer
        return self._ask_next_turn()

    def _count(self, usage: Usage | None) -> None:
        if usage is not None:
            self._used_tokens += usage.total_tokens or usage.input_tokens + usage.output_tokens
            if (price := self._limits.prices.get(self._model)) is not None:
                self._cost_usd += price.cost_usd(usage)

    def _ask_next_turn(self) -> Effect:
        if self._turn + 1 >= self._limits.max_turns:
            return self._end(Finish("incomplete", "max_turns"))
        if self._limits.max_total_tokens is not None and self._used_tokens >= self._limits.max_total_tokens:
            return self._end(Finish("incomplete", "max_total_tokens"))
        if self._limits.max_cost_usd is not None and self._cost_usd >= self._limits.max_cost_usd:
            return self._end(Finish("incomplete", "max_cost_usd"))
        if self._limits.max_repeats is not None and max(self._repeats.values(), default=0) >= self._limits.max_repeats:
            return self._end(Finish("incomplete", "max_repeats"))
        self.state = State.ASKING
        return CallModel(self._turn + 1, 0)

    def _on_run_finished(self, event: RunFinished) -> None:
        self.state = State.ENDED
        self._effect = None

    def _end(self, finish: Finish) -> Finish:
        self.state = State.ENDED
        return finish


# Which event moves the machine, and how. Deltas, diagnostics and the like are not in it: they move nothing.
_TRANSITIONS: dict[type[Event], Callable[..., Effect | None]] = {
    RunStarted: Machine._on_run_started,
    ToolListStarted: Machine._on_list_started,
    ToolListCompleted: Machine._on_list_completed,
    ToolListFailed: Machine._on_list_failed,
    TurnStarted: Machine._on_turn_started,
    TextStarted: Machine._on_block_started,
    ReasoningStarted: Machine._on_block_started,
    RefusalStarted: Machine._on_block_started,
    ToolCallStarted: Machine._on_block_started,
    ItemReceived: Machine._on_item_received,
    TextFinished: Machine._on_block_finished,
    ReasoningFinished: Machine._on_block_finished,
    RefusalFinished: Machine._on_block_finished,
    ToolCallFinished: Machine._on_call_finished,
    TurnFinished: Machine._on_turn_finished,
    TurnFailed: Machine._on_turn_failed,
    ToolCallExecuting: Machine._on_executing,
    ToolCallCompleted: Machine._on_answered,
    ToolCallFailed: Machine._on_answered,
    ApprovalRequested: Machine._on_asked,
    ApprovalDecided: Machine._on_decided,
    RunFinished: Machine._on_run_finished,
}
