"""Server-sent events: bytes in, events out, and back. No I/O.

Follows WHATWG HTML 9.2.6, "Interpreting an event stream"
(https://html.spec.whatwg.org/multipage/server-sent-events.html), with one departure: an event that is still
open when the stream ends is given by `SSEDecoder.flush` instead of being thrown away, because upstreams do forget
the last blank line (quirk Q97). Whether the answer was whole is for `antiphon.assembly` to say.

A line ends at CR, LF or CRLF and nowhere else. U+2028 and U+0085 inside a JSON string are data, so
``splitlines`` and every line reader built on it are wrong here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from antiphon.errors import EventTooLarge

# Tool arguments and base64 images come as one line; clients with 64 kB to 1 MB line buffers break on them (Q96).
DEFAULT_MAX_EVENT_BYTES = 64 * 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_new = tuple.__new__  # builds a named tuple in half the time of its own constructor


class ServerSentEvent(NamedTuple):
    """One event. ``data`` is bytes, its line breaks restored as LF; ``event`` is ``message`` unless named.

    ``id`` and ``retry`` lines are read past: nothing here reconnects by them.
    """

    data: bytes
    event: str = "message"


class SSEDecoder:
    """Incremental decoder: however the bytes are split, the events are the same.

    Invalid UTF-8 is left in ``data`` for the JSON decoder to judge: a character that is split over two reads is
    not invalid (Q95), and only the reader of the data knows what a broken one means.
    """

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._open_line: list[bytes] = []  # pieces of a line that has not ended: joined once, so long lines are linear
        self._at_start = True
        self._skip_lf = False  # the last line ended at a CR that may be half of a CRLF
        self._event = "message"
        self._data: list[bytes] = []
        self._size = 0
        self._is_between = False  # no event is open, and the start is over
        self._is_too_large = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take bytes as they arrive; return the events they complete, in order.

        Raises:
            EventTooLarge: one event outgrew ``max_event_bytes``. Events that came before it are returned first, and
                the next call raises. The decoder is of no use afterwards.
        """
        events: list[ServerSentEvent] = []
        if self._is_between and self._take_plain(chunk, events):
            return events
        if self._is_too_large:
            raise EventTooLarge(self._max_event_bytes)
        try:
            self._take_chunk(self._without_mark(chunk) if self._at_start else chunk, events)
        except EventTooLarge:
            self._is_too_large, self._is_between = True, False
            if not events:
                raise
        return events

    def flush(self) -> list[ServerSentEvent]:
        """The stream has ended: return the event that was still open, if any.

        Raises:
            EventTooLarge: the last call of `feed` met one.
        """
        if self._is_too_large:
            raise EventTooLarge(self._max_event_bytes)
        events: list[ServerSentEvent] = []
        rest = self._close_line(b"")
        if rest and not (self._at_start and _BYTE_ORDER_MARK.startswith(rest)):
            self._take_line(rest, events)
        self._take_line(b"", events)
        return events

    def _without_mark(self, chunk: bytes) -> bytes:
        """The first bytes without a byte order mark; nothing, as long as they may be half of one."""
        chunk = b"".join((*self._open_line, chunk))
        self._open_line.clear()
        if len(chunk) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(chunk):
            self._open_line.append(chunk)
            return b""
        self._at_start, self._is_between = False, True
        return chunk.removeprefix(_BYTE_ORDER_MARK)

    def _take_plain(self, chunk: bytes, events: list[ServerSentEvent]) -> bool:
        """Take bytes that are nothing but the plainest events, one ``data: `` line and a blank one, in one go."""
        size = len(chunk)
        if chunk[:6] != b"data: " or chunk[-2:] != b"\n\n" or b"\r" in chunk or size > self._max_event_bytes:
            return False
        if chunk.find(b"\n") == size - 2:
            events.append(_new(ServerSentEvent, (chunk[6:-2], "message")))
            return True
        plain = chunk[6:-2].split(b"\n\ndata: ")
        if chunk.count(b"\n") != 2 * len(plain):
            return False
        for data in plain:
            events.append(_new(ServerSentEvent, (data, "message")))
        return True

    def _take_chunk(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        """Take what is not all plain.

        After two line feeds no event is open, so what lies between the first and the last pair can be looked at
        by itself; only what is before and behind, and events of another make, go line by line.
        """
        start = 0
        if not self._is_between:
            start = chunk.find(b"\n\n") + 2
            self._take_lines(chunk[:start] if start > 1 else chunk, events)
            if start == 1:
                return
        end = max(chunk.rfind(b"\n\n", start) + 2, start)
        whole = chunk[start:end]
        if not self._take_plain(whole, events):
            self._take_lines(whole, events)
        if end < len(chunk):
            self._take_lines(chunk[end:], events)

    def _take_lines(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        if not chunk:
            return
        start = 1 if self._skip_lf and chunk[:1] == b"\n" else 0
        self._skip_lf = False
        for end in _LINE_END.finditer(chunk, start):
            self._take_line(self._close_line(chunk[start : end.start()]), events)
            start = end.end()
            self._skip_lf = end.group() == b"\r" and start == len(chunk)
        if start < len(chunk):
            self._open_line.append(chunk[start:])
            self._size += len(chunk) - start
            self._check_size()
        self._is_between = not (self._size or self._data or self._skip_lf or self._event != "message")

    def _close_line(self, last: bytes) -> bytes:
        self._size += len(last)
        if not self._open_line:
            return last
        line = b"".join((*self._open_line, last))
        self._open_line.clear()
        return line

    def _check_size(self) -> None:
        if self._size > self._max_event_bytes:
            raise EventTooLarge(self._max_event_bytes)

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if not line:
            if self._data:
                events.append(ServerSentEvent(b"\n".join(self._data), self._event))
            self._event, self._data, self._size = "message", [], 0
            return
        self._check_size()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace") or "message"


def encode(data: bytes, event: str | None = None) -> bytes:
    """One event as bytes, LF line ends, with its blank line; ``data`` may hold line breaks of any kind."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    if b"\n" in data or b"\r" in data:
        data = _LINE_END.sub(b"\ndata: ", data)
    return head + b"data: " + data + b"\n\n"
