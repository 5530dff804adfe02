"""Replay: the right answer to each request, the same bytes, and a miss that explains itself."""

from __future__ import annotations

import asyncio
import itertools
import random

import msgspec
import pytest
from cassette_fakes import SEEDS, asked, body_of, need, recorded
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes import Chunk, Difference, Interaction, Player, RecordedResponse, ToolCall, read
from antiphon.errors import CassetteExhausted, CassetteMismatch, ConnectFailed, ConnectionLost, TransportError
from antiphon.events import ErrorInfo


def play(player: Player, *bodies: object) -> list[bytes]:
    """The bodies of the answers to requests sent one after the other."""

    async def run() -> list[bytes]:
        return [await body_of(await player.send(asked(body))) for body in bodies]

    return asyncio.run(run())


def test_equal_requests_get_their_answers_in_recorded_order() -> None:
    player = Player([recorded("a", b"1"), recorded("b", b"2"), recorded("a", b"3")])
    assert play(player, "b", "a", "a") == [b"2", b"1", b"3"]
    assert player.unplayed == []


def test_an_answer_is_given_once() -> None:
    player = Player([recorded("a", b"1")], name="x.jsonl")
    with pytest.raises(CassetteExhausted, match=r"Every answer that x\.jsonl holds to this POST /chat/completions"):
        play(player, "a", "a")


def test_a_request_that_differs_in_volatile_parts_only_is_answered() -> None:
    player = Player([recorded({"x": 1, "stream_options": {"include_usage": True}}, b"1")])
    assert play(player, {"x": 1}) == [b"1"]


def test_what_was_recorded_exactly_so_comes_before_what_is_alike() -> None:
    player = Player([recorded({"day": "2026-01-01"}, b"1"), recorded({"day": "2026-01-02"}, b"2")])
    assert play(player, {"day": "2026-01-02"}, {"day": "2026-01-01"}) == [b"2", b"1"]
    with pytest.raises(CassetteExhausted):
        play(player, {"day": "2026-01-02"})


def test_what_was_given_to_its_own_request_is_not_given_to_one_alike() -> None:
    player = Player([recorded({"day": "2026-01-01"}, b"1"), recorded({"day": "2026-01-02"}, b"2")])
    assert play(player, {"day": "2026-01-01"}, {"day": "2026-01-03"}) == [b"1", b"2"]


def test_a_miss_shows_the_nearest_request_where_it_differs_and_what_to_do() -> None:
    near = {"model": "m", "messages": [{"content": "one"}, {"content": "two"}]}
    far = {"model": "other", "messages": [{"content": "1"}, {"content": "2"}], "n": 2}
    sent = {"model": "m", "messages": [{"content": "one"}, {"content": "three"}]}
    player = Player([recorded(far), recorded(near)], name="runs/x.jsonl")
    with pytest.raises(CassetteMismatch) as raised:
        play(player, sent)
    assert str(raised.value) == (
        "runs/x.jsonl holds no answer to this POST /chat/completions. The nearest, interaction 1, differs at"
        ' $.messages[1].content: recorded "two", sent "three".'
        " To record it: antiphon serve --upstream https://api.example.com/v1 --record runs/x.jsonl"
    )


def test_a_miss_of_another_kind_says_what_there_is() -> None:
    player = Player([recorded({})], name="x.yaml")
    with pytest.raises(
        CassetteMismatch, match=r"no answer to a GET /models; it holds: POST /chat/completions\..*x.yaml.jsonl"
    ):
        asyncio.run(player.send(asked({}, method="GET", url="http://h/v1/models")))


def test_in_order_the_nth_request_gets_the_nth_answer_and_is_told_the_differences() -> None:
    told: list[tuple[int, list[Difference]]] = []

    def tell(number: int, found: list[Difference]) -> None:
        told.append((number, found))

    player = Player([recorded({"a": 1}, b"1"), recorded({"b": 1}, b"2")], match="order", on_difference=tell)
    assert play(player, {"a": 2}, {"b": 1}) == [b"1", b"2"]
    assert told == [(0, [Difference("$.a", 1, 2)])]
    with pytest.raises(CassetteExhausted):
        play(player, {})


def test_in_order_each_kind_of_request_has_its_own_order() -> None:
    models = "https://api.example.com/v1/models"
    player = Player([recorded({}, b"m", url=models), recorded({}, b"1"), recorded({}, b"2")], match="order")

    async def run() -> list[bytes]:
        sent = [asked({}), asked({}, url=models), asked({})]
        return [await body_of(await player.send(each)) for each in sent]

    assert asyncio.run(run()) == [b"1", b"m", b"2"]


def test_a_log_without_a_request_is_played_in_order() -> None:
    body = b'data: {"object":"chat.completion.chunk","choices":[]}\n\n'
    log = Interaction(id="0", fidelity="parsed", response=RecordedResponse(status=None, chunks=(Chunk(0, body),)))

    async def run() -> tuple[int, bytes]:
        response = await Player([log], match="order").send(asked({}))
        return response.status, await body_of(response)

    assert asyncio.run(run()) == (200, body)
    with pytest.raises(CassetteMismatch, match="can only be replayed with --match order"):
        play(Player([log]), {})


def test_headers_of_the_recorded_connection_are_not_replayed() -> None:
    headers = (
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("content-encoding", "gzip"),
        ("transfer-encoding", "chunked"),
        ("x-request-id", "r"),
    )
    one = recorded("a", fidelity="body")
    one = msgspec.structs.replace(one, response=RecordedResponse(status=429, headers=headers))
    response = asyncio.run(Player([one]).send(asked("a")))
    assert (response.status, response.headers) == (429, (("content-type", "text/plain"), ("x-request-id", "r")))


@pytest.mark.parametrize(
    ("body", "found"), [(b": hi\n\ndata: {}\n\n", "text/event-stream"), (b' {"a":1}', "application/json")]
)
def test_a_recording_without_headers_is_given_the_type_that_its_body_has(body: bytes, found: str) -> None:
    response = asyncio.run(Player([recorded("a", body)]).send(asked("a")))
    assert response.headers == (("content-type", found),)


@given(st.lists(st.sampled_from(["data: 1", "\n", "\n\n", "\r\n\r\n", "\r\r", ": c", "é"]), min_size=1))
def test_a_stream_without_chunks_is_given_event_by_event(parts: list[str]) -> None:
    body = ("data: 0\n\n" + "".join(parts)).encode()
    player = Player([recorded("a", body, fidelity="body")])

    async def run() -> list[bytes]:
        return [data async for data in (await player.send(asked("a"))).chunks()]

    chunks = asyncio.run(run())
    assert b"".join(chunks) == body
    assert chunks[0] == b"data: 0\n\n"
    assert all(chunk.count(b"data:") <= 1 or b"\n\n" not in chunk[:-2] for chunk in chunks)


def test_recorded_chunks_are_given_as_they_came() -> None:
    async def run() -> list[bytes]:
        player = Player([recorded("a", b"data: 1\n\ndata", b": 2\n\n")])
        return [data async for data in (await player.send(asked("a"))).chunks()]

    assert asyncio.run(run()) == [b"data: 1\n\ndata", b": 2\n\n"]


def waits(monkeypatch: pytest.MonkeyPatch, player: Player) -> list[float]:
    """The pauses in seconds that playing one answer takes, without taking them."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    play(player, "a")
    return slept


def timed() -> Interaction:
    response = RecordedResponse(status=200, delay_ms=100, chunks=(Chunk(10, b"1"), Chunk(20, b"2")))
    return msgspec.structs.replace(recorded("a"), response=response)


def test_delays_are_those_recorded_times_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(monkeypatch, Player([timed()], speed=0.5)) == [0.05, 0.005, 0.01]


def test_by_default_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(monkeypatch, Player([timed()], chunk_delay_s=9)) == []


def test_a_recording_without_timing_pauses_between_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = recorded("a", b"data: 1\n\ndata: 2\n\ndata: 3\n\n", fidelity="body")
    assert waits(monkeypatch, Player([stream], chunk_delay_s=0.5)) == [0.5, 0.5]


def test_a_cut_stream_is_cut_again_after_its_chunks() -> None:
    error = ErrorInfo(code=ConnectionLost.code, message="reset by peer")
    response = RecordedResponse(status=200, chunks=(Chunk(0, b"1"),), error=error)
    player = Player([msgspec.structs.replace(recorded("a"), response=response)])

    async def run() -> list[bytes]:
        seen: list[bytes] = []
        with pytest.raises(ConnectionLost, match="reset by peer"):
            async for data in (await player.send(asked("a"))).chunks():
                seen.append(data)
        return seen

    assert asyncio.run(run()) == [b"1"]


@pytest.mark.parametrize(("code", "kind"), [(ConnectFailed.code, ConnectFailed), ("anything", ConnectionLost)])
def test_a_call_that_got_no_answer_fails_again(code: str, kind: type[TransportError]) -> None:
    response = RecordedResponse(status=None, error=ErrorInfo(code=code, message="refused"))
    player = Player([msgspec.structs.replace(recorded("a"), response=response)])
    with pytest.raises(kind, match="refused"):
        play(player, "a")


def test_a_closed_response_gives_no_more() -> None:
    async def run() -> bytes:
        response = await Player([recorded("a", b"1", b"2", b"3")]).send(asked("a"))
        seen = b""
        async for data in response.chunks():
            seen += data
            await response.close()
        return seen

    assert asyncio.run(run()) == b"1"


def test_tool_calls_in_a_recording_are_not_played_as_http() -> None:
    player = Player([Interaction(id="0", kind="tool", tool=ToolCall(name="t")), recorded("a", b"1")], match="order")
    assert play(player, "b") == [b"1"]


def test_500_clients_at_once_all_get_their_own_answers() -> None:
    numbers = list(itertools.chain(range(500), range(500)))
    player = Player([recorded({"n": n}, b"%d." % n, b"%d" % count) for count, n in enumerate(numbers)])
    random.Random(1).shuffle(numbers)

    async def one(n: int) -> tuple[int, bytes]:
        return n, await body_of(await player.send(asked({"n": n})))

    async def run() -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(one(n) for n in numbers))

    answers = asyncio.run(run())
    assert all(body.split(b".")[0] == b"%d" % n for n, body in answers)
    assert len({body for _, body in answers}) == 1000


def test_the_seed_recording_is_replayed_byte_for_byte() -> None:
    interactions = list(read(need(SEEDS / "multi_tool_streaming.yaml")))
    player = Player(interactions)

    async def run() -> None:
        for interaction in interactions:
            assert interaction.request is not None
            assert interaction.response is not None
            sent = msgspec.structs.replace(asked(None), body=interaction.request.body)
            chunks = [data async for data in (await player.send(sent)).chunks()]
            assert b"".join(chunks) == interaction.response.body
            assert all(chunk.endswith(b"\n\n") and chunk.count(b"data: ") == 1 for chunk in chunks)

    asyncio.run(run())


def test_chunks_that_come_at_once_may_be_joined_and_those_with_a_delay_are_not() -> None:
    one = msgspec.structs.replace(
        recorded("a"),
        response=RecordedResponse(
            status=200,
            chunks=tuple(Chunk(wait_ms, data) for wait_ms, data in [(5, b"a"), (0, b"b"), (1, b"c"), (0, b"d")]),
        ),
    )

    async def pieces(speed: float) -> list[bytes]:
        response = await Player([one], speed=speed, joins=True).send(asked("a"))
        return [data async for data in response.chunks()]

    assert asyncio.run(pieces(0)) == [b"abcd"]
    assert asyncio.run(pieces(0.001)) == [b"ab", b"cd"]


def test_an_answer_that_is_joined_still_comes_in_pieces_of_a_bounded_size() -> None:
    one = recorded("a", *[b"x" * 10_000] * 5)

    async def sizes() -> list[int]:
        response = await Player([one], joins=True).send(asked("a"))
        return [len(data) async for data in response.chunks()]

    assert asyncio.run(sizes()) == [10_000] * 5


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 100_000])
def test_an_answer_that_waits_for_nothing_is_known_whole(size: int) -> None:
    pieces = tuple(Chunk(9, b"x" * 1000) for _ in range(size // 1000)) + (Chunk(9, b"y" * (size % 1000)),)
    interaction = msgspec.structs.replace(recorded({}), response=RecordedResponse(status=200, chunks=pieces))
    whole = Player([interaction], joins=True).take(asked({})).whole
    assert whole is not None
    assert b"".join(whole) == b"".join(each.data for each in pieces)
    assert all(0 < len(each) <= 16 * 1024 for each in whole)
    assert Player([interaction], speed=1).take(asked({})).whole is None


def test_an_answer_that_breaks_off_is_not_known_whole() -> None:
    error = ErrorInfo(code="upstream_timeout", message="late")
    response = RecordedResponse(status=200, chunks=(Chunk(0, b"x"),), error=error)
    assert Player([msgspec.structs.replace(recorded({}), response=response)]).take(asked({})).whole is None
