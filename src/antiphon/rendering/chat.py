"""The events of a model call as the chat API shows them: choices, a whole completion, a stream of chunks.

Reasoning has no place in OpenAI's chat API; it is shown as ``reasoning_content``, the name most upstreams and clients
know, and its opaque parts as ``reasoning_details``. Whatever else an upstream wants to see again with a call (thought
signatures) stands on the call, as it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from antiphon.events import (
    AnnotationAdded,
    Diagnostic,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RefusalDelta,
    RefusalStarted,
    RunEvent,
    RunFinished,
    RunStarted,
    TextDelta,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFinished,
    TurnStarted,
    Usage,
)
from antiphon.rendering.frames import DONE

__all__ = ["DONE", "ChatRenderer", "chat_choices", "chat_completion", "sse"]

_encode = msgspec.json.encode

_CALL_MEMBERS = frozenset({"index", "id", "type", "function", "custom"})


def chat_choices(events: Iterable[RunEvent]) -> list[dict[str, Any]]:
    """One dict for each choice of a model call, in order: what `antiphon inspect` shows.

    Members: ``index``, ``role``, ``content``, ``reasoning``, ``tool_calls`` (``id``, ``name``, ``arguments``) and
    ``finish_reason``. ``content`` and ``reasoning`` are None where there was none; ``refusal`` is there only if there
    was one. Of a run with several turns the last is shown. The finish reason is the upstream's own word, and None
    where the call had no end.
    """
    choices = _Choices(events)
    return [_shown(index, choice) for index, choice in choices.in_order()]


def _shown(index: int, choice: _Choice) -> dict[str, Any]:
    calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in choice.calls]
    shown: dict[str, Any] = {
        "index": index,
        "role": "assistant",
        "content": "".join(choice.text) or None,
        "reasoning": "".join(choice.reasoning) or None,
        "tool_calls": calls,
        "finish_reason": choice.word or choice.finish_reason,
    }
    if choice.refusal:
        shown["refusal"] = "".join(choice.refusal)
    return shown


def chat_completion(events: Iterable[RunEvent]) -> dict[str, Any]:
    """The ``chat.completion`` object of a run that completed; one that failed has none, its error is the answer.

    What was mended stands under ``antiphon.diagnostics``, as in a Response object; streamed, on the last chunk.
    """
    choices = _Choices(events)
    completion = {
        **_head(choices.started, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": {"content": choice.logprobs, "refusal": None} if choice.logprobs else None,
                "finish_reason": choice.finish_reason or "stop",
            }
            for index, choice in choices.in_order()
        ],
    }
    if choices.usage is not None:
        completion["usage"] = _usage(choices.usage)
    return completion | _disclosure(choices.diagnostics)


def _message(choice: _Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(choice.text) or None,
        "refusal": "".join(choice.refusal) or None,
        "annotations": choice.annotations,
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.reasoning_details:
        message["reasoning_details"] = choice.reasoning_details
    if choice.calls:  # never an empty list: upstreams refuse it when it is echoed
        message["tool_calls"] = [{**call.provider_data, **_tool_call(call, call.arguments)} for call in choice.calls]
    return message


def _disclosure(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """What was mended, each thing once, in a member of our own: only where there is any."""
    shown = [{"quirk": each.quirk, "seen": each.seen, "done": each.done} for each in dict.fromkeys(diagnostics)]
    return {"antiphon": {"diagnostics": shown}} if shown else {}


def _head(started: RunStarted | None, kind: str) -> dict[str, Any]:
    if started is None:
        raise ValueError("The events do not begin with RunStarted, which has the completion's id, time and model.")
    suffix = started.run.partition("_")[2] or started.run
    id_ = started.run if started.api == "chat" else f"chatcmpl-{suffix}"
    return {"id": id_, "object": kind, "created": started.created_at_s, "model": started.model}


def _tool_call(call: _Call, arguments: str) -> dict[str, Any]:
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _sent_back(provider_data: dict[str, Any]) -> dict[str, Any]:
    """What a client shall send back with a call, beside what makes it a call."""
    return {name: value for name, value in provider_data.items() if name not in _CALL_MEMBERS}


def _logprob(logprob: dict[str, Any]) -> dict[str, Any]:
    """A token's logprob with the members that OpenAI always has and others leave out."""
    top = [{"bytes": None, **other} for other in logprob.get("top_logprobs") or ()]
    return {"bytes": None, **logprob, "top_logprobs": top}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


# --- whole -----------------------------------------------------------------------------------


class _Call:
    """One tool call of a choice."""

    __slots__ = ("id", "kind", "name", "pieces", "provider_data")

    def __init__(self, event: ToolCallStarted) -> None:
        self.id = event.call_id
        self.name = event.name
        self.kind = event.kind
        self.pieces: list[str] = []
        self.provider_data: dict[str, Any] = {}

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class _Choice:
    """What one choice has said; ``word`` is the upstream's own finish reason where ours differs."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.reasoning_details: list[dict[str, Any]] = []
        self.refusal: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []
        self.calls: list[_Call] = []
        self.finish_reason: str | None = None
        self.word: str | None = None


class _Choices:
    """The choices of the last turn in these events."""

    def __init__(self, events: Iterable[RunEvent]) -> None:
        self.started: RunStarted | None = None
        self.usage: Usage | None = None
        self.diagnostics: list[Diagnostic] = []
        self._by_index: dict[int, _Choice] = {}
        self._choice_of: dict[str, _Choice] = {}
        self._calls: dict[str, _Call] = {}
        for event in events:
            if (handler := _READERS.get(type(event))) is not None:
                handler(self, event)

    def in_order(self) -> list[tuple[int, _Choice]]:
        return sorted(self._by_index.items())

    def _choice(self, index: int) -> _Choice:
        return self._by_index.setdefault(index, _Choice())

    def run_started(self, event: RunStarted) -> None:
        self.started = event

    def turn_started(self, _: TurnStarted) -> None:
        self._by_index.clear()

    def block_started(self, event: TextStarted | ReasoningStarted | RefusalStarted) -> None:
        self._choice_of[event.block] = self._choice(event.choice)

    def text(self, event: TextDelta) -> None:
        choice = self._choice_of[event.block]
        choice.text.append(event.text)
        choice.logprobs += map(_logprob, event.logprobs)

    def annotation(self, event: AnnotationAdded) -> None:
        self._choice_of[event.block].annotations.append(_chat_annotation(event.annotation))

    def reasoning(self, event: ReasoningDelta) -> None:
        self._choice_of[event.block].reasoning.append(event.text)

    def reasoning_finished(self, event: ReasoningFinished) -> None:
        self._choice_of[event.block].reasoning_details += event.details

    def refusal(self, event: RefusalDelta) -> None:
        self._choice_of[event.block].refusal.append(event.text)

    def call_started(self, event: ToolCallStarted) -> None:
        call = self._calls[event.block] = _Call(event)
        self._choice(event.choice).calls.append(call)

    def call_delta(self, event: ToolCallDelta) -> None:
        self._calls[event.block].pieces.append(event.arguments)

    def call_finished(self, event: ToolCallFinished) -> None:
        call = self._calls[event.block]
        call.pieces = [event.arguments]
        call.provider_data = _sent_back(event.provider_data)

    def diagnostic(self, event: Diagnostic) -> None:
        self.diagnostics.append(event)

    def turn_finished(self, event: TurnFinished) -> None:
        first = self._choice(0)
        first.finish_reason = event.finish_reason
        word = event.provider_data.get("finish_reason")
        first.word = word if isinstance(word, str) else None
        for index, reason in event.other_finish_reasons.items():
            self._choice(index).finish_reason = reason
        self.usage = event.usage


def _chat_annotation(annotation: dict[str, Any]) -> dict[str, Any]:
    """Flat in the Responses API, nested in the chat API."""
    kind = annotation.get("type", "url_citation")
    return {"type": kind, kind: {name: value for name, value in annotation.items() if name != "type"}}


_READERS: dict[type, Callable[[_Choices, Any], None]] = {
    RunStarted: _Choices.run_started,
    TurnStarted: _Choices.turn_started,
    TextStarted: _Choices.block_started,
    TextDelta: _Choices.text,
    AnnotationAdded: _Choices.annotation,
    ReasoningStarted: _Choices.block_started,
    ReasoningDelta: _Choices.reasoning,
    ReasoningFinished: _Choices.reasoning_finished,
    RefusalStarted: _Choices.block_started,
    RefusalDelta: _Choices.refusal,
    ToolCallStarted: _Choices.call_started,
    ToolCallDelta: _Choices.call_delta,
    ToolCallFinished: _Choices.call_finished,
    Diagnostic: _Choices.diagnostic,
    TurnFinished: _Choices.turn_finished,
}


# --- in chunks -------------------------------------------------------------------------------


def sse(chunks: Iterable[bytes]) -> bytes:
    """The chunks as server-sent events, which have no names in the chat API."""
    return b"".join([b"data: %b\n\n" % chunk for chunk in chunks])


class ChatRenderer:
    """Renders the events of one run as ``chat.completion.chunk`` objects, fed in any portions, in order.

    A run that failed ends with an error object, as OpenAI ends it. ``[DONE]`` is the caller's to send: after the end
    of a run that did not fail, and never otherwise.
    """

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._before = b""  # of a chunk, up to its choice's index
        self._after = b""  # of a chunk, from the end of its delta on
        self._head: dict[str, Any] = {}
        self._shows_usage = False
        self._usage: Usage | None = None
        self._diagnostics: list[Diagnostic] = []
        self._choice_of: dict[str, int] = {}
        self._calls: dict[str, tuple[int, int, _Call]] = {}  # by block: choice, index within it
        self._call_counts: dict[int, int] = {}
        self._annotation_counts: Counter[int] = Counter()
        self._detail_counts: Counter[int] = Counter()
        self._ends: dict[int, str] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            RunStarted: self._run_started,
            TextStarted: self._block_started,
            TextDelta: self._text,
            AnnotationAdded: self._annotation,
            ReasoningStarted: self._block_started,
            ReasoningDelta: self._reasoning,
            ReasoningFinished: self._reasoning_finished,
            RefusalStarted: self._block_started,
            RefusalDelta: self._refusal,
            ToolCallStarted: self._call_started,
            ToolCallDelta: self._call_delta,
            ToolCallFinished: self._call_finished,
            Diagnostic: self._diagnostic,
            TurnFinished: self._turn_finished,
            RunFinished: self._run_finished,
        }

    def render(self, events: Iterable[RunEvent]) -> list[bytes]:
        """The chunks these events become, each the JSON text of one object."""
        handlers = self._handlers
        for event in events:
            if (handler := handlers.get(type(event))) is not None:
                handler(event)
        chunks, self._chunks = self._chunks, []
        return chunks

    def _run_started(self, event: RunStarted) -> None:
        self._head = _head(event, "chat.completion.chunk")
        options = event.request.get("stream_options") or {}
        self._shows_usage = bool(options.get("include_usage"))
        self._before = _encode(self._head)[:-1] + b',"choices":[{"index":'
        self._after = b',"logprobs":null,"finish_reason":null}]' + (b',"usage":null}' if self._shows_usage else b"}")

    def _write(self, choice: int, delta: bytes) -> None:
        self._chunks.append(b'%b%d,"delta":%b%b' % (self._before, choice, delta, self._after))

    def _open(self, choice: int) -> None:
        # In order: the accumulator of openai-python fails on a choice that is announced before a lower one.
        for index in range(len(self._call_counts), choice + 1):
            self._call_counts[index] = 0
            self._write(index, b'{"role":"assistant","content":""}')

    def _block_started(self, event: TextStarted | ReasoningStarted | RefusalStarted) -> None:
        self._choice_of[event.block] = event.choice
        self._open(event.choice)

    def _text(self, event: TextDelta) -> None:
        choice = self._choice_of[event.block]
        if event.logprobs:
            logprobs = {"content": [*map(_logprob, event.logprobs)], "refusal": None}
            self._write_choice(choice, {"delta": {"content": event.text}, "logprobs": logprobs})
        else:
            self._write(choice, b'{"content":%b}' % _encode(event.text))

    def _annotation(self, event: AnnotationAdded) -> None:
        # Members of a list need an index for openai-python to accumulate them.
        choice = self._choice_of[event.block]
        annotation = {"index": self._annotation_counts[choice], **_chat_annotation(event.annotation)}
        self._annotation_counts[choice] += 1
        self._write(choice, _encode({"annotations": [annotation]}))

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._write(self._choice_of[event.block], b'{"reasoning_content":%b}' % _encode(event.text))

    def _reasoning_finished(self, event: ReasoningFinished) -> None:
        if event.details:
            choice = self._choice_of[event.block]
            first = self._detail_counts[choice]
            self._detail_counts[choice] += len(event.details)
            details = [{**part, "index": index} for index, part in enumerate(event.details, first)]
            self._write(choice, _encode({"reasoning_details": details}))

    def _refusal(self, event: RefusalDelta) -> None:
        self._write(self._choice_of[event.block], b'{"refusal":%b}' % _encode(event.text))

    def _call_started(self, event: ToolCallStarted) -> None:
        self._open(event.choice)
        index = self._call_counts[event.choice]
        self._call_counts[event.choice] += 1
        call = _Call(event)
        self._calls[event.block] = event.choice, index, call
        self._write(event.choice, _encode({"tool_calls": [{"index": index, **_tool_call(call, "")}]}))

    def _call_delta(self, event: ToolCallDelta) -> None:
        choice, index, call = self._calls[event.block]
        call.pieces.append(event.arguments)
        self._write_call(choice, index, call, event.arguments, {})

    def _write_call(self, choice: int, index: int, call: _Call, arguments: str, more: dict[str, Any]) -> None:
        kind, text = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
        self._write(choice, _encode({"tool_calls": [{**more, "index": index, kind: {text: arguments}}]}))

    def _call_finished(self, event: ToolCallFinished) -> None:
        # A client can only append: what the deltas got wrong cannot be taken back here.
        choice, index, call = self._calls[event.block]
        streamed = call.arguments
        if event.arguments != streamed and event.arguments.startswith(streamed):
            self._call_delta(ToolCallDelta(block=event.block, arguments=event.arguments[len(streamed) :]))
        if more := _sent_back(event.provider_data):
            self._write_call(choice, index, call, "", more)

    def _diagnostic(self, event: Diagnostic) -> None:
        self._diagnostics.append(event)

    def _turn_finished(self, event: TurnFinished) -> None:
        self._ends = {0: event.finish_reason, **event.other_finish_reasons}
        self._usage = event.usage

    def _run_finished(self, event: RunFinished) -> None:
        if event.status == "failed":
            error = event.error
            code, message = (error.code, error.message) if error else ("server_error", "The run failed.")
            body = {"message": message, "type": "server_error", "param": None, "code": code}
            self._chunks.append(_encode({"error": body}))
            return
        self._open(max((0, *self._ends)))
        disclosure = _disclosure(self._diagnostics)
        *others, last = self._call_counts
        for choice in others:
            self._end(choice)
        if not self._shows_usage:
            self._end(last, disclosure)
            return
        self._end(last)
        self._chunks.append(_encode({**self._head, "choices": [], "usage": _usage(self._usage), **disclosure}))

    def _end(self, choice: int, more: dict[str, Any] | None = None) -> None:
        self._write_choice(choice, {"finish_reason": self._ends.get(choice, "stop")}, more)

    def _write_choice(self, choice: int, fields: dict[str, Any], more: dict[str, Any] | None = None) -> None:
        shown = {"index": choice, "delta": {}, "logprobs": None, "finish_reason": None, **fields}
        usage = {"usage": None} if self._shows_usage else {}
        self._chunks.append(_encode({**self._head, "choices": [shown], **usage, **(more or {})}))
