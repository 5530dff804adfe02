"""One event of a Responses stream as bytes, and the only counter of ``sequence_number``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.encode


class Frame(NamedTuple):
    """One event for a client: its type, and the JSON text of the whole object."""

    type: str
    data: bytes


def sse(frames: Iterable[Frame]) -> bytes:
    """The frames as server-sent events, LF line ends; written at once, no event is split over two writes."""
    # JSON text holds no line break, so the general encoder in antiphon.sse has nothing to do here.
    return b"".join([b"event: %b\ndata: %b\n\n" % (frame.type.encode(), frame.data) for frame in frames])


class DeltaTemplate(NamedTuple):
    """All that is constant in the delta events of one block: what stands before, between and after its variables."""

    type: str
    head: bytes
    middle: bytes
    tail: bytes


def delta_template(type_: str, position: dict[str, Any], extra: dict[str, Any] | None) -> DeltaTemplate:
    """The template for events of a type; ``position`` says where the delta belongs, ``extra`` is the same in each."""
    head = b'{"type":%b,"sequence_number":' % _encode(type_)
    return DeltaTemplate(type_, head, b"," + _encode(position)[1:-1] + b',"delta":', _tail(extra))


def _tail(extra: dict[str, Any] | None) -> bytes:
    return b"," + _encode(extra)[1:] if extra else b"}"


class FrameWriter:
    """Numbers events from 0 without a gap, in the order they are written, and encodes them."""

    def __init__(self) -> None:
        self._sequence_number = 0
        self._frames: list[Frame] = []

    def take(self) -> list[Frame]:
        """The frames written since it was last asked."""
        frames, self._frames = self._frames, []
        return frames

    def write(self, type_: str, fields: dict[str, Any]) -> None:
        """Write one event."""
        data = _encode({"type": type_, "sequence_number": self._sequence_number, **fields})
        self._frames.append(Frame(type_, data))
        self._sequence_number += 1

    def write_delta(self, template: DeltaTemplate, delta: str) -> None:
        """Write one delta event; the hot path, so only the number and the delta are encoded."""
        type_, head, middle, tail = template
        self._frames.append(Frame(type_, b"%b%d%b%b%b" % (head, self._sequence_number, middle, _encode(delta), tail)))
        self._sequence_number += 1
