"""The body of an answer as the chunks in it: an event stream as it should be, or what came instead.

A gateway may answer a streaming request with a whole JSON object, with chunks and no framing (Q87), with an error page
or a line of text (Q86). The first bytes tell which: nothing in an event stream begins with a brace or an angle bracket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from antiphon.assembly.decode import NOT_PLAIN, check_depth, decode, decode_leniently, is_shallow
from antiphon.assembly.emission import shorten
from antiphon.assembly.pattern import ChunkPattern, pattern_of
from antiphon.errors import AntiphonError, InvalidEvent, LimitExceeded, TruncatedStream
from antiphon.events import Diagnostic
from antiphon.sse import ServerSentEvent, SSEDecoder

_MAX_HEAD_BYTES = 4096
_MAX_PATTERNS = 8
_BOM = b"\xef\xbb\xbf"
_SSE_LINE = re.compile(rb":|(data|event|id|retry)(:|$)")

Form = Literal["unknown", "events", "json", "page"]


class End(NamedTuple):
    """The answer is over; ``is_done`` if it said so itself."""

    is_done: bool


class Refusal(NamedTuple):
    """Instead of an answer there is an error: an ``error`` event, a page, a line of text. Nothing comes after it."""

    body: object
    is_page: bool = False


# What a body holds, in order. A dict is a chunk, or a whole answer; a text is a chunk that is like the one before, but
# for this text in the place of its own; an exception ends it; a diagnostic is news.
Item = dict[str, Any] | str | Diagnostic | Refusal | AntiphonError | End


class BodyReader:
    """Bytes of a body in, what they hold out: however they are cut, the items are the same.

    Items come one by one: who takes a chunk may say how to read the next ones before they are read (`expect_like`).
    Nothing is raised: what cannot be read is an item too.
    """

    __slots__ = (
        "_form",
        "_head",
        "_last",
        "_max_bytes",
        "_pattern",
        "_patterns_left",
        "_saw_event",
        "_size",
        "_sse",
        "_waiting",
    )

    def __init__(self, *, max_bytes: int, max_event_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._form: Form = "unknown"
        self._saw_event = False
        self._head = b""  # how the body begins, until it has shown that it is a stream
        self._waiting: list[bytes] = []  # for the form to be known, or for the end of a JSON body
        self._sse = SSEDecoder(max_event_bytes=max_event_bytes)
        self._last = b""  # the chunk that was given last
        self._pattern: ChunkPattern | None = None  # of that chunk, if others like it are expected
        self._patterns_left = _MAX_PATTERNS

    def feed(self, data: bytes) -> Iterator[Item]:
        """Take bytes as they arrive; give what they complete, one by one."""
        self._size += len(data)
        try:
            if self._saw_event and self._size <= self._max_bytes:
                yield from self._read_events(self._sse.feed(data))
            else:
                yield from self._take(data)
        except AntiphonError as error:
            yield error

    def finish(self) -> Iterator[Item]:
        """The body has ended. The last item is an `End`, unless a `Refusal` or an exception says why there is none."""
        items: list[Item] = []
        try:
            for item in self._read_rest():
                items.append(item)
                yield item
            if self._form == "json" or self._saw_event:
                yield End(is_done=len(items) == 1 and _is_whole(items[0]))
            else:
                yield self._no_answer()
        except AntiphonError as error:
            yield error

    @property
    def wants_pattern(self) -> bool:
        """Whether it is worth telling what the last chunk said: patterns that no other chunk follows are given up."""
        return self._pattern is None and self._patterns_left > 0

    def expect_like(self, field: str, text: str) -> None:
        """Chunks like the last one may follow: all that counts of it is ``text`` under ``field``."""
        self._patterns_left -= 1
        self._pattern = pattern_of(self._last, field, text)

    def _take(self, data: bytes) -> Iterator[Item]:
        """Take bytes of a body whose form may not be known yet, or that has grown too large."""
        excess = self._size - self._max_bytes
        if excess > 0:
            data = data[:-excess]
        if not self._saw_event and len(self._head) < _MAX_HEAD_BYTES:
            self._head += data[: _MAX_HEAD_BYTES - len(self._head)]
        if self._form == "unknown":
            self._waiting.append(data)
            self._form = _sniff(self._head)
            if self._form != "unknown":
                data = b"".join(self._waiting)
                self._waiting.clear()
        if self._form == "events":
            yield from self._read_events(self._sse.feed(data))
        elif self._form == "json":
            self._waiting.append(data)
        if excess > 0:
            limit = f"{self._max_bytes:,} bytes"
            raise LimitExceeded("body_bytes", f"The upstream's answer is larger than the limit of {limit}.")

    def _read_events(self, events: list[ServerSentEvent]) -> Iterator[Item]:
        for data, name in events:
            if name == "error" or data[:1] != b"{":
                yield from self._read_odd(data, name)
                continue
            if self._pattern is not None:
                if (text := self._pattern.text_in(data)) is not None:
                    self._patterns_left = _MAX_PATTERNS
                    yield text
                    continue
                self._pattern = None
            try:
                chunk = decode(data)
            except NOT_PLAIN:
                yield from self._read_odd(data, name)
                continue
            self._saw_event = True
            self._last = data
            yield chunk if is_shallow(data) else _checked(chunk)

    def _read_odd(self, data: bytes, name: str) -> Iterator[Item]:
        """Data that is no chunk at first sight."""
        self._pattern = None
        text = data.strip()
        if name != "error" and (text[:1] == b":" or text in (b"", b'""', b"null")):
            yield _note("Q94", data, "ignored an event that says nothing")
            return
        self._saw_event = True
        if text == b"[DONE]":
            yield End(is_done=True)
        elif name == "error":
            yield Refusal(text)
        else:
            values, quirk = decode_leniently(text)
            yield _note(quirk, text, f"read {len(values)} JSON values from a damaged event")
            yield from _spread(values)

    def _read_rest(self) -> Iterator[Item]:
        """What was waiting for the end of the body."""
        if self._form == "json":
            yield from self._read_json(b"".join(self._waiting).removeprefix(_BOM))
        elif self._form == "events":
            yield from self._read_last(self._sse.flush())

    def _read_last(self, events: list[ServerSentEvent]) -> Iterator[Item]:
        """The event that was open when the body ended: whole, but for its last line break, or torn (Q97)."""
        try:
            yield from self._read_events(events)
        except InvalidEvent as error:
            yield _note("Q97", error.message, "ignored an event that was cut off")

    def _read_json(self, body: bytes) -> Iterator[Item]:
        """A whole answer, an error, or chunks one after the other."""
        try:
            value = decode(body)
            values = [value if is_shallow(body) else _checked(value)]
        except NOT_PLAIN:
            values, quirk = decode_leniently(body)
            yield _note(quirk, body, "read a body that is not one JSON value")
        yield from _spread(values)

    def _no_answer(self) -> Item:
        """What a body without any event comes to: words for a person, or nothing."""
        lines = self._head.lstrip(_BOM).splitlines()
        words = b"\n".join(line for line in lines if line.strip() and not _SSE_LINE.match(line))
        return Refusal(words, is_page=True) if words else TruncatedStream("The upstream's answer is empty.")


def _spread(values: list[Any]) -> Iterator[Item]:
    """The chunks among JSON values; a list of chunks is as good as the chunks (Q88)."""
    for value in values:
        if type(value) is dict or isinstance(value, InvalidEvent):
            yield value
        elif type(value) is list:
            yield from _spread(value)
        elif value not in (None, ""):
            raise InvalidEvent(f"The upstream sent {value!r:.100} where a chunk was expected.")


def _checked(value: Any) -> Any:
    """The value, or why it cannot be kept."""
    try:
        check_depth(value)
    except InvalidEvent as error:
        return error
    return value


def _is_whole(item: Item) -> bool:
    """Whether a JSON body is a whole answer, and not the only chunk that came of a stream."""
    choices = item.get("choices") if isinstance(item, dict) else None
    return isinstance(choices, list) and any(
        isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices
    )


def _sniff(head: bytes) -> Form:
    """What a body is, by its first bytes."""
    if _BOM.startswith(head):
        return "unknown"
    first = head.removeprefix(_BOM).lstrip()[:1]
    if not first and len(head) < _MAX_HEAD_BYTES:
        return "unknown"
    if first == b"<":
        return "page"
    return "json" if first in (b"{", b"[") else "events"


def _note(quirk: str, seen: object, done: str) -> Diagnostic:
    return Diagnostic(quirk=quirk, seen=shorten(seen), done=done)
