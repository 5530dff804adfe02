"""The tools of a server on the cassette of its model calls: what was recorded is given, what was not is recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from antiphon.cassettes.format import ToolCall
from antiphon.cassettes.matching import compare, normalise
from antiphon.cassettes.modes import Auto
from antiphon.cassettes.player import Player
from antiphon.cassettes.recorder import Recorder
from antiphon.cassettes.refreshing import Refresh
from antiphon.cassettes.tools import Divergence
from antiphon.clock import Clock
from antiphon.errors import CassetteExhausted, CassetteMismatch
from antiphon.transport import Transport

_log = logging.getLogger(__name__)


def served_tools(
    transport: Transport, *, clock: Clock, tell: Callable[[str], None] | None = None
) -> ServedTools | None:
    """The tape of tools beside the one that a transport has for model calls; None where it has none."""
    player = transport if isinstance(transport, Player) else None
    recorder = transport if isinstance(transport, Recorder) else None
    if isinstance(transport, Auto):
        player, recorder = transport.player, transport.recorder
    elif isinstance(transport, Refresh):
        recorder = transport.recorder
    if player is None and recorder is None:
        return None
    return ServedTools(player, recorder, clock=clock, tell=tell)


class ServedTools:
    """A `ToolTape` over what answers the model calls: a player, a recorder, or both, the player first.

    ``tell`` is given a line for each live call that gave something else than the recorded one.
    """

    def __init__(
        self,
        player: Player | None,
        recorder: Recorder | None,
        *,
        clock: Clock,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._player = player
        self._recorder = recorder
        self._clock = clock
        self._tell = tell or _log.warning

    @property
    def answers(self) -> bool:
        """Whether there is a recording that calls are answered from."""
        return self._player is not None

    def answer_tool(self, name: str, arguments: Any) -> ToolCall | None:
        """The recorded call, or None where none was recorded and a live one would be.

        Raises:
            CassetteError: it was not recorded, and nothing is recorded now.
        """
        if self._player is None:
            return None
        try:
            return self._player.take_tool(name, arguments)
        except (CassetteMismatch, CassetteExhausted):
            if self._recorder is None:
                raise
            return None

    def began_s(self) -> float:
        """The time now."""
        return self._clock.now_s()

    def tool_came(self, call: ToolCall, started_s: float) -> None:
        """Write down a live call, where there is something to write to."""
        if self._recorder is not None:
            self._recorder.append_tool(call, started_s)

    def compare_tool(self, recorded: ToolCall, live: ToolCall) -> None:
        """Tell in what a live call differs from the recorded one."""
        found = compare(_said(recorded), _said(live))
        if found:
            self._tell(str(Divergence(recorded, live, found)))


def _said(call: ToolCall) -> Any:
    return normalise(call.result) if call.error is None else {"error": call.error.message}
