"""A cassette recorded again: what the world answers as before keeps its bytes, what changed is replaced and shown.

While it is recorded, the fresh answers stand in a file of their own beside the cassette; a crash leaves both.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from antiphon.cassettes import matching
from antiphon.cassettes.comparing import Drift, drift
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Interaction
from antiphon.cassettes.matching import Difference
from antiphon.cassettes.reading import read
from antiphon.cassettes.recorder import Recorder
from antiphon.cassettes.rewriting import Line, lines, replace
from antiphon.clock import Clock
from antiphon.errors import CassetteError
from antiphon.transport import HttpRequest, HttpResponse, Transport, WebSocket

log = logging.getLogger("antiphon.cassettes")

_MAX_SHOWN = 3


class Drifted(NamedTuple):
    """What became of one interaction. ``number`` is that in the old cassette, None where it is new."""

    number: int | None
    operation: str
    drift: Drift | None
    differences: Sequence[Difference] = ()

    def __str__(self) -> str:
        if self.number is None:
            return f"refresh: recorded, as it was missing: {self.operation}"
        if self.drift == "same":
            return f"refresh: interaction {self.number} ({self.operation}) is as it was"
        shown = "".join(f"\n    {each}" for each in self.differences[:_MAX_SHOWN])
        more = len(self.differences) - _MAX_SHOWN
        rest = f"\n    and {more} more" if more > 0 else ""
        return f"refresh: interaction {self.number} ({self.operation}) has another {self.drift}{shown}{rest}"


class Refresh:
    """A transport that asks the world whatever the cassette holds, and on `close` replaces what changed.

    ``drifts`` says, then, what did.

    Raises:
        CassetteError: the file exists and is no native cassette.
    """

    def __init__(
        self,
        transport: Transport,
        path: Path,
        *,
        clock: Clock,
        scrub: Callable[[Interaction], Interaction] | None = None,
        tags: Callable[[HttpRequest], dict[str, str]] | None = None,
    ) -> None:
        if path.exists():
            lines(path)  # found out before anything is asked
        self._path = path
        self._fresh = path.with_name(f"{path.name}.refresh")
        self._recorder = Recorder(transport, self._fresh, clock=clock, scrub=scrub, tags=tags)
        self.drifts: list[Drifted] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The live answer; see `Transport.send`."""
        return await self._recorder.send(request)

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A live WebSocket; see `SocketTransport.connect`."""
        return await self._recorder.connect(request)

    async def close(self) -> None:
        """Close the live transport, and bring the fresh answers into the cassette."""
        await self._recorder.close()
        try:
            self.drifts = merge(self._path, self._fresh)
        except (CassetteError, OSError) as error:
            log.warning("%s is as it was, and the fresh answers are in %s: %s", self._path, self._fresh, error)


def merge(path: Path, fresh: Path, *, keep_words: bool = False) -> list[Drifted]:
    """Replace what changed by the answers of ``fresh``, and delete that file; gives what became of each of them.

    An answer that failed replaces nothing. ``keep_words`` also keeps what differs in its words alone.

    Raises:
        CassetteError, OSError: one of the two cannot be read or written; both are as they were.
    """
    if not fresh.exists():
        return []
    content: list[Line | Interaction] = [*lines(path)] if path.exists() else []
    waiting = _Waiting(content)
    found, is_changed = [], False
    for interaction in read(fresh):
        number = waiting.take(interaction)
        if number is None:
            content.append(interaction)
            found.append(Drifted(None, endpoint(interaction), None))
            is_changed = True
            continue
        old = content[number]
        assert isinstance(old, Line)
        how_far, differences = drift(old.interaction, interaction)
        found.append(Drifted(number, endpoint(interaction), how_far, differences))
        failed = interaction.response is not None and interaction.response.error is not None
        if how_far != "same" and not failed and not (keep_words and how_far == "words"):
            content[number] = interaction
            is_changed = True
    if is_changed:
        replace(path, content)
    fresh.unlink()
    return found


class _Waiting:
    """The old interactions that no fresh one has stood for yet, by their requests."""

    def __init__(self, content: Sequence[Line | Interaction]) -> None:
        self._taken: set[int] = set()
        self._exact: dict[matching.Key, deque[int]] = {}
        self._loose: dict[matching.Key, deque[int]] = {}
        for number, each in enumerate(content):
            request = matching.request_of(each.interaction) if isinstance(each, Line) else None
            if request is not None:
                self._exact.setdefault(matching.exact_key(request), deque()).append(number)
                self._loose.setdefault(matching.loose_key(request), deque()).append(number)

    def take(self, interaction: Interaction) -> int | None:
        """The number of the old interaction with that request, the first that is left."""
        request = matching.request_of(interaction)
        if request is None:
            return None
        for numbers in (
            self._exact.get(matching.exact_key(request)),
            self._loose.get(matching.loose_key(request)),
        ):
            while numbers:
                number = numbers.popleft()
                if number not in self._taken:
                    self._taken.add(number)
                    return number
        return None
