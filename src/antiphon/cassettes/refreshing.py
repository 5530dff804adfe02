"""A cassette recorded again: what the world answers as before keeps its bytes, what changed is replaced and shown.

While it is recorded, the fresh answers stand in a file of their own beside the cassette; a crash leaves both.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from antiphon.cassettes import matching
from antiphon.cassettes.comparing import Drift, drift
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Interaction, RecordedRequest
from antiphon.cassettes.matching import Difference
from antiphon.cassettes.reading import read
from antiphon.cassettes.recorder import Recorder
from antiphon.cassettes.rewriting import Line, lines, replace
from antiphon.clock import Clock
from antiphon.errors import CassetteError, TransportError
from antiphon.transport import HttpRequest, HttpResponse, Transport, WebSocket

log = logging.getLogger("antiphon.cassettes")

_MAX_SHOWN = 3
_ERROR = 400


_HOW: dict[Drift, str] = {
    "same": "is as it was",
    "words": "has other words",
    "shape": "has another shape",
    "status": "has another status",
}


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
        how = _HOW[self.drift or "words"]
        return f"refresh: interaction {self.number} ({self.operation}) {how}{shown}{rest}"


class Refresh:
    """A transport that asks the world whatever the cassette holds, and on `close` replaces what changed.

    ``tell`` is given, then, a text for each of them.

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
        tell: Callable[[str], None] = log.info,
    ) -> None:
        if path.exists():
            lines(path)  # found out before anything is asked
        self._path = path
        self._fresh = path.with_name(f"{path.name}.refresh")
        self.recorder = Recorder(transport, self._fresh, clock=clock, scrub=scrub, tags=tags)
        self._tell = tell

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The live answer; see `Transport.send`."""
        return await self.recorder.send(request)

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A live WebSocket; see `SocketTransport.connect`."""
        return await self.recorder.connect(request)

    async def close(self) -> None:
        """Close the live transport, and bring the fresh answers into the cassette."""
        await self.recorder.close()
        try:
            drifts = merge(self._path, self._fresh)
        except (CassetteError, OSError) as error:
            log.warning("%s is as it was, and the fresh answers are in %s: %s", self._path, self._fresh, error)
            return
        for each in drifts:
            self._tell(str(each))


def merge(path: Path, fresh: Path, *, keep_words: bool = False) -> list[Drifted]:
    """Replace what changed by the answers of ``fresh``, and delete that file; gives what became of each of them.

    An answer that failed, or that is an error where there was none, replaces nothing: a missing key or a busy upstream
    would spoil the cassette. ``keep_words`` also keeps what differs in its words alone.

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
        if (
            how_far != "same"
            and not _is_worse(old.interaction, interaction)
            and not (keep_words and how_far == "words")
        ):
            content[number] = msgspec.structs.replace(interaction, tags=interaction.tags or old.interaction.tags)
            is_changed = True
    if is_changed:
        replace(path, content)
    fresh.unlink()
    return found


def _is_worse(old: Interaction, fresh: Interaction) -> bool:
    if old.tool is not None and fresh.tool is not None:
        return fresh.tool.error is not None and old.tool.error is None
    if old.response is None or fresh.response is None or fresh.response.error is not None:
        return True
    return (fresh.response.status or _ERROR) >= _ERROR > (old.response.status or 0)


async def ask_again(
    path: Path,
    transport: Transport,
    *,
    clock: Clock,
    prepared: Callable[[RecordedRequest], HttpRequest],
    keep_words: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Drifted]:
    """Ask the world each recorded request again, one after the other, and `merge` what it answers.

    ``prepared`` gives the request as it is to be sent: to another host, with a key. Tool calls and WebSockets stay as
    they are.

    Raises:
        CassetteError: the file cannot be read, or is of another tool.
    """
    fresh = path.with_name(f"{path.name}.refresh")
    kept = lines(path)
    recorder = Recorder(transport, fresh, clock=clock)
    try:
        for done, line in enumerate(kept):
            on_progress(done, len(kept))
            request = line.interaction.request
            if line.interaction.kind == "http" and request is not None:
                await _ask(recorder, prepared(request))
    finally:
        await recorder.close()
    on_progress(len(kept), len(kept))
    return merge(path, fresh, keep_words=keep_words)


async def _ask(recorder: Recorder, request: HttpRequest) -> None:
    """Ask, and read all; a failure is recorded, and is no reason to stop."""
    with contextlib.suppress(TransportError):
        response = await recorder.send(request)
        try:
            async for _ in response.chunks():
                pass
        finally:
            await response.close()


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
