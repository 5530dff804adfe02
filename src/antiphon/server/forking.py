"""A stored run forked from outside of a server, over its data directory."""

from __future__ import annotations

from typing import NamedTuple

from antiphon.clock import RandomIds, SystemClock
from antiphon.config import Settings
from antiphon.errors import StoreLocked
from antiphon.events import RunEvent, RunFinished, RunStarted
from antiphon.server.wiring import open_engine


class Forked(NamedTuple):
    """The journals of a run and of its fork, both whole."""

    old: list[RunEvent]
    new: list[RunEvent]

    @property
    def run(self) -> str:
        """The id of the fork."""
        started = self.new[0]
        assert isinstance(started, RunStarted)
        return started.run

    @property
    def has_failed(self) -> bool:
        """Whether the fork came to no good end."""
        finished = self.new[-1]
        return not isinstance(finished, RunFinished) or finished.status == "failed"


async def fork_stored(settings: Settings, owner: str, run: str, *, at: int, model: str | None) -> Forked:
    """Go on live from turn ``at`` of a stored run, and keep what comes of it.

    Raises:
        StoreLocked: a server has the data directory.
        NotFound, InvalidRequest, ModelNotFound: see `antiphon.agent.runner.Runner.fork`.
        ConfigError, StoreError: the data directory cannot be used so.
    """
    try:
        async with open_engine(settings, clock=SystemClock(), ids=RandomIds()) as engine:
            old = await engine.runner.events(owner, run)
            new = [event async for batch in engine.runner.fork(owner, run, at=at, model=model) for event in batch]
            return Forked(old, new)
    except StoreLocked as error:
        advice = "A fork writes a run of its own: stop the server, fork, and start it again; no run is lost by that."
        raise StoreLocked(f"{error.message} {advice}") from error
