"""A recorded WebSocket says what it said, when the client has said what came before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.cassettes import Interaction, Player, RecordedRequest, RecordedResponse
from antiphon.cassettes.format import Frame, Side, SocketSession
from antiphon.errors import CassetteExhausted, CassetteMismatch, RequestRejected
from antiphon.transport import HttpRequest, WebSocketClose

URL = "https://api.example.com/v1/realtime"
HANDSHAKE = HttpRequest(method="GET", url=URL)


def session(*frames: tuple[Side, str | bytes], by: Side = "server", status: int = 101) -> Interaction:
    return Interaction(
        id="w",
        kind="websocket",
        request=RecordedRequest(method="GET", url=URL),
        response=RecordedResponse(status=status, headers=(("x-request-id", "r"),)),
        websocket=SocketSession(
            frames=tuple(Frame(0.0, sender, data) for sender, data in frames),
            close=WebSocketClose(1000, "bye"),
            closed_by=by,
        ),
    )


def play(player: Player, *messages: str | bytes) -> list[Any]:
    """Send these, then listen until the server ends it."""

    async def main() -> list[Any]:
        socket = await player.connect(HANDSHAKE)
        heard: list[Any] = []

        async def listen() -> None:
            while not heard or not isinstance(heard[-1], WebSocketClose):
                heard.append(await socket.receive())

        listening = asyncio.create_task(listen())
        for message in messages:
            await socket.send(message)
        await asyncio.wait_for(listening, 5)
        return heard

    return asyncio.run(main())


def test_the_server_waits_for_what_came_before_its_words() -> None:
    frames: list[tuple[Side, str | bytes]] = [("server", "1"), ("client", "a"), ("client", b"b"), ("server", b"2")]

    async def main() -> None:
        socket = await Player([session(*frames)]).connect(HANDSHAKE)
        assert await socket.receive() == "1"
        second = asyncio.create_task(socket.receive())
        await socket.send("a")
        await asyncio.sleep(0)
        assert not second.done()
        await socket.send(b"b")
        assert await second == b"2"
        assert await socket.receive() == WebSocketClose(1000, "bye")

    asyncio.run(main())


def test_a_client_that_speaks_too_early_is_heard_in_its_turn() -> None:
    assert play(Player([session(("server", "1"), ("client", "a"), ("server", "2"))]), "a") == [
        "1",
        "2",
        WebSocketClose(1000, "bye"),
    ]


def test_where_the_client_speaks_first_its_words_choose_the_recording() -> None:
    player = Player(
        [session(("client", '{"n":1}'), ("server", "one")), session(("client", '{"n":2}'), ("server", "two"))]
    )
    assert play(player, '{"n": 2}')[0] == "two"
    assert len(player.unplayed) == 1
    assert play(player, '{"n": 1}')[0] == "one"
    assert player.unplayed == []


def test_ids_and_dates_that_change_from_run_to_run_do_not_count() -> None:
    player = Player([session(("client", '{"event":{"id":"x"},"at":"2026-01-01"}'), ("server", "ok"))])
    assert play(player, '{"event":{"id":"y"},"at":"2026-02-02"}')[0] == "ok"


@pytest.mark.parametrize("messages", [("other",), ("a", "and more")])
def test_a_message_that_was_not_recorded_ends_it_with_the_difference(messages: tuple[str, ...]) -> None:
    (heard,) = play(Player([session(("client", "a"), by="client")]), *messages)
    assert heard.code == 1011
    assert heard.reason.startswith("not recorded: $: recorded ")
    assert len(heard.reason.encode()) <= 123


def test_where_the_client_ended_it_the_server_waits_for_that() -> None:
    async def main() -> None:
        socket = await Player([session(("server", "1"), by="client")]).connect(HANDSHAKE)
        assert await socket.receive() == "1"
        end = asyncio.create_task(socket.receive())
        await asyncio.sleep(0)
        assert not end.done()
        await socket.close(WebSocketClose(1000))
        assert isinstance(await end, WebSocketClose)

    asyncio.run(main())


def test_handshakes_are_answered_once_each_refused_ones_too() -> None:
    async def main() -> None:
        player = Player([session(status=401), session()])
        with pytest.raises(RequestRejected) as refused:
            await player.connect(HANDSHAKE)
        assert refused.value.status == 401
        assert (await player.connect(HANDSHAKE)).headers == (("x-request-id", "r"),)
        with pytest.raises(CassetteExhausted):
            await player.connect(HANDSHAKE)
        with pytest.raises(CassetteMismatch, match="it holds: /v1/realtime"):
            await player.connect(HttpRequest(method="GET", url="http://x/other"))

    asyncio.run(main())
