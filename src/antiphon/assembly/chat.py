"""A chat-completions answer, streamed or whole, as events. Sans-IO: bytes in, events out.

    bytes ─ BodyReader ─ chunks ─┬─ Choice 0 ─┬─ Speech      text, reasoning, refusal: one open at a time
                                 ├─ Choice 1  └─ ToolCalls   all open until the end
                                 └─ UsageMeter, provider_data, errors

The stream ends in one of four ways, and the first that happens decides:

=====================  =====================================================================
an error               in a chunk, in an ``error`` event, or as the whole body: `TurnFailed`
``[DONE]``             complete, even where no finish reason was sent (Q38)
end, finish reason     complete (Q40)
end, nothing said      cut off: `TurnFailed`, may be retried (Q39)
=====================  =====================================================================

Nothing is final before that: a finish reason may be followed by more (Q42-Q44), a call by more of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from antiphon.assembly import citations, errors
from antiphon.assembly.body import BodyReader, End, Item, Refusal
from antiphon.assembly.choice import Choice, Ending
from antiphon.assembly.decode import clean
from antiphon.assembly.emission import Emission
from antiphon.assembly.errors import UpstreamFailure
from antiphon.assembly.usage import UsageMeter
from antiphon.dialects import OPENAI, Dialect
from antiphon.errors import AntiphonError, EventTooLarge, LimitExceeded, ProtocolError, TruncatedStream
from antiphon.events import Diagnostic, ErrorInfo, ModelEvent, TurnFailed, TurnFinished
from antiphon.sse import DEFAULT_MAX_EVENT_BYTES
from antiphon.wire.chat import ChatChunk

DEFAULT_MAX_BODY_BYTES = 128 * 1024 * 1024
MAX_CHOICES = 128
_MAX_KEPT_KEYS = 256

# Keys of a chunk that never go into provider_data: they are read, or mean nothing to anyone (Q99).
_READ_KEYS = frozenset({"choices", "usage", "error", "object", "created", "obfuscation"})
# Keys that say the same on every chunk: the first value that is not empty stands (Q51, Q56).
_LATCHED_KEYS = frozenset({"id", "model", "service_tier", "system_fingerprint", "provider"})


class ChatAssembler:
    """Turns one upstream answer into events, whatever shape it comes in.

    ``offered`` are the tools of the request, by name, with their JSON schemas: what a call can be told by.
    ``n`` is the number of choices asked for, if known: with 1, everything belongs to choice 0 (Q53, Q55).
    ``used_call_ids`` are those of earlier calls in the conversation: upstreams that number calls use them again (Q33).
    The events end with exactly one `TurnFinished` or `TurnFailed`; after it, `feed`, `finish` and `fail` give nothing.
    Nothing is raised: an answer that cannot be read is a failed one.

    Memory is bounded by ``max_body_bytes``: text leaves nothing behind; arguments and whole JSON bodies are held once;
    a chunk that is being decoded costs at most 32 bytes for each of its own (lists of empty objects do, most cost 3);
    of what nobody knows, the last values of 256 keys are kept. There are at most 1,024 calls and 128 choices.
    """

    def __init__(
        self,
        *,
        turn: int = 0,
        dialect: Dialect = OPENAI,
        offered: Mapping[str, Any] | None = None,
        n: int | None = None,
        used_call_ids: Iterable[str] = (),
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
    ) -> None:
        self._rules = dialect.answers
        self._offered = offered or {}
        self._n = n
        self._body = BodyReader(max_bytes=max_body_bytes, max_event_bytes=max_event_bytes)
        self._emission = Emission(turn, used_call_ids)
        self._choices: dict[int, Choice] = {}
        self._usage = UsageMeter()
        self._vendor_usage: dict[str, Any] | None = None
        self._latched: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._plain = _READ_KEYS  # keys of a chunk that need no look: grows as values are latched
        self._say_more: Callable[[str], None] = _nothing
        self._over = False

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Take bytes of the body as they arrive; give the events they complete, in order."""
        if self._over:
            return []
        return self.take_items(self._body.feed(data))

    def finish(self) -> list[ModelEvent]:
        """The body has ended: close what is open and say how the turn ended."""
        if self._over:
            return []
        return self.take_items(self._body.finish())

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
                if type(item) is str:
                    self._say_more(item)
                elif type(item) is not dict:
                    self._take_signal(item)
                elif not self._take_more(item):
                    self._take_chunk(item)
                elif self._body.wants_pattern:
                    self._expect_like(item)
                if self._over:
                    break
        except AntiphonError as error:
            self._fail(_failure(error))
        return events

    def _take_signal(self, item: Item) -> None:
        """What a body holds besides chunks."""
        if isinstance(item, Diagnostic):
            self._emission.note(item.quirk, item.seen, item.done)
        elif isinstance(item, End):
            self._end(is_done=item.is_done)
        elif isinstance(item, Refusal):
            self._refuse(item)
        elif isinstance(item, AntiphonError):
            raise item

    def _refuse(self, refusal: Refusal) -> None:
        failure = errors.read_error(None, (), refusal.body)
        if refusal.is_page:
            self._emission.note("Q86", failure.error.message, "took the body for an error page")
        elif failure.error.upstream_code == "tool_use_failed":
            self._emission.note("Q85", refusal.body, "the upstream refused the call that the model wrote")
        self._fail(failure)

    # --- chunks --------------------------------------------------------------------------------

    def _take_more(self, chunk: dict[str, Any]) -> bool:
        """The short way for most chunks, see `Choice.take_more`; False, and nothing done, if it is not one of them."""
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or not self._plain.issuperset(chunk):
            return False
        if chunk.get("usage") is not None or chunk.get("error"):
            return False
        choice = choices[0]
        if type(choice) is not dict:
            return False
        index = choice.get("index")
        state = self._choices.get(index) if type(index) is int else None
        return state is not None and state.take_more(choice)

    def _expect_like(self, chunk: dict[str, Any]) -> None:
        """A chunk went the short way: others like it may go a shorter one, and be no more than their text."""
        choice = chunk["choices"][0]
        field, text, self._say_more = self._choices[choice["index"]].repeated(choice["delta"])
        self._body.expect_like(field, text)

    def _take_chunk(self, chunk: dict[str, Any]) -> None:
        self._take_envelope(chunk)
        choices = chunk.get("choices")
        if type(choices) is list:
            for position, choice in enumerate(choices):
                if type(choice) is dict:
                    self._take_choice(choice, position)
        if (failure := errors.find_error(chunk)) is not None:
            self._fail(failure)

    def _take_choice(self, choice: dict[str, Any], position: int) -> None:
        index = choice.get("index")
        if type(index) is not int or index < 0:
            index = position
        if self._n == 1 and index != 0:
            self._emission.note("Q53", index, "one choice was asked for: took this for choice 0")
            index = 0
        state = self._choices.get(index)
        if state is None:
            if len(self._choices) >= MAX_CHOICES:
                raise LimitExceeded("choices", f"The upstream sent more than {MAX_CHOICES} choices in one answer.")
            state = self._choices[index] = Choice(index, self._emission, self._rules, self._offered)
        state.take(choice)
        usage = choice.get("usage")
        if type(usage) is dict:
            self._usage.take(usage)
        if choice.get("error"):
            self._fail(errors.read_error(None, (), choice))

    def _take_envelope(self, chunk: dict[str, Any]) -> None:
        """What a chunk says beside its choices."""
        usage = chunk.get("usage")
        if type(usage) is dict:
            self._usage.take(usage)
        if self._plain.issuperset(chunk):
            return
        for key, value in chunk.items():
            if key in _LATCHED_KEYS:
                if value and key not in self._latched:
                    self._latched[key] = value
                    self._plain |= {key}
                    if key == "id" and type(value) is str:
                        self._emission.upstream_id = value
            elif key not in _READ_KEYS and value is not None:
                if key == "x_groq" and type(value) is dict and type(value.get("usage")) is dict:
                    self._vendor_usage = value["usage"]
                if key in self._extra or len(self._extra) < _MAX_KEPT_KEYS:
                    self._extra[key] = value

    # --- the end -------------------------------------------------------------------------------

    def _end(self, *, is_done: bool) -> None:
        """The body has ended, or says it has."""
        if not self._choices:
            self._fail(self._no_answer())
            return
        if not is_done and any(choice.finish_reason is None for choice in self._choices.values()):
            self._fail(_failure(TruncatedStream("The upstream's answer stopped before it was finished.")))
            return
        if self._vendor_usage is not None and not self._usage:
            self._usage.take(self._vendor_usage, is_vendors=True)
        main = self._choices.get(0) or next(iter(self._choices.values()))
        if main.finish_word == "error":
            self._fail(_failed_by_model(main.finish_reason))
        elif main.is_empty and self._rules.empty_answer_fails:
            self._fail(_empty_answer())
        else:
            self._close_finished(main)

    def _no_answer(self) -> UpstreamFailure:
        """What chunks or a body without any choice come to (Q52): words of an error in no known shape, or nothing."""
        failure = errors.read_error(None, (), self._extra)
        if failure.error.message != errors.NO_WORDS:
            return failure
        return _failure(ProtocolError("The upstream's answer has no choices in it."))

    def _cite_sources(self, choice: Choice) -> None:
        found = citations.from_sources(self._extra.get("citations"), self._extra.get("search_results"))
        if not found:
            return
        self._emission.note("Q60", found[0]["url"], "took the sources of the answer for citations of its text")
        for annotation in found:
            choice.speech.annotate(annotation)

    def _close_finished(self, main: Choice) -> None:
        self._over = True
        self._cite_sources(main)
        endings = {index: choice.end() for index, choice in sorted(self._choices.items())}
        ending = next(ending for index, ending in endings.items() if self._choices[index] is main)
        self._explain(ending)
        provider_data = dict(self._extra)
        for key in ("service_tier", "system_fingerprint", "provider"):
            if key in self._latched:
                provider_data[key] = self._latched[key]
        if ending.word != ending.reason:
            provider_data["finish_reason"] = ending.word
        kept = {str(index): choice.extra for index, choice in sorted(self._choices.items()) if choice.extra}
        if kept:
            provider_data["choices"] = kept
        self._emission.events.append(
            TurnFinished(
                turn=self._emission.turn,
                finish_reason=ending.reason,
                other_finish_reasons={index: other.reason for index, other in endings.items() if other is not ending},
                usage=self._usage.usage,
                upstream_id=_text(self._latched.get("id")),
                upstream_model=_text(self._latched.get("model")),
                provider_data=provider_data,
            )
        )

    def _explain(self, ending: Ending) -> None:
        if ending.word is None:
            self._emission.note("Q38", None, f"no finish reason was sent: inferred {ending.reason}")
        elif ending.word != ending.reason:
            quirk = (
                "Q37" if ending.reason in ("tool_calls", "stop") and ending.word in ("stop", "tool_calls") else "Q45"
            )
            self._emission.note(quirk, ending.word, f"finish reason taken for {ending.reason}")
        if not ending.has_output:
            self._emission.note("Q46", ending.word, "the answer is empty")
        elif ending.only_reasoning:
            self._emission.note("Q69", ending.word, "the answer has reasoning and nothing else")

    def _fail(self, failure: UpstreamFailure) -> None:
        if self._over:
            return
        self._over = True
        for _, choice in sorted(self._choices.items()):
            choice.end(failed=True)
        self._emission.events.append(
            TurnFailed(
                turn=self._emission.turn, error=failure.error, retryable=failure.retryable, usage=self._usage.usage
            )
        )


def assemble(
    body: bytes, *, turn: int = 0, dialect: Dialect = OPENAI, offered: Mapping[str, Any] | None = None
) -> list[ModelEvent]:
    """The events of a whole body, in the same way as those of a streamed one."""
    assembler = ChatAssembler(turn=turn, dialect=dialect, offered=offered)
    return assembler.feed(body) + assembler.finish()


def assemble_chunks(
    chunks: Iterable[ChatChunk], *, turn: int = 0, dialect: Dialect = OPENAI, offered: Mapping[str, Any] | None = None
) -> list[ModelEvent]:
    """The events of chunks that were decoded already, as logs and recordings of SDK objects keep them.

    Such logs have no ``[DONE]``: an answer with a finish reason is complete.
    """
    items: list[Item] = []
    try:
        items += (value for chunk in chunks if type(value := clean(chunk)) is dict)
    except AntiphonError as error:
        items.append(error)
    else:
        items.append(End(is_done=False))
    return ChatAssembler(turn=turn, dialect=dialect, offered=offered).take_items(items)


def _failure(error: AntiphonError) -> UpstreamFailure:
    retryable = not isinstance(error, LimitExceeded | EventTooLarge)
    return UpstreamFailure(ErrorInfo(code=error.code, message=error.message), retryable)


def _failed_by_model(word: str | None) -> UpstreamFailure:
    message = f"The upstream ended its answer with finish_reason {word!r} and said no more."
    return UpstreamFailure(ErrorInfo(code="upstream_error", message=message, upstream_code=word), True)


def _empty_answer() -> UpstreamFailure:
    message = "The upstream finished without any text, reasoning or tool call."
    return UpstreamFailure(ErrorInfo(code="upstream_protocol_error", message=message), True)


def _text(seen: object) -> str | None:
    return seen if isinstance(seen, str) and seen else None


def _nothing(_: str) -> None:
    raise AssertionError("unreachable: there is no text before a chunk")
