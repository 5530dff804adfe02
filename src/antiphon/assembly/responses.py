"""A Responses answer, streamed or whole, as events. Sans-IO: bytes in, events out.

    bytes ─ BodyReader ─ events of the stream ─ HANDLERS ─┬─ texts   text, reasoning, refusal: one open at a time
                                                          └─ calls   each open until its item is done

Only ``response.completed``, ``response.incomplete`` and ``response.failed``, or an error, end an answer; a stream that
ends in any other way, ``[DONE]`` included, was cut off. Servers differ in what they stream: texts come as deltas, at
once with the event that ends them, or only within the item or the response that holds them. Whatever comes first is
shown, and what comes after it only adds what is missing.

Items are told apart by ``output_index``, since some servers change their ids on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from antiphon.assembly import errors
from antiphon.assembly.body import BodyReader, Item, Refusal
from antiphon.assembly.emission import Emission
from antiphon.assembly.errors import UpstreamFailure
from antiphon.assembly.response_items import CALLS, RUN_THERE, CallItem, Key, StreamedItem, objects, text_of
from antiphon.assembly.response_texts import REFUSAL, SUMMARY, TEXT, THOUGHT, ResponseTexts, Spot
from antiphon.assembly.usage import UsageMeter
from antiphon.dialects import OPENAI, Dialect
from antiphon.errors import AntiphonError, EventTooLarge, LimitExceeded, ProtocolError, TruncatedStream
from antiphon.events import Diagnostic, ErrorInfo, ItemReceived, ModelEvent, TurnFailed, TurnFinished
from antiphon.sse import DEFAULT_MAX_EVENT_BYTES

DEFAULT_MAX_BODY_BYTES = 128 * 1024 * 1024
MAX_ITEMS = 4096

# The reason of an incomplete response -> the finish reason it is here. Any other was a limit of the upstream too.
_CUT_BY = {"content_filter": "content_filter"}
# What a failed response says of its request: to ask the same again would not help.
_OF_THE_REQUEST = re.compile(r"^(invalid_|unsupported_)|image|policy")
_KEPT = ("service_tier", "incomplete_details")


class ResponsesAssembler:
    """Turns one answer of the Responses API into events.

    ``offered`` are the functions of the request, by name, with their JSON schemas. ``used_call_ids`` are those of
    earlier calls in the conversation. The events end with exactly one `TurnFinished` or `TurnFailed`; after it,
    `feed`, `finish` and `fail` give nothing. Nothing is raised: an answer that cannot be read is a failed one.
    """

    def __init__(
        self,
        *,
        turn: int = 0,
        dialect: Dialect = OPENAI,
        offered: Mapping[str, Any] | None = None,
        used_call_ids: Iterable[str] = (),
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
    ) -> None:
        self._rules = dialect.answers
        self._offered = offered or {}
        self._body = BodyReader(max_bytes=max_body_bytes, max_event_bytes=max_event_bytes)
        self._emission = Emission(turn, used_call_ids)
        self.texts = ResponseTexts(self._emission)
        self._items: dict[Key, StreamedItem] = {}
        self._usage = UsageMeter()
        self._calls: list[CallItem] = []
        self._received = 0  # items of tools that ran there
        self._upstream_id: str | None = None
        self._model: str | None = None
        self._over = False

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Take bytes of the body as they arrive; give the events they complete, in order."""
        return [] if self._over else self.take_items(self._body.feed(data))

    def finish(self) -> list[ModelEvent]:
        """The body has ended: what had no end by then was cut off."""
        return [] if self._over else self.take_items(self._body.finish())

    def fail(self, error: ErrorInfo, *, retryable: bool) -> list[ModelEvent]:
        """The body will not go on: close what is open as incomplete."""
        if self._over:
            return []
        events = self._emission.events = []
        self._fail(UpstreamFailure(error, retryable))
        return events

    def take_items(self, items: Iterable[Item]) -> list[ModelEvent]:
        """The events that come of what a body holds. What comes after the end is not looked at."""
        events = self._emission.events = []
        try:
            for item in items:
                if type(item) is dict:
                    self._take(item)
                elif isinstance(item, Diagnostic):
                    self._emission.note(item.quirk, item.seen, item.done)
                elif isinstance(item, Refusal):
                    self._fail(errors.read_error(None, (), item.body))
                elif isinstance(item, AntiphonError):
                    raise item
                else:
                    raise TruncatedStream("The upstream's answer stopped before it was finished.")
                if self._over:
                    break
        except AntiphonError as error:
            retryable = not isinstance(error, LimitExceeded | EventTooLarge)
            self._fail(UpstreamFailure(ErrorInfo(code=error.code, message=error.message), retryable))
        return events

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        handler = HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is not None:
            handler(self, event)
        elif event.get("object") == "response":
            self._end({"response": event})
        elif (failure := errors.find_error(event)) is not None:
            self._fail(failure)
        elif (item := self._items.get(_key(event))) is None or not item.is_hosted:
            self._emission.note("unknown_event", kind, "ignored an event that is not known")

    # --- items ---------------------------------------------------------------------------------

    def _item(self, event: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> StreamedItem:
        """The item an event belongs to; ``shown`` is what the event shows of it."""
        key = _key(event, shown)
        item = self._items.get(key)
        if item is None or item.is_done:
            if len(self._items) >= MAX_ITEMS:
                raise LimitExceeded("items", f"The upstream sent more than {MAX_ITEMS:,} items in one answer.")
            item = self._items[key] = StreamedItem(key)
        if shown and not item.type:
            item.type = text_of(shown.get("type"))
        return item

    def _added(self, event: dict[str, Any]) -> None:
        shown = _object(event.get("item"))
        item = self._item(event, shown)
        if item.type in CALLS:
            self._announce(item, shown)
        elif item.is_hosted and item.type not in RUN_THERE:
            self._emission.note("hosted_item", item.type, "left out: only the upstream could run it")

    def _item_done(self, event: dict[str, Any]) -> None:
        shown = _object(event.get("item"))
        known = self._items.get(_key(event, shown))
        if known is None or not known.is_done:
            self._added(event)
            self._complete(self._item(event, shown), shown)

    def _complete(self, item: StreamedItem, shown: Mapping[str, Any]) -> None:
        """The item is over, and ``shown`` is the whole of it, as far as the upstream shows it."""
        if item.type in CALLS:
            self._finish_call(item, shown)
        elif item.type == "message":
            for index, part in enumerate(objects(shown.get("content"))):
                self.texts.whole_part(item, index, part)
        elif item.type == "reasoning":
            self.texts.finish_reasoning(item, shown)
        elif item.type in RUN_THERE and shown:
            self.texts.leave()
            self._emission.events.append(ItemReceived(block=self._emission.open_block(), item=dict(shown)))
            self._received += 1
        self.texts.leave_item(item)
        item.finish()

    # --- text ----------------------------------------------------------------------------------

    def _part_done(self, event: dict[str, Any]) -> None:
        self.texts.whole_part(self._item(event), _index(event), _object(event.get("part")))

    def _annotation(self, event: dict[str, Any]) -> None:
        if annotation := _object(event.get("annotation")):
            self.texts.annotate(self._item(event), _index(event), annotation)

    # --- calls ---------------------------------------------------------------------------------

    def _announce(self, item: StreamedItem, shown: Mapping[str, Any]) -> None:
        name = text_of(shown.get("name"))
        if item.call is not None or not name:
            return
        self.texts.leave()
        item.call = CallItem.announced(self._emission, item, name, shown)
        self._calls.append(item.call)

    def _argue(self, item: StreamedItem, spot: Spot, text: str) -> None:
        item.type = item.type or spot.field
        item.arguments.append(text)
        if item.call is not None:
            item.call.say(text)

    def _finish_call(self, item: StreamedItem, shown: Mapping[str, Any]) -> None:
        self._announce(item, shown)
        if item.call is None:
            self._emission.note("Q14", shown, "dropped a call that never got a name")
            return
        schema = self._offered.get(item.call.name)
        item.call.close(item, shown, schema=schema, mends_tail=self._rules.mends_argument_tail)

    # --- the end -------------------------------------------------------------------------------

    def _snapshot(self, event: dict[str, Any]) -> None:
        response = _object(event.get("response"))
        self._upstream_id = text_of(response.get("id")) or self._upstream_id
        self._emission.upstream_id = self._emission.upstream_id or self._upstream_id or ""
        self._model = text_of(response.get("model")) or self._model

    def _end(self, event: dict[str, Any]) -> None:
        response = _object(event.get("response"))
        self._snapshot(event)
        if isinstance(usage := response.get("usage"), dict):
            self._usage.take(usage)
        status = response.get("status") or text_of(event.get("type")).partition(".")[2]
        if status == "failed" or response.get("error"):
            self._fail(_failure(response))
        elif status in ("completed", "incomplete"):
            self._take_unstreamed(response)
            self._finish(response, status)
        else:
            raise ProtocolError(f"The upstream ended its response with the status {status!r}.")

    def _take_unstreamed(self, response: Mapping[str, Any]) -> None:
        """What only the whole response has; and the end of calls whose own end never came."""
        open_calls = {item.call.upstream_id: item for item in self._items.values() if item.call and not item.is_done}
        seen = {call.upstream_id for call in self._calls}
        kinds = {item.type for item in self._items.values()}
        for index, shown in enumerate(objects(response.get("output"))):
            kind, call_id = text_of(shown.get("type")), text_of(shown.get("call_id"))
            if call_id in open_calls:
                self._complete(open_calls[call_id], shown)
            elif call_id not in seen if kind in CALLS else kind not in kinds:
                self._item_done({"output_index": len(self._items) + index, "item": shown})
        for item in [each for each in self._items.values() if not each.is_done]:
            self._complete(item, {"status": "incomplete"} if item.type in CALLS else {})

    def _finish(self, response: Mapping[str, Any], status: str) -> None:
        said = self.texts.has_said
        if not said and not self._calls and not self._received:
            if self._rules.empty_answer_fails:
                raise ProtocolError("The upstream finished without any text, reasoning or tool call.")
            self._emission.note("Q46", status, "the answer is empty")
        elif said == {"reasoning"} and not self._calls:
            self._emission.note("Q69", status, "the answer has reasoning and nothing else")
        reason = "tool_calls" if any(call.whole for call in self._calls) else "stop"
        if status == "incomplete":
            word = _object(response.get("incomplete_details")).get("reason")
            reason = _CUT_BY.get(str(word), "length")
        self._over = True
        self.texts.leave()
        self._emission.events.append(
            TurnFinished(
                turn=self._emission.turn,
                finish_reason=reason,
                usage=self._usage.usage,
                upstream_id=self._upstream_id,
                upstream_model=self._model,
                provider_data={name: response[name] for name in _KEPT if response.get(name)},
            )
        )

    def _fail(self, failure: UpstreamFailure) -> None:
        if self._over:
            return
        self._over = True
        self.texts.leave("incomplete")
        for item in self._items.values():
            if item.call is not None and not item.is_done:
                item.call.cut(item)
        error, retryable = failure
        self._emission.events.append(
            TurnFailed(turn=self._emission.turn, error=error, retryable=retryable, usage=self._usage.usage)
        )


def _failure(response: Mapping[str, Any]) -> UpstreamFailure:
    failure = errors.read_error(None, (), {"error": response.get("error")})
    of_the_request = _OF_THE_REQUEST.search(failure.error.upstream_code or "") is not None
    return failure._replace(retryable=failure.retryable and not of_the_request)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _key(event: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> Key:
    index = event.get("output_index")
    return index if type(index) is int else str(event.get("item_id") or (shown or {}).get("id"))


def _index(event: Mapping[str, Any]) -> int:
    found = (event.get(name) for name in ("content_index", "summary_index"))
    return next((index for index in found if type(index) is int), 0)


# --- what each event does ------------------------------------------------------------------------


_Handler = Callable[[ResponsesAssembler, dict[str, Any]], None]


def _delta(spot: Spot) -> _Handler:
    def take(assembler: ResponsesAssembler, event: dict[str, Any]) -> None:
        text = event.get("delta")
        if isinstance(text, str):
            assembler.texts.say(assembler._item(event), spot, _index(event), text, event.get("logprobs"))

    return take


def _done(spot: Spot) -> _Handler:
    def take(assembler: ResponsesAssembler, event: dict[str, Any]) -> None:
        assembler.texts.whole(assembler._item(event), spot, _index(event), event.get(spot.member))

    return take


def _argument_delta(spot: Spot) -> _Handler:
    def take(assembler: ResponsesAssembler, event: dict[str, Any]) -> None:
        text = event.get("delta")
        if isinstance(text, str) and text:
            assembler._argue(assembler._item(event), spot, text)

    return take


def _argument_done(spot: Spot) -> _Handler:
    def take(assembler: ResponsesAssembler, event: dict[str, Any]) -> None:
        item, whole = assembler._item(event), event.get(spot.member)
        item.type = item.type or spot.field
        if whole is not None:
            item.whole = whole if isinstance(whole, str) else msgspec.json.encode(whole).decode()

    return take


def _nothing(_: ResponsesAssembler, __: dict[str, Any]) -> None:
    pass


def _error(assembler: ResponsesAssembler, event: dict[str, Any]) -> None:
    assembler._fail(errors.read_error(None, (), event))


# Event type without ".delta" or ".done" -> where its text belongs. `response.reasoning` is Open Responses' name.
_TEXTS = {
    "response.output_text": TEXT,
    "response.refusal": REFUSAL,
    "response.reasoning_text": THOUGHT,
    "response.reasoning": THOUGHT,
    "response.reasoning_summary_text": SUMMARY,
}
_ARGUMENTS = {
    "response.function_call_arguments": Spot("text", "function_call", "arguments"),
    "response.custom_tool_call_input": Spot("text", "custom_tool_call", "input"),
}
HANDLERS: dict[str, _Handler] = {
    "response.created": ResponsesAssembler._snapshot,
    "response.queued": ResponsesAssembler._snapshot,
    "response.in_progress": ResponsesAssembler._snapshot,
    "response.output_item.added": ResponsesAssembler._added,
    "response.output_item.done": ResponsesAssembler._item_done,
    "response.output_text.annotation.added": ResponsesAssembler._annotation,
    **{f"{name}.delta": _delta(spot) for name, spot in _TEXTS.items()},
    **{f"{name}.done": _done(spot) for name, spot in _TEXTS.items()},
    **{f"{name}.delta": _argument_delta(spot) for name, spot in _ARGUMENTS.items()},
    **{f"{name}.done": _argument_done(spot) for name, spot in _ARGUMENTS.items()},
    # reasoning_part is vLLM's name for the content part of a reasoning item.
    **{f"response.{part}.added": _nothing for part in ("content_part", "reasoning_part", "reasoning_summary_part")},
    **{
        f"response.{part}.done": ResponsesAssembler._part_done
        for part in ("content_part", "reasoning_part", "reasoning_summary_part")
    },
    "response.completed": ResponsesAssembler._end,
    "response.incomplete": ResponsesAssembler._end,
    "response.failed": ResponsesAssembler._end,
    "error": _error,
    "keepalive": _nothing,
    "ping": _nothing,
}
