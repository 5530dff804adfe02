"""Answers from a cassette where it has them, or as far as it is wanted, and from the world after that."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from antiphon.cassettes.encodings import decoded_body
from antiphon.cassettes.player import Player
from antiphon.cassettes.recorder import Recorder
from antiphon.errors import CassetteExhausted, CassetteMismatch
from antiphon.transport import HttpRequest, HttpResponse, WebSocket


class Auto:
    """A transport that records what is missing: a request the player has no answer to goes to the recorder."""

    def __init__(self, player: Player, recorder: Recorder) -> None:
        self.player = player
        self.recorder = recorder

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The recorded answer, or the live one.

        Raises:
            TransportError: the recorded call failed so, or the live one did.
        """
        try:
            return await self.player.send(request)
        except (CassetteMismatch, CassetteExhausted):
            return await self.recorder.send(request)

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A recorded WebSocket of the same operation, or a live one; see `SocketTransport.connect`."""
        try:
            return await self.player.connect(request)
        except (CassetteMismatch, CassetteExhausted):
            return await self.recorder.connect(request)

    async def close(self) -> None:
        """Close the file, the recorder, and with it the live transport."""
        await self.player.close()
        await self.recorder.close()


class Fork:
    """A transport that gives what was recorded until all of it was given, and then goes live, recorded.

    ``count`` is how many HTTP calls and WebSockets the player holds: the run up to the fork. What is asked before that
    and was not recorded is refused: it would be another run. ``model`` takes the place of the model in live requests;
    ``on_live`` is called when the first of them comes.
    """

    def __init__(
        self,
        player: Player,
        recorder: Recorder,
        *,
        count: int,
        model: str | None = None,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        self._player = player
        self._recorder = recorder
        self._count = count
        self._model = model
        self._on_live = on_live
        self._given = 0
        self._is_live = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The recorded answer, or the live one.

        Raises:
            CassetteMismatch, CassetteExhausted: the run is not the recorded one before it comes to the fork.
            TransportError: the recorded call failed so, or the live one did.
        """
        if self._goes_live():
            return await self._recorder.send(request if self._model is None else with_model(request, self._model))
        try:
            taken = self._player.take(request)
        except (CassetteMismatch, CassetteExhausted) as error:
            raise self._refused(error) from None
        self._given += 1
        return await taken.begun()

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A recorded WebSocket, or a live one; see `SocketTransport.connect`."""
        if self._goes_live():
            return await self._recorder.connect(request)
        try:
            socket = await self._player.connect(request)
        except (CassetteMismatch, CassetteExhausted) as error:
            raise self._refused(error) from None
        self._given += 1
        return socket

    async def close(self) -> None:
        """Close the file, the recorder, and with it the live transport."""
        await self._player.close()
        await self._recorder.close()

    def _goes_live(self) -> bool:
        if self._given < self._count:
            return False
        if not self._is_live:
            self._is_live = True
            self._on_live()
        return True

    def _refused(self, error: CassetteMismatch | CassetteExhausted) -> CassetteMismatch | CassetteExhausted:
        return type(error)(
            f"{error.message.partition(' To record it: ')[0]} The fork is after {self._count} calls, and"
            f" {self._given} of them were asked for: fork with --at {self._given} to go live here, or give the recorded"
            " answers in order, whatever is asked, with --match order."
        )


# Gemini and Bedrock name the model in the path: `/models/NAME:generateContent`, `/model/NAME/converse`.
_MODEL_IN_PATH = re.compile(r"(?<=/)(models?/)[^/:?]+(?=[:/])")


def with_model(request: HttpRequest, model: str) -> HttpRequest:
    """The request for another model; what names none stays as it is, and so does all else of a body."""
    url = _MODEL_IN_PATH.sub(lambda found: found[1] + model, request.url, count=1)
    encoding, body = decoded_body(request.headers, request.body)
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = {}
    if "model" not in fields:
        return msgspec.structs.replace(request, url=url)
    body = msgspec.json.encode(fields | {"model": model})
    headers = tuple(pair for pair in request.headers if not encoding or pair[0] != "content-encoding")
    return msgspec.structs.replace(request, url=url, headers=headers, body=body)
