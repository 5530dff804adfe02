"""For tests of what is built on Antiphon: a scripted provider, and a server that answers from a cassette."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from antiphon.errors import ConnectFailed, UsageError
from antiphon.events import (
    ModelEvent,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolKind,
    TurnFinished,
    Usage,
)
from antiphon.providers.base import ModelCall
from antiphon.server.answering import respond, said
from antiphon.transport import HttpResponse

__all__ = ["Script", "ScriptedProvider", "respond", "said", "text_turn", "tool_turn"]

Script = Sequence[Sequence[ModelEvent]]


class ScriptedProvider:
    """Answers the n-th call with the n-th script: a list of batches of events, as a provider gives them.

    ``calls`` holds what was asked, ``cancelled`` counts the calls that were given up before their end.
    """

    def __init__(self, *scripts: Script, name: str = "scripted") -> None:
        self.name = name
        self.calls: list[ModelCall] = []
        self.cancelled = 0
        self._scripts = scripts

    async def stream(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        """Follow the next script.

        Raises:
            UsageError: there were more calls than scripts.
        """
        if len(self.calls) == len(self._scripts):
            raise UsageError(f"The script of {self.name!r} has {len(self._scripts)} calls; this is one more.")
        self.calls.append(call)
        done = False
        try:
            for batch in self._scripts[len(self.calls) - 1]:
                yield list(batch)
            done = True
        finally:
            self.cancelled += not done

    async def models(self) -> list[dict[str, Any]]:
        """One model, called as the provider is."""
        return [{"id": self.name, "object": "model", "created": 0, "owned_by": "antiphon"}]

    async def forward(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        interaction: str,
        headers: tuple[tuple[str, str], ...] = (),
        authorization: str | None = None,
    ) -> HttpResponse:
        """A script has no bytes to pass on."""
        raise ConnectFailed(f"The scripted provider {self.name!r} has no upstream.")

    async def close(self) -> None:
        """Nothing to release."""


def text_turn(*pieces: str, turn: int = 0, finish_reason: str = "stop") -> list[list[ModelEvent]]:
    """A turn in which the model only speaks, a batch for each piece."""
    block = f"{turn}.0"
    batches: list[list[ModelEvent]] = [[], [TextStarted(block=block)]]
    batches += [[TextDelta(block=block, text=piece)] for piece in pieces]
    batches.append([TextFinished(block=block), _end(turn, finish_reason, len(pieces))])
    return batches


def tool_turn(
    *calls: tuple[str, str, str], turn: int = 0, server: str | None = None, kind: ToolKind = "function"
) -> list[list[ModelEvent]]:
    """A turn in which the model calls tools side by side; each call is (call id, name, arguments).

    ``server`` is the label of the MCP server whose tools they are; ``kind`` is that of tools which are no functions.
    """
    kind = kind if server is None else "mcp"
    blocks = [(f"{turn}.{n}", *call) for n, call in enumerate(calls)]
    return [
        [],
        [
            ToolCallStarted(block=block, call_id=call_id, name=name, kind=kind, namespace=server)
            for block, call_id, name, _ in blocks
        ],
        [ToolCallDelta(block=block, arguments=arguments) for block, _, _, arguments in blocks],
        [
            *(ToolCallFinished(block=block, arguments=arguments) for block, _, _, arguments in blocks),
            _end(turn, "tool_calls", len(calls)),
        ],
    ]


def _end(turn: int, finish_reason: str, output_tokens: int) -> TurnFinished:
    usage = Usage(input_tokens=10, output_tokens=output_tokens, total_tokens=10 + output_tokens)
    return TurnFinished(turn=turn, finish_reason=finish_reason, usage=usage)
