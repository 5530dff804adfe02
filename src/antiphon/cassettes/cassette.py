"""A recording, and what plays or makes it: the one face of this room for Python programs and tests."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args, overload

from antiphon.cassettes.format import Interaction, ToolCall
from antiphon.cassettes.loading import load
from antiphon.cassettes.matching import compare, normalise
from antiphon.cassettes.played import PlayedResponse
from antiphon.cassettes.player import Match, Player
from antiphon.cassettes.recorder import Call, Tape
from antiphon.cassettes.refreshing import Drifted, merge
from antiphon.cassettes.scrubbing import Scrubber
from antiphon.cassettes.tools import Divergence, Tool
from antiphon.cassettes.volatile import Volatile
from antiphon.clock import Clock, SystemClock
from antiphon.errors import (
    CassetteError,
    CassetteExhausted,
    CassetteMismatch,
    CassetteMissing,
    CassetteUnplayed,
    ToolDiverged,
    UsageError,
)
from antiphon.transport import HttpRequest

Mode = Literal["replay", "record", "auto", "refresh", "live"]
Answer = TypeVar("Answer")
Function = TypeVar("Function", bound=Callable[..., Any])

_MAX_NAMED = 5


class Cassette:
    """Calls answered from a recording, or recorded.

    ``mode``: ``replay`` answers from the file and asks nobody; ``record`` asks the world and writes a new file, which
    takes the old one's place when the cassette is closed; ``auto`` asks for what the file does not hold, and adds it;
    ``refresh`` asks for everything, and replaces what changed (`drifts` then says what); ``live`` is as if there were
    no cassette. The mode is an argument and nothing else: no variable of the environment can set it.

    ``match``, ``volatile`` and ``speed`` are those of `Player`; ``scrub`` takes out of an interaction what must not be
    written down, and defaults to `Scrubber`. ``remedy`` is the command that records what is missing.

    Used as a context manager, or closed by hand. Threads and tasks may share it.

    Raises:
        CassetteError: the file is missing where it is needed, or cannot be read.
        UsageError: there is no such mode.
    """

    def __init__(
        self,
        path: str | Path,
        mode: Mode = "replay",
        *,
        match: Match = "body",
        volatile: Iterable[str] = (),
        scrub: Callable[[Interaction], Interaction] | None = None,
        speed: float = 0.0,
        allow_unplayed: bool = False,
        remedy: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise UsageError(f"{mode!r} is no mode of a cassette; there are: {', '.join(get_args(Mode))}.")
        self.path = Path(path)
        self.mode = mode
        self.misses: list[CassetteError] = []
        self.divergences: list[Divergence] = []
        self.drifts: list[Drifted] = []
        self._allow_unplayed = allow_unplayed
        self._clock = clock or SystemClock()
        self._volatile = Volatile(volatile)
        self._remedy = remedy or f"open it with mode='auto', or run antiphon record --cassette {self.path}"
        self._player: Player | None = None
        self._tape: Tape | None = None
        self._is_closed = False
        scrub = scrub or Scrubber()
        if mode in ("replay", "auto") and (mode == "replay" or _has_content(self.path)):
            self._player = Player(
                self._load(),
                match=match,
                volatile=volatile,
                scrub=scrub,
                speed=speed,
                name=str(self.path),
                remedy=self._remedy,
            )
        if mode in ("record", "auto", "refresh"):
            self._written = self._aside() if _has_content(self.path) and mode != "auto" else self.path
            self._tape = Tape(self._written, clock=self._clock, scrub=scrub)

    def _load(self) -> Any:
        try:
            return load(self.path)
        except CassetteMissing as error:
            raise CassetteMissing(f"{error.message} To record it: {self._remedy}") from None

    def _aside(self) -> Path:
        """Where a new recording grows while the old one stands; what a crash left there is given up."""
        path = self.path.with_name(f"{self.path.name}.{self.mode}")
        path.unlink(missing_ok=True)
        return path

    # --- clients -----------------------------------------------------------------------------

    def httpx_transport(self, inner: Any = None) -> Any:
        """The ``transport=`` of an `httpx.Client` or `httpx.AsyncClient`; ``inner`` makes its live calls."""
        return self._httpx("httpx", inner)

    def httpx2_transport(self, inner: Any = None) -> Any:
        """The ``transport=`` of an `httpx2.Client` or `httpx2.AsyncClient`; ``inner`` makes its live calls."""
        return self._httpx("httpx2", inner)

    def _httpx(self, library: str, inner: Any) -> Any:
        from antiphon.cassettes.clients.httpx import CassetteTransport

        return CassetteTransport(self, importlib.import_module(library), inner)

    def aiohttp_middleware(self) -> Any:
        """One of the ``middlewares=[…]`` of an `aiohttp.ClientSession`."""
        from antiphon.cassettes.clients.aiohttp import CassetteMiddleware

        return CassetteMiddleware(self)

    def requests_adapter(self, inner: Any = None) -> Any:
        """What a `requests.Session` mounts at ``https://`` and ``http://``; ``inner`` makes its live calls."""
        from antiphon.cassettes.clients.requests import CassetteAdapter

        return CassetteAdapter(self, inner)

    def requests_session(self) -> Any:
        """A `requests.Session` with the adapter mounted."""
        import requests

        session = requests.Session()
        session.mount("https://", adapter := self.requests_adapter())
        session.mount("http://", adapter)
        return session

    # --- tools -------------------------------------------------------------------------------

    @overload
    def tool(
        self,
        function: Function,
        /,
        *,
        name: str | None = None,
        live: bool = False,
        ignore: Collection[str] = (),
        errors: Collection[type[Exception]] = (),
    ) -> Function: ...

    @overload
    def tool(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        live: bool = False,
        ignore: Collection[str] = (),
        errors: Collection[type[Exception]] = (),
    ) -> Callable[[Function], Function]: ...

    def tool(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        live: bool = False,
        ignore: Collection[str] = (),
        errors: Collection[type[Exception]] = (),
    ) -> Any:
        """A function, sync or async, whose calls are recorded and replayed; also a decorator.

        ``live`` makes the call for real even where it was recorded, and notes in `divergences` where it gave something
        else.
        ``ignore``, ``name`` and ``errors`` are those of `Tool`.
        """

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            if self.mode == "live":
                return function
            return Tool(function, name=name, is_live=live, ignored=ignore, errors=errors).recorded_by(self)

        return wrap if function is None else wrap(function)

    def answer_tool(self, name: str, arguments: Any) -> ToolCall | None:
        """The recorded call of a tool, or None where it is to be made live."""
        return self._ask(lambda player: player.take_tool(name, arguments))

    def began_s(self) -> float:
        """The time now."""
        return self._clock.now_s()

    def tool_came(self, call: ToolCall, started_s: float) -> None:
        """A live call that nothing was recorded of is over."""
        if self._tape is not None:
            self._tape.append_tool(call, started_s)

    def compare_tool(self, recorded: ToolCall, live: ToolCall) -> None:
        """A live call is over that was recorded before."""
        found = compare(self._said(recorded), self._said(live))
        if found:
            self.divergences.append(Divergence(recorded, live, found))

    def _said(self, call: ToolCall) -> Any:
        if call.error is not None:
            return {"error": {"code": call.error.code, "message": call.error.message}}
        return normalise(self._volatile.without(call.result))

    # --- what clients ask --------------------------------------------------------------------

    def answer(self, request: HttpRequest) -> PlayedResponse | None:
        """The recorded answer, or None where the world is to be asked.

        Raises:
            CassetteError: it is not in the recording, and the world must not be asked.
        """
        return self._ask(lambda player: player.take(request))

    def begin(self, request: HttpRequest) -> Call | None:
        """A live call that begins now, to note what comes of it; None where nothing is recorded."""
        return None if self._tape is None else self._tape.begin(request)

    def _ask(self, take: Callable[[Player], Answer]) -> Answer | None:
        if self._player is None:
            return None
        try:
            return take(self._player)
        except (CassetteMismatch, CassetteExhausted) as error:
            if self._tape is not None:
                return None
            self.misses.append(error)
            raise
        except CassetteError as error:
            self.misses.append(error)
            raise

    # --- the end -----------------------------------------------------------------------------

    @property
    def unplayed(self) -> list[Interaction]:
        """The recorded interactions that nothing has asked for."""
        return [] if self._player is None else self._player.unplayed

    def close(self, *, check: bool = True) -> None:
        """Write what is to be written, and check that everything went as recorded.

        Raises:
            CassetteError: a request had no answer (the client may have hidden that), a live tool diverged, or, in mode
                ``replay``, a recorded interaction was never asked for.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if check:
                self._check()
        finally:
            if self._tape is not None:
                self._tape.close()
                self._take_over()
            if self._player is not None:
                self._player.close_now()

    def _take_over(self) -> None:
        if self._written == self.path or not self._written.exists():
            return
        if self.mode == "refresh":
            self.drifts = merge(self.path, self._written)
        else:
            os.replace(self._written, self.path)

    def _check(self) -> None:
        if self.misses:
            raise self.misses[0]
        if self.divergences:
            raise ToolDiverged(f"{self.path}: {self.divergences[0]}")
        if self.mode == "replay" and not self._allow_unplayed and (unplayed := self.unplayed):
            named = ", ".join(_name(each) for each in unplayed[:_MAX_NAMED])
            more = f" and {len(unplayed) - _MAX_NAMED} more" if len(unplayed) > _MAX_NAMED else ""
            raise CassetteUnplayed(
                f"{self.path}: {len(unplayed)} recorded interactions were never asked for: {named}{more}."
                " Record it anew without them, or allow it with allow_unplayed=True."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(check=error is None)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _name(interaction: Interaction) -> str:
    if interaction.tool is not None:
        return f"{interaction.tool.name}() (id {interaction.id})"
    request = interaction.request
    return f"{request.method} {request.url} (id {interaction.id})" if request else f"id {interaction.id}"
