"""The loop: does what the machine says, writes down what comes of it, and gives it on.

There is no other. Streamed, folded, background, resumed and replayed runs are this loop, read in different ways.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping, Sequence
from contextlib import aclosing
from typing import Literal, NamedTuple

from antiphon.agent.acting import Acting, Decide, Tool
from antiphon.agent.asking import Asking
from antiphon.agent.effects import CallModel, CarriedCall, Effect, Finish, TakeUp
from antiphon.agent.hosted import HostedTools
from antiphon.agent.journal import Journal
from antiphon.agent.limits import Limits
from antiphon.agent.machine import Machine
from antiphon.agent.question import question
from antiphon.agent.retrying import backoff_s, chance_of, target_of
from antiphon.clock import Clock, Ids
from antiphon.errors import LimitExceeded
from antiphon.events import (
    BARRIERS,
    ErrorInfo,
    ModelEvent,
    RunEvent,
    RunFinished,
    RunStarted,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    ToolCallStarted,
    TurnFailed,
    TurnStarted,
)
from antiphon.providers.base import ModelCall, Provider
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.responses import CreateResponse, Item

_BARRIERS = frozenset(BARRIERS)


# Events of calls that the server runs, or answers without running them.
_OF_OUR_CALLS = (ToolCallExecuting, ToolCallCompleted, ToolCallFailed)

# Why a run ended that its `before_turn` ended.
STOPPED = "stopped"

_log = logging.getLogger(__name__)

# Whether a turn that was cut off by the end of a process, and partly seen, is asked again, or fails its run.
OnInterruption = Literal["retry", "fail"]


class Target(NamedTuple):
    """One model of one provider."""

    provider: Provider
    model: str


# Called before the model is; gives what is to be asked instead, or how the run is to end before it.
BeforeTurn = Callable[[ModelCall], Awaitable[ModelCall | Finish]]


class Loop:
    """One run, from its first model call to its end. Its `events` may be iterated once.

    ``client_tools`` names the tools that the client runs, if all of them are known: see `Machine`. ``before_turn`` may
    change each model call; ``decide`` is asked about calls that need an approval, which otherwise end the run.
    ``hosted`` are the tools of the server that are no functions; they are closed with the run. ``carried`` are calls of
    an earlier run that were decided on.
    """

    def __init__(
        self,
        *,
        run: str,
        request: CreateResponse | CreateChatCompletion,
        items: list[Item],
        targets: Sequence[Target],
        journal: Journal,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        tools: Mapping[str, Tool] | None = None,
        authorization: str | None = None,
        on_interruption: OnInterruption = "retry",
        client_tools: Container[str] | None = None,
        before_turn: BeforeTurn | None = None,
        decide: Decide | None = None,
        hosted: HostedTools | None = None,
        carried: Sequence[CarriedCall] = (),
    ) -> None:
        self._run = run
        self._request = request
        self._items = items
        self._targets = targets
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._authorization = authorization
        self._hosted = hosted
        policies = {name: tool.policy for name, tool in (tools or {}).items()}
        self._machine = Machine(
            limits,
            policies,
            client_tools=client_tools,
            servers=() if hosted is None else hosted.unlisted,
            carried=carried,
            run_here={event.block for event in journal.events if isinstance(event, _OF_OUR_CALLS)},
        )
        self._acting = Acting(events=journal.events, ids=ids, tools=tools or {}, hosted=hosted, decide=decide)
        self._before_turn = before_turn
        self._on_interruption = on_interruption
        self._accepted = False
        self._is_suspended = False

    def suspend(self) -> None:
        """From now on, giving the run up does not end it: it goes on from its journal with the next process."""
        self._is_suspended = True

    async def cancel(self) -> None:
        """End the run as cancelled, unless it has ended or is suspended; returns when its end is durable.

        Its `events` must not be going any more.
        """
        if not self._is_suspended:
            await self._settle(Finish("cancelled"))
        await self._journal.ended()

    async def events(self) -> AsyncGenerator[list[RunEvent], None]:
        """What happens, in batches as it happens; begins with `RunStarted`.

        Nothing is given before an upstream has accepted the call or every attempt has failed, so a failure that
        nobody has seen anything of can still be told as such. Closing the generator, or cancelling its task,
        cancels the upstream call and ends the run as cancelled. With a journal that was resumed, the run goes on from
        where it broke off; what the journal holds is not done again.

        Raises:
            NotFound, Conflict: the run cannot begin, see `Journal.begin`.
        """
        await self._begin()
        held: list[RunEvent] = list(self._journal.events)
        try:
            async with aclosing(self._steps()) as steps:
                async for batch in steps:
                    if held:
                        held += batch
                        if not self._accepted:
                            continue
                        batch, held = held, []
                    if batch:
                        yield batch
        except (asyncio.CancelledError, GeneratorExit):
            if not self._is_suspended:
                await asyncio.shield(self._settle(Finish("cancelled")))
            raise
        except Exception as error:  # noqa: BLE001 - see below
            # A defect of ours must not leave a run without an end: its reader waits for one.
            _log.exception("run %s failed", self._run)
            info = ErrorInfo(code="internal_error", message=f"Internal error ({type(error).__name__}).")
            yield held + await self._settle(Finish("failed", error=info))
        finally:
            if self._hosted is not None:
                # Shielded: who leaves twice must not leave a server's process behind.
                await asyncio.shield(asyncio.ensure_future(self._hosted.close()))

    async def _begin(self) -> None:
        begun = asyncio.ensure_future(self._journal.begin())
        try:
            await asyncio.shield(begun)
        except asyncio.CancelledError:
            await begun  # the store does what it was handed: what it began has to be ended
            await self._settle(Finish("cancelled"))
            raise

    async def _steps(self) -> AsyncGenerator[list[RunEvent], None]:
        deadline_s = self._clock.monotonic_s() + self._limits.timeout_s
        self._machine.feed_all(self._journal.events)
        if broken_off := self._machine.interruption(retry=self._on_interruption == "retry"):
            self._journal.add(broken_off)
            self._machine.feed_all(broken_off)
            yield broken_off
        effect = self._machine.pending
        while effect is not None and not isinstance(effect, Finish):
            following: Effect | None = None
            if isinstance(effect, CallModel) and (given_up := await self._hold_off(effect)) is not None:
                self._accepted = True
                yield await self._settle(given_up)
                return
            call = await self._next_call(effect) if isinstance(effect, CallModel) else None
            if isinstance(call, Finish):
                self._accepted = True
                yield await self._settle(call)
                return
            async with aclosing(self._perform(effect, call)) as batches:
                async for batch in batches:
                    self._journal.add(batch)
                    if batch and type(batch[-1]) in _BARRIERS:
                        await self._journal.commit()
                    following = self._machine.feed_all(batch) or following
                    if isinstance(following, Finish):
                        batch += await self._finish(following)
                        self._accepted = True
                    elif self._clock.monotonic_s() > deadline_s:
                        # Checked here and not by a timer: a timer would cancel whoever reads this generator.
                        batch += await self._settle(self._out_of_time())
                        self._accepted = True
                        following = None
                        yield batch
                        return
                    yield batch
            effect = following
        if not self._journal.has_ended:
            # Only approvals wait without a next effect: the run rests until someone decides.
            self._accepted = True
            yield await self._finish(effect or Finish("completed"))

    def _perform(self, effect: Effect, call: ModelCall | None) -> AsyncGenerator[list[RunEvent], None]:
        match effect:
            case CallModel():
                assert call is not None
                return self._call_model(effect, call)
            case Finish():
                raise AssertionError("unreachable: the end is nothing to be done")
            case TakeUp():
                self._accepted = True  # whatever the calls do is worth seeing, before a model is asked
        return self._acting.perform(effect)

    def _target(self, effect: CallModel) -> Target:
        return self._targets[target_of(effect.attempt, len(self._targets))]

    async def _hold_off(self, effect: CallModel) -> Finish | None:
        """Wait before a model is asked again; or the end of the run, if that is asked to be too long a wait."""
        if not effect.attempt:
            return None
        failed = next(event for event in reversed(self._journal.events) if isinstance(event, TurnFailed))
        wait_s = backoff_s(
            effect.attempt,
            failed.error.retry_after_s,
            targets=len(self._targets),
            first_s=self._limits.retry_wait_s,
            max_s=self._limits.max_retry_wait_s,
            chance=chance_of(f"{self._run}/{effect.turn}/{effect.attempt}"),
        )
        if wait_s is None:
            return Finish("failed", error=failed.error)
        if wait_s:
            await self._clock.sleep(wait_s)
        return None

    async def _next_call(self, effect: CallModel) -> ModelCall | Finish:
        """What to ask the model, or how the run is to end here."""
        target = self._target(effect)
        started = _started(effect, target.provider, target.model, self._ids.new("int"))
        call = question(
            self._request,
            self._items,
            (*self._journal.events, started),
            authorization=self._authorization,
        )
        return call if self._before_turn is None else await self._before_turn(call)

    async def _call_model(self, effect: CallModel, call: ModelCall) -> AsyncGenerator[list[RunEvent], None]:
        provider = self._target(effect).provider
        yield [_started(effect, provider, call.model, call.interaction)]
        treated = self._acting.treatment(call.items)
        async with aclosing(self._answer(provider, call)) as batches:
            async for batch in batches:
                self._accepted = self._accepted or not (batch and isinstance(batch[-1], TurnFailed))
                yield treated(batch)

    def _answer(self, provider: Provider, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        request = call.request
        if not isinstance(request, CreateResponse):
            return provider.stream(call)  # a chat completion's limits are the upstream's to keep
        asking = Asking(
            provider,
            call,
            request,
            new_interaction=lambda: self._ids.new("int"),
            max_calls=self._calls_left(request),
            max_format_retries=self._limits.max_format_retries,
        )
        # A stream that nobody looks into is not passed through two more hands.
        return provider.stream(call) if asking.changes_nothing else asking.events()

    def _calls_left(self, request: CreateResponse) -> int | None:
        """How many calls the model may still make; in OpenAI's profile only what is run here counts."""
        started, maximum = self._journal.events[0], request.max_tool_calls
        if maximum is None or not isinstance(started, RunStarted) or started.profile != "open-responses":
            return None
        return max(0, maximum - sum(isinstance(event, ToolCallStarted) for event in self._journal.events))

    async def _finish(self, finish: Finish) -> list[RunEvent]:
        finished = RunFinished(
            status=finish.status,
            reason=finish.reason,
            error=finish.error,
            finished_at_s=int(self._clock.now_s()),
        )
        await self._journal.finish(finished)
        return [finished]

    def _out_of_time(self) -> Finish:
        limit = LimitExceeded("timeout_s", f"The run took longer than its limit of {self._limits.timeout_s:g} s.")
        return Finish("failed", error=ErrorInfo(code=limit.code, message=limit.message))

    async def _settle(self, finish: Finish) -> list[RunEvent]:
        """End a run from outside its course; one that has ended by itself stays as it is."""
        if self._journal.has_ended:
            return []
        closing = self._machine.closing()
        self._journal.add(closing)
        return [*closing, *await self._finish(finish)]


def _started(effect: CallModel, provider: Provider, model: str, interaction: str) -> TurnStarted:
    return TurnStarted(
        turn=effect.turn, attempt=effect.attempt, interaction=interaction, upstream=provider.name, model=model
    )
