"""WebSockets played from recordings: what the server said, each time after what the client had said before it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from antiphon.cassettes.endpoints import operation
from antiphon.cassettes.format import Frame, Headers, Interaction, SocketSession
from antiphon.cassettes.loading import Interactions
from antiphon.cassettes.matching import Difference, compare, normalise
from antiphon.errors import CassetteExhausted, CassetteMismatch, ConnectionLost, RequestRejected
from antiphon.transport import HttpRequest, WebSocketClose

log = logging.getLogger("antiphon.cassettes")

# RFC 6455, 7.4.1: the server met a condition that keeps it from going on.
_CANNOT_GO_ON = 1011
_SWITCHING = 101


class SocketPlayer:
    """Answers handshakes from recorded WebSockets, those of one operation in recorded order.

    Where the client speaks first, the recording is chosen by what it says.
    """

    def __init__(self, interactions: Interactions, *, speed: float = 0.0, name: str = "the recording") -> None:
        self._all = interactions
        self._left = [index for index in range(len(interactions)) if interactions.kind(index) == "websocket"]
        self._operations = {index: self._operation(index) for index in self._left}
        self._speed = speed
        self._name = name

    @property
    def waiting(self) -> list[int]:
        """The numbers of the recordings that nobody has asked for yet."""
        return list(self._left)

    async def connect(self, request: HttpRequest) -> PlayedSocket:
        """Open a recorded WebSocket.

        Raises:
            CassetteMismatch: none was recorded for this path.
            CassetteExhausted: each of them was played already.
            RequestRejected: the recorded handshake was refused so.
            ConnectionLost: the recorded handshake failed.
        """
        wanted = operation(request.url)
        if wanted not in self._operations.values():
            known = ", ".join(sorted(set(self._operations.values()))) or "nothing"
            raise CassetteMismatch(f"{self._name} holds no WebSocket of {wanted}; it holds: {known}.")
        found = {index: self._all[index] for index in self._left if self._operations[index] == wanted}
        if not found:
            raise CassetteExhausted(f"Every WebSocket of {wanted} that {self._name} holds was played already.")
        first, interaction = next(iter(found.items()))
        response = interaction.response
        if response is not None and response.status != _SWITCHING:
            self._left.remove(first)
            if response.status is None:
                raise ConnectionLost("The recorded handshake was not answered.")
            raise RequestRejected("The recorded handshake was refused.", status=response.status)
        return PlayedSocket(found, self._left, self._speed)

    def _operation(self, index: int) -> str:
        request = self._all.asked(index)[1]
        return "" if request is None else operation(request.url)


class PlayedSocket:
    """One recorded WebSocket. A message that was not recorded ends it, with the difference as the reason."""

    def __init__(self, candidates: dict[int, Interaction], left: list[int], speed: float) -> None:
        self._candidates = candidates
        self._left = left
        self._speed = speed
        self._frames: list[Frame] = []
        self._at = 0
        self._chosen: Interaction | None = None
        self._moved = asyncio.Condition()
        self._failure: WebSocketClose | None = None
        self._is_closed = False
        number, self._first = next(iter(candidates.items()))
        first = _frames(self._first)
        if not first or first[0].sender == "server":
            self._choose(number)

    @property
    def headers(self) -> Headers:
        """The headers of the recorded handshake."""
        response = (self._chosen or self._first).response
        return () if response is None else response.headers

    async def send(self, message: str | bytes) -> None:
        """Compare a message with the next one that the recorded client sent."""
        async with self._moved:
            # Where both sides speak at once, their order is chance: what the server says next may come after this.
            await self._moved.wait_for(lambda: self._client_is_next() or self._failure or self._is_closed)
            found = self._difference(message)
            if found is None:
                self._at += 1
            elif self._failure is None:
                log.warning("A WebSocket message was not recorded: %s", found)
                self._failure = WebSocketClose(_CANNOT_GO_ON, _shortened(f"not recorded: {found}"))
            self._moved.notify_all()

    async def receive(self) -> str | bytes | WebSocketClose:
        """The next message of the server, once the client has said what came before it."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._server_is_next() or self._failure or self._is_closed)
            if self._failure is not None:
                return self._failure
            if self._is_closed or self._chosen is None:
                return WebSocketClose()
            if self._at == len(self._frames):
                return await self._end()
            frame = self._frames[self._at]
            if self._speed:
                await asyncio.sleep(frame.delay_ms / 1000 * self._speed)
            self._at += 1
            self._moved.notify_all()
            return frame.data

    async def close(self, close: WebSocketClose) -> None:
        """The client is gone."""
        async with self._moved:
            self._is_closed = True
            self._moved.notify_all()

    async def _end(self) -> WebSocketClose:
        """How the recording ends; where it was the client who left, the server waits for it."""
        session = None if self._chosen is None else self._chosen.websocket
        if session is not None and session.closed_by == "client":
            await self._moved.wait_for(lambda: self._failure or self._is_closed)
            return self._failure or WebSocketClose()
        return (session.close if session else None) or WebSocketClose(_CANNOT_GO_ON, "The recording ends here.")

    def _server_is_next(self) -> bool:
        if self._chosen is None:
            return False
        return self._at == len(self._frames) or self._frames[self._at].sender == "server"

    def _client_is_next(self) -> bool:
        return self._chosen is None or self._at == len(self._frames) or self._frames[self._at].sender == "client"

    def _difference(self, message: str | bytes) -> Difference | None:
        """In what a message differs from the recorded one; the first message chooses the recording."""
        if self._chosen is None:
            firsts = {each: _frames(self._candidates[each])[:1] for each in self._candidates if each in self._left}
            found = [(each, _differences(first[0].data, message)) for each, first in firsts.items() if first]
            if not found:
                return Difference("$", msgspec.UNSET, str(message))
            nearest, differences = min(found, key=lambda pair: len(pair[1]))
            self._choose(nearest)
            return differences[0] if differences else None
        if self._at == len(self._frames):
            return Difference("$", msgspec.UNSET, str(message))
        return next(iter(_differences(self._frames[self._at].data, message)), None)

    def _choose(self, number: int) -> None:
        self._chosen = self._candidates[number]
        self._frames = list(_frames(self._chosen))
        if number in self._left:
            self._left.remove(number)


def _frames(interaction: Interaction) -> tuple[Frame, ...]:
    return (interaction.websocket or SocketSession()).frames


def _differences(recorded: str | bytes, sent: str | bytes) -> list[Difference]:
    return compare(normalise(_value(recorded)), normalise(_value(sent)))


def _value(message: str | bytes) -> Any:
    """A message as JSON, or as it is."""
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return message if isinstance(message, str) else message.hex()


def _shortened(reason: str) -> str:
    """At most the 123 bytes that a close frame has room for."""
    return reason.encode()[:123].decode(errors="ignore")
