"""One turn's question to a model, and what a request makes of its answer.

As long as nothing was shown, the question may be asked again in other words: with less of the past where the input is
too long, with a correction where the answer has not the format that was asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from msgspec.structs import replace

from antiphon.agent.formats import answered_text, correction, mistake, nearly_right, wanted_format
from antiphon.agent.gate import ToolGate
from antiphon.agent.truncation import shortened
from antiphon.errors import ContextTooLong
from antiphon.events import Diagnostic, ModelEvent, TextDelta, TurnFailed, TurnFinished, Usage
from antiphon.providers.base import ModelCall, Provider
from antiphon.wire.responses import CreateResponse


class Asking:
    """Asks a provider for one turn. Its `events` are a provider's, see `Provider.stream`, and may be iterated once.

    ``max_calls`` is how many tool calls the turn may make; ``max_format_retries`` how often a wrong format is asked
    again. Only what is not streamed is held back for that: of a stream, the client has seen the answer.
    """

    def __init__(
        self,
        provider: Provider,
        call: ModelCall,
        request: CreateResponse,
        *,
        new_interaction: Callable[[], str],
        max_calls: int | None = None,
        max_format_retries: int = 0,
    ) -> None:
        self._provider = provider
        self._call = call
        self._request = request
        self._new_interaction = new_interaction
        self._max_calls = max_calls
        self._format = wanted_format(request)
        self._retries_left = max_format_retries
        self._holds = self._format is not None and not request.stream
        self._shown = False
        self._usage: Usage | None = None  # of answers that were asked again

    @property
    def changes_nothing(self) -> bool:
        """Whether the provider's events would pass as they are, whatever they are."""
        gate = ToolGate(self._request, max_calls=self._max_calls)
        return gate.is_open and self._format is None and self._request.truncation != "auto"

    async def events(self) -> AsyncGenerator[list[ModelEvent], None]:
        """The events of the turn; the last batch ends with its end."""
        call: ModelCall | None = self._call
        told: list[ModelEvent] = []  # of what was asked before; goes with what comes next, and does not come alone
        while call is not None:
            asked, call = call, None
            turn: list[ModelEvent] = []
            async with aclosing(self._answer(asked)) as batches:
                async for batch in batches:
                    turn += batch
                    if self._holds and not _is_end(batch):
                        yield []  # the upstream has accepted, time goes on
                        continue
                    shown = turn if self._holds else batch
                    if _is_end(batch):
                        call, shown = self._judged(asked, turn, shown)
                    if call is not None:
                        told += shown
                        continue
                    self._shown = self._shown or any(not isinstance(event, Diagnostic) for event in shown)
                    yield [*told, *shown] if told else shown
                    told = []

    async def _answer(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        gate = ToolGate(self._request, max_calls=self._max_calls)
        async with aclosing(self._provider.stream(call)) as batches:
            async for batch in batches:
                yield gate.let_through(batch)

    def _judged(
        self, call: ModelCall, turn: list[ModelEvent], shown: list[ModelEvent]
    ) -> tuple[ModelCall | None, list[ModelEvent]]:
        """What to ask next, if anything, and what to show of the turn, whose end is there."""
        end = turn[-1]
        if isinstance(end, TurnFailed):
            return self._with_less(call, end, shown)
        assert isinstance(end, TurnFinished)
        return self._with_format(call, end, turn, shown)

    def _with_less(
        self, call: ModelCall, failed: TurnFailed, shown: list[ModelEvent]
    ) -> tuple[ModelCall | None, list[ModelEvent]]:
        too_long = failed.error.code == ContextTooLong.code and self._request.truncation == "auto"
        items = shortened(call.items) if too_long and not self._shown else None
        if items is None:
            return None, shown
        seen = f"{len(call.items)} items: {failed.error.message}"
        told = Diagnostic(quirk="truncation", seen=seen, done=f"asked again with {len(items)}, without the oldest")
        return replace(call, items=items, interaction=self._new_interaction()), [*shown[:-1], told]

    def _with_format(
        self, call: ModelCall, finished: TurnFinished, turn: list[ModelEvent], shown: list[ModelEvent]
    ) -> tuple[ModelCall | None, list[ModelEvent]]:
        if self._usage is not None:
            finished = replace(finished, usage=self._usage + (finished.usage or Usage()))
            shown = [*shown[:-1], finished]
        text = answered_text(turn) if self._format is not None else None
        if text is None or self._format is None or (wrong := mistake(text, self._format)) is None:
            return None, shown
        if self._holds and (meant := nearly_right(text, self._format)) is not None:
            told = Diagnostic(quirk="format", seen=f"the answer: {wrong}", done="mended its fence, commas or brackets")
            return None, [told, *_with_text(shown, meant)]
        if not (self._holds and self._retries_left):
            told = Diagnostic(quirk="format", seen=f"the answer: {wrong}", done="shown as it is")
            return None, [*shown[:-1], told, finished]
        self._retries_left -= 1
        self._usage = finished.usage
        again = replace(call, items=[*call.items, *correction(text, wrong)], interaction=self._new_interaction())
        return again, [Diagnostic(quirk="format", seen=f"the answer: {wrong}", done="not shown: asked again")]


def _is_end(batch: list[ModelEvent]) -> bool:
    return bool(batch) and isinstance(batch[-1], TurnFinished | TurnFailed)


def _with_text(events: Iterable[ModelEvent], text: str) -> list[ModelEvent]:
    """The events with this text in the place of their own."""
    changed: list[ModelEvent] = []
    for event in events:
        if isinstance(event, TextDelta):
            event, text = replace(event, text=text, logprobs=[]), ""
            if not event.text:
                continue
        changed.append(event)
    return changed
