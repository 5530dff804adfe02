"""Secrets that a stream gives piece by piece: each event holds a part, and only all of them together hold the secret.

The pieces of one text are those at the same place of events of the same kind: ``choices[0].delta.content``, or the
``delta`` of ``response.output_text.delta`` for one item. A stand-in goes into the event where the secret begins; what
the others had of it is taken out of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from antiphon.cassettes.secrets import Edit, Secrets

Path = tuple[str | int, ...]

# Members that say which of several texts a piece belongs to.
_WHICH = ("type", "index", "output_index", "content_index", "summary_index", "item_id")
_WHICH_NAMES = frozenset(_WHICH)
_HOLDING = frozenset({str, dict, list})


class _Place:
    """A place in events: where it is, what is below it, and the pieces that stood there, by what they belong to."""

    __slots__ = ("below", "path", "pieces")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.below: dict[str | int, _Place] = {}
        self.pieces: dict[tuple[Any, ...], list[tuple[int, str]]] = {}  # each the number of its event, and the text

    def step(self, step: str | int) -> _Place:
        found = self.below.get(step)
        if found is None:
            found = self.below[step] = _Place((*self.path, step))
        return found

    def collect(self, value: Any, which: tuple[Any, ...], number: int) -> None:
        """Note all texts in a value of that event; this runs over every event that is recorded."""
        kind = type(value)
        if kind is str:
            if value:
                self.pieces.setdefault(which, []).append((number, value))
        elif kind is dict:
            if not _WHICH_NAMES.isdisjoint(value):
                which = (*which, *[value[name] for name in _WHICH if isinstance(value.get(name), str | int)])
            for name, each in value.items():
                if type(each) in _HOLDING:
                    self.step(name).collect(each, which, number)
        elif kind is list:
            for index, each in enumerate(value):
                self.step(index).collect(each, which, number)

    def all(self) -> Iterator[_Place]:
        yield self
        for each in self.below.values():
            yield from each.all()


class Joined(NamedTuple):
    """Events that must be written otherwise, by number, and the names of what was found."""

    events: dict[int, bytes]
    names: set[str]


def without_split_secrets(events: Sequence[bytes], secrets: Secrets) -> Joined:
    """The JSON events, by number, that hold pieces of a secret, without them."""
    root = _Place(())
    for number, event in enumerate(events):
        try:
            value = msgspec.json.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        root.collect(value, (), number)
    changes: dict[int, dict[Path, str]] = {}
    names: set[str] = set()
    for place in root.all():
        for pieces in place.pieces.values():
            if len({text for _, text in pieces}) > 1:  # what is the same each time is no text in pieces
                _take_out(place.path, pieces, secrets, changes, names)
    return Joined({number: _rewritten(events[number], changed) for number, changed in changes.items()}, names)


def _take_out(
    path: Path,
    pieces: list[tuple[int, str]],
    secrets: Secrets,
    changes: dict[int, dict[Path, str]],
    names: set[str],
) -> None:
    found = secrets.find("".join([text for _, text in pieces]).encode(errors="replace"))
    if not found:
        return
    encoded = [text.encode(errors="replace") for _, text in pieces]
    ends = list(accumulate(len(each) for each in encoded))
    spans = list(zip([0, *ends], ends, strict=False))
    edits = [edit for edit in found if not any(_holds(span, edit) for span in spans)]
    if not edits:
        return
    names.update(edit.name for edit in edits)
    for (number, _), text, (start, end) in zip(pieces, encoded, spans, strict=True):
        kept = part(text, start, end, edits)
        if kept != text:
            changes.setdefault(number, {})[path] = kept.decode(errors="replace")


def _holds(span: tuple[int, int], edit: Edit) -> bool:
    return span[0] <= edit.start and edit.end <= span[1]


def part(data: bytes, start: int, end: int, edits: Sequence[Edit]) -> bytes:
    """The bytes ``start`` to ``end`` of a whole, without the secrets that reach into them; a stand-in stands where its
    secret begins."""
    parts, at = [], start
    for edit in edits:
        if edit.end <= start or edit.start >= end:
            continue
        parts.append(data[at - start : max(edit.start, start) - start])
        if edit.start >= start:
            parts.append(edit.stand_in)
        at = min(edit.end, end)
    parts.append(data[at - start :])
    return b"".join(parts)


def _rewritten(event: bytes, changed: dict[Path, str]) -> bytes:
    """The event with these texts in it; all else keeps its bytes, if the old text can be told from others."""
    value = msgspec.json.decode(event)
    for path, text in changed.items():
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        old, new = msgspec.json.encode(holder[path[-1]]), msgspec.json.encode(text)
        holder[path[-1]] = text
        replaced = event.replace(old, new) if event.count(old) == 1 else b""
        event = replaced if replaced and msgspec.json.decode(replaced) == value else msgspec.json.encode(value)
    return event
