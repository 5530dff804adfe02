"""Answers from a cassette where it has them, from the world where it has not."""

from __future__ import annotations

from antiphon.cassettes.player import Player
from antiphon.cassettes.recorder import Recorder
from antiphon.errors import CassetteExhausted, CassetteMismatch
from antiphon.transport import HttpRequest, HttpResponse, WebSocket


class Auto:
    """A transport that records what is missing: a request the player has no answer to goes to the recorder."""

    def __init__(self, player: Player, recorder: Recorder) -> None:
        self._player = player
        self._recorder = recorder

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The recorded answer, or the live one.

        Raises:
            TransportError: the recorded call failed so, or the live one did.
        """
        try:
            return await self._player.send(request)
        except (CassetteMismatch, CassetteExhausted):
            return await self._recorder.send(request)

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A recorded WebSocket of the same operation, or a live one; see `SocketTransport.connect`."""
        try:
            return await self._player.connect(request)
        except (CassetteMismatch, CassetteExhausted):
            return await self._recorder.connect(request)

    async def close(self) -> None:
        """Close the file, the recorder, and with it the live transport."""
        await self._player.close()
        await self._recorder.close()
