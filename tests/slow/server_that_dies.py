"""The real server, which kills itself where a run tells it to: ``server_that_dies.py UPSTREAM DATA_DIR MCP_URL``.

A run that is to be killed has in its metadata ``{"die": "POINT:N"}``: at that point of its N-th call. Each is killed
once, and leaves a file ``died`` with its id. Each run of a tool writes its idempotency key into ``effects``.
"""

import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from antiphon.agent import runner
from antiphon.agent.acting import Tool
from antiphon.agent.effects import ToolCall, ToolPolicy
from antiphon.agent.journal import Journal
from antiphon.config import load_settings
from antiphon.events import RunEvent, ToolCallCompleted, ToolCallExecuting, TurnStarted
from antiphon.server.serving import serve


class Death(NamedTuple):
    """Where the run dies that is going now."""

    journal: Journal
    point: str
    call: int
    left: Path

    def come(self, point: str) -> None:
        """Die, if this is the point: of the call that was announced last."""
        begun = sum(isinstance(event, ToolCallExecuting) for event in self.journal.events)
        if (point, begun - 1) == (self.point, self.call) and not self.left.exists():
            self.left.write_text(self.journal.started.run)
            os.kill(os.getpid(), signal.SIGKILL)


class DyingJournal(Journal):
    """A journal that dies before and after what it writes."""

    data_dir: Path
    death: Death | None = None  # of the run that began last: there is one at a time

    def add(self, events: list[RunEvent]) -> None:  # type: ignore[override]
        """Note what happened, or die of it."""
        super().add(events)
        if any(isinstance(event, TurnStarted) for event in events):
            self._come("next turn")

    async def begin(self) -> None:
        """Begin, and learn where to die."""
        if where := self.started.request.get("metadata", {}).get("die"):
            point, _, call = where.partition(":")
            DyingJournal.death = Death(self, point, int(call), self.data_dir / "died")
        await super().begin()

    async def _write(self) -> None:
        pending = {type(event) for event in self.events[self._committed :]}
        if ToolCallExecuting in pending:
            self._come("before")
        if ToolCallCompleted in pending:
            self._come("undurable")
        await super()._write()
        if ToolCallExecuting in pending:
            self._come("announced")
        if ToolCallCompleted in pending:
            self._come("durable")

    def _come(self, point: str) -> None:
        if self.death is not None and self.death.journal is self:
            self.death.come(point)


def main(upstream: str, data_dir: str, mcp_url: str) -> None:
    async def step(call: ToolCall) -> str:
        with (Path(data_dir) / "effects").open("a", encoding="utf-8") as file:
            file.write(f"{call.idempotency_key}\n")
        if DyingJournal.death is not None:
            DyingJournal.death.come("effect")
        return "done"

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    DyingJournal.data_dir = Path(data_dir)
    runner.Journal = DyingJournal  # type: ignore[misc]
    toml = Path(data_dir) / "antiphon.toml"
    toml.write_text(f'[mcp_servers.box]\nurl = "{mcp_url}"\nallow_private = true\n')
    policies = {
        "plain": ToolPolicy(),
        "idempotent": ToolPolicy(idempotent=True),
        "read_only": ToolPolicy(read_only=True),
        "asking": ToolPolicy(needs_approval=True),
    }
    settings = load_settings({"upstream": upstream, "data_dir": data_dir, "port": 0}, {}, toml)
    serve(settings, say=say, tools={name: Tool(step, policy) for name, policy in policies.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
