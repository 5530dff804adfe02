"""When each piece of an answer came, drawn for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import msgspec
from rich.text import Text

from antiphon.cassettes.format import Interaction
from antiphon.cassettes.picture import clean
from antiphon.sse import SSEDecoder

_MAX_ROWS = 200
_BAR_COLUMNS = 32
_TEXT_COLUMNS = 30

# Where the APIs keep what the model says, in an event of a stream.
_SPOKEN = frozenset(
    {"content", "text", "delta", "arguments", "partial_json", "thinking", "reasoning", "reasoning_content", "refusal"}
)


class Piece(NamedTuple):
    """One chunk: when it came, counted from the request, and what it says."""

    at_ms: float
    text: str


def pieces(interaction: Interaction) -> list[Piece]:
    """The chunks of an answer, or the messages of a WebSocket, with their times."""
    response, session = interaction.response, interaction.websocket
    start_ms = response.delay_ms if response else 0.0
    if session is not None:
        times = accumulate((frame.delay_ms for frame in session.frames), initial=start_ms)
        texts = [f"{frame.sender}: {_frame(frame.data)}" for frame in session.frames]
    else:
        chunks = response.chunks if response else ()
        times = accumulate((chunk.delay_ms for chunk in chunks), initial=start_ms)
        decoder = SSEDecoder()
        texts = [_said(chunk.data, decoder) for chunk in chunks]
    return [Piece(at_ms, text) for at_ms, text in zip(list(times)[1:], texts, strict=True)]


def timeline(interaction: Interaction) -> Iterator[Text]:
    """A summary, then a line for each piece: its time, where that is in the whole, and what it says."""
    found = pieces(interaction)
    response = interaction.response
    headers = f"headers after {_ms(response.delay_ms)}, " if response else ""
    if interaction.fidelity != "wire" or not found:
        yield Text("No times are known: the recording does not tell how the answer came.", style="dim")
        return
    end_ms = max(found[-1].at_ms, interaction.duration_ms or 0.0)
    gaps = [later.at_ms - earlier.at_ms for earlier, later in pairwise(found)]
    longest = f", longest silence {_ms(max(gaps))}" if gaps else ""
    rate = len(found) / (end_ms - found[0].at_ms) * 1000 if end_ms > found[0].at_ms else 0.0
    pace = f", {rate:.0f} chunks/s" if rate else ""
    yield Text(
        f"{headers}first chunk after {_ms(found[0].at_ms)}, {len(found)} chunks in {_ms(end_ms)}{pace}{longest}",
        style="dim",
    )
    before_ms = 0.0
    for piece in found[:_MAX_ROWS]:
        yield _row(piece, before_ms, end_ms)
        before_ms = piece.at_ms
    if len(found) > _MAX_ROWS:
        yield Text(f"… {len(found) - _MAX_ROWS} more chunks", style="dim")


def _row(piece: Piece, before_ms: float, end_ms: float) -> Text:
    """The bar is the time waited for this piece, on a scale of the whole answer."""
    start = round(before_ms / end_ms * _BAR_COLUMNS) if end_ms else 0
    end = max(start + 1, round(piece.at_ms / end_ms * _BAR_COLUMNS)) if end_ms else 1
    bar = (" " * start + "━" * (end - start)).ljust(_BAR_COLUMNS)[:_BAR_COLUMNS]
    row = Text(f"{_ms(piece.at_ms):>9} ", style="dim", no_wrap=True)
    row.append(f"{bar} ", style="blue")
    text = Text(clean(piece.text).replace("\n", "⏎"), style="none")
    text.truncate(_TEXT_COLUMNS, overflow="ellipsis")
    return row.append_text(text)


def _said(data: bytes, decoder: SSEDecoder) -> str:
    """What a chunk says: the spoken parts of the events that it completes, or else itself."""
    events = decoder.feed(data) if b":" in data else []
    spoken = [text for event in events for text in _spoken(_decoded(event.data))]
    if spoken:
        return "".join(spoken)
    if events:
        return " ".join(_named(event.data) for event in events)
    return data.decode(errors="replace")


def _named(data: bytes) -> str:
    value = _decoded(data)
    kind = value.get("type") if isinstance(value, dict) else None
    return f"({kind})" if isinstance(kind, str) else f"({data[:20].decode(errors='replace')})"


def _spoken(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and name in _SPOKEN:
                yield each
            elif name not in ("response", "item", "part", "message"):
                yield from _spoken(each)
    elif isinstance(value, list):
        for each in value:
            yield from _spoken(each)


def _frame(data: str | bytes) -> str:
    if isinstance(data, bytes):
        return f"{len(data):,} bytes"
    return "".join(_spoken(_decoded(data.encode()))) or data


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _ms(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"
