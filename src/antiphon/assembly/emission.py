"""What one stream has given and not yet handed over: its events, and the names it has used up.

Block ids, call ids and diagnostics are counted here, once for all choices of a stream, so that ids are unique within
the turn and a repair that concerns every chunk is told once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from antiphon.events import Diagnostic, ModelEvent

_MAX_SEEN_CHARS = 200


class Emission:
    """The events of one stream, in order."""

    __slots__ = ("_blocks", "_call_ids", "_noted", "events", "turn", "upstream_id")

    def __init__(self, turn: int, used_call_ids: Iterable[str] = ()) -> None:
        self.turn = turn
        self.events: list[ModelEvent] = []
        self.upstream_id = ""
        self._blocks = 0
        self._call_ids = set(used_call_ids)
        self._noted: set[tuple[str, str]] = set()

    def open_block(self) -> str:
        """A block id that was not used before."""
        block = f"{self.turn}.{self._blocks}"
        self._blocks += 1
        return block

    def note(self, quirk: str, seen: object, done: str) -> None:
        """Tell of a repair, the first time it is made."""
        if (quirk, done) not in self._noted:
            self._noted.add((quirk, done))
            self.events.append(Diagnostic(quirk=quirk, seen=shorten(seen), done=done))

    def claim_call_id(self, wanted: str) -> str:
        """``wanted`` if no other call of the conversation has it, else a new id made of what identifies the call.

        Minted ids come from the upstream's id of the answer and the call's position, never from chance: the same
        stream gives the same ids. They match ``^[a-zA-Z0-9_-]{1,40}$``.
        """
        call_id = wanted
        number = len(self._call_ids)
        while not call_id or call_id in self._call_ids:
            answer = hashlib.blake2s(self.upstream_id.encode("utf-8", "replace"), digest_size=6).hexdigest()
            call_id = f"call_{answer}_{self.turn}_{number}"
            number += 1
        self._call_ids.add(call_id)
        return call_id


def shorten(seen: object) -> str:
    """A value as text that fits a line."""
    if isinstance(seen, bytes):
        seen = seen[:_MAX_SEEN_CHARS].decode("utf-8", "replace")
    text = seen if isinstance(seen, str) else repr(seen)
    return text if len(text) <= _MAX_SEEN_CHARS else text[: _MAX_SEEN_CHARS - 1] + "…"
