"""`Cassette`: modes, what is checked at the end, and the transports for httpx and httpx2."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import msgspec
import pytest
from cassette_fakes import CHAT, recorded

from antiphon.cassettes import Cassette, Interaction, Scrubber, read
from antiphon.cassettes.writing import Writer
from antiphon.errors import (
    CassetteAmbiguous,
    CassetteCorrupt,
    CassetteExhausted,
    CassetteMismatch,
    CassetteMissing,
    CassetteUnplayed,
    UsageError,
)
from antiphon.events import ErrorInfo

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)


class Origin:
    """A live transport of httpx that counts, and says what it was asked; a body is an event stream of two chunks."""

    def __init__(self, library: ModuleType, answer: str = "live") -> None:
        self.library = library
        self.answer = answer
        self.asked = 0
        self.given: list[bytes] = []

    def transport(self) -> Any:
        return self.library.MockTransport(self._handle)

    def _handle(self, request: Any) -> Any:
        self.asked += 1
        headers = {"content-type": "text/event-stream", "set-cookie": "a=b"}
        body = _Body(self, [b"data: ", f"{self.answer} {request.content.decode()}\n\n".encode()])
        kind = type("Body", (_Body, self.library.SyncByteStream, self.library.AsyncByteStream), {})
        body.__class__ = kind
        return self.library.Response(200, headers=headers, stream=body)


class _Body:
    def __init__(self, origin: Origin, chunks: list[bytes]) -> None:
        self._origin, self._chunks = origin, chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._origin.given.append(chunk)
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


def transport(cassette: Cassette, library: ModuleType, inner: Any = None) -> Any:
    return getattr(cassette, f"{library.__name__}_transport")(inner)


def ask(cassette: Cassette, library: ModuleType, *bodies: object, origin: Origin | None = None) -> list[bytes]:
    inner = origin.transport() if origin else None
    with library.Client(transport=transport(cassette, library, inner)) as client:
        return [client.post(CHAT, json=body).content for body in bodies]


def written(path: Path, *interactions: Interaction) -> Path:
    writer = Writer(path)
    for each in interactions:
        writer.append(each)
    writer.close()
    return path


# --- httpx ------------------------------------------------------------------------------------


@both
def test_what_a_sync_client_was_told_it_is_told_again(tmp_path: Path, library: ModuleType) -> None:
    origin = Origin(library)
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        live = ask(cassette, library, {"a": 1}, {"a": 2}, origin=origin)
    with Cassette(tmp_path / "x.jsonl") as cassette:
        assert ask(cassette, library, {"a": 2}, {"a": 1}) == live[::-1]
    assert origin.asked == 2
    assert b"a=b" not in (tmp_path / "x.jsonl").read_bytes()  # headers are kept by allow-list


@both
def test_chunks_are_passed_on_as_they_come_and_replayed_so(tmp_path: Path, library: ModuleType) -> None:
    origin = Origin(library)
    seen: list[tuple[bytes, int]] = []

    async def run(cassette: Cassette, inner: Any) -> list[bytes]:
        client = library.AsyncClient(transport=transport(cassette, library, inner))
        async with client, client.stream("POST", CHAT, json={}) as response:
            chunks = []
            async for chunk in response.aiter_raw():
                chunks.append(chunk)
                seen.append((chunk, len(origin.given)))
            return chunks

    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        live = asyncio.run(run(cassette, origin.transport()))
    assert seen == [(b"data: ", 1), (b"live {}\n\n", 2)]  # each before the next was asked for
    with Cassette(tmp_path / "x.jsonl") as cassette:
        assert asyncio.run(run(cassette, None)) == live


@both
def test_a_client_that_reads_no_further_leaves_a_marked_interaction(tmp_path: Path, library: ModuleType) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        client = library.Client(transport=transport(cassette, library, Origin(library).transport()))
        with client, client.stream("POST", CHAT, json={}) as response:
            next(response.iter_raw())
    [interaction] = read(tmp_path / "x.jsonl")
    assert interaction.response
    assert (interaction.response.body, interaction.response.error.code) == (b"data: ", "closed_early")  # type: ignore[union-attr]


@both
def test_a_failed_call_fails_again_as_the_clients_own_error(tmp_path: Path, library: ModuleType) -> None:
    def refuse(request: Any) -> Any:
        raise library.ConnectError("nobody there", request=request)

    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        client = library.Client(transport=transport(cassette, library, library.MockTransport(refuse)))
        with client, pytest.raises(library.ConnectError):
            client.get("https://api.example.com/v1/models")
    with Cassette(tmp_path / "x.jsonl") as cassette:
        client = library.Client(transport=transport(cassette, library))
        with client, pytest.raises(library.ConnectError, match="nobody there"):
            client.get("https://api.example.com/v1/models")


@both
def test_an_answer_that_was_cut_is_cut_again(tmp_path: Path, library: ModuleType) -> None:
    whole = recorded({}, b"data: 1\n\n")
    assert whole.response
    error = ErrorInfo(code="upstream_connection_lost", message="gone")
    cut = msgspec.structs.replace(whole, response=msgspec.structs.replace(whole.response, error=error))
    path = written(tmp_path / "x.jsonl", cut)
    with Cassette(path) as cassette:
        client = library.Client(transport=transport(cassette, library))
        with client, client.stream("POST", CHAT, json={}) as response, pytest.raises(library.RemoteProtocolError):
            for chunk in response.iter_raw():
                assert chunk == b"data: 1\n\n"


# --- modes ------------------------------------------------------------------------------------


def test_record_replaces_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for answer in ("old", "new"):
        with Cassette(path, "record") as cassette:
            ask(cassette, httpx, {"n": answer}, origin=Origin(httpx, answer))
    with Cassette(path) as cassette:
        assert ask(cassette, httpx, {"n": "new"}) == [b'data: new {"n":"new"}\n\n']
    assert [each.name for each in tmp_path.iterdir()] == ["x.jsonl"]


def test_auto_asks_for_what_is_missing_and_adds_it(tmp_path: Path) -> None:
    path, origin = tmp_path / "x.jsonl", Origin(httpx)
    for expected in (2, 3):
        with Cassette(path, "auto") as cassette:
            ask(cassette, httpx, *[{"n": n} for n in range(expected)], origin=origin)
        assert origin.asked == expected
    with Cassette(path) as cassette:
        ask(cassette, httpx, {"n": 0}, {"n": 1}, {"n": 2})


def test_refresh_asks_for_all_and_tells_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with Cassette(path, "record") as cassette:
        ask(cassette, httpx, {"n": 1}, origin=Origin(httpx, "old"))
    with Cassette(path, "refresh") as cassette:
        ask(cassette, httpx, {"n": 1}, origin=Origin(httpx, "new"))
    assert [each.number for each in cassette.drifts] == [0]
    with Cassette(path) as cassette:
        assert ask(cassette, httpx, {"n": 1}) == [b'data: new {"n":1}\n\n']


def test_live_is_as_if_there_were_no_cassette(tmp_path: Path) -> None:
    origin = Origin(httpx)
    with Cassette(tmp_path / "x.jsonl", "live") as cassette:
        ask(cassette, httpx, {}, {}, origin=origin)
    assert origin.asked == 2
    assert list(tmp_path.iterdir()) == []


def test_no_variable_switches_replay_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTIPHON_REPLAY", "ANTIPHON_CASSETTE_MODE", "CASSETTE_MODE"):
        monkeypatch.setenv(name, "replay")
    origin = Origin(httpx)
    with Cassette(written(tmp_path / "x.jsonl", recorded({}, b"1")), "live") as cassette:
        assert ask(cassette, httpx, {}, origin=origin) == [b"data: live {}\n\n"]


def test_there_is_no_other_mode(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'once' is no mode"):
        Cassette(tmp_path / "x.jsonl", "once")  # type: ignore[arg-type]


# --- what is checked --------------------------------------------------------------------------


def test_a_missing_cassette_says_how_to_record_it(tmp_path: Path) -> None:
    with pytest.raises(CassetteMissing, match=r"x\.jsonl\. To record it: make tapes"):
        Cassette(tmp_path / "x.jsonl", remedy="make tapes")


def test_a_broken_line_is_told_before_anything_is_answered(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({}, b"1"))
    path.write_bytes(path.read_bytes() + b'{"id":1}\n')
    with pytest.raises(CassetteCorrupt, match=r"x\.jsonl:3"):
        Cassette(path)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({}, b"1"))
    path.write_bytes(path.read_bytes() + b'{"id":"2","kind":"ht')
    with Cassette(path) as cassette:
        assert ask(cassette, httpx, {}) == [b"1"]


def test_what_was_never_asked_for_fails_at_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded("a", b"1"), recorded("b", b"2"))
    with pytest.raises(CassetteUnplayed, match="asked for: POST"), Cassette(path) as cassette:
        ask(cassette, httpx, "a")
    with Cassette(path, allow_unplayed=True) as cassette:
        ask(cassette, httpx, "a")


def test_a_miss_that_the_client_hid_fails_at_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({"n": 1}, b"1"))
    cassette = Cassette(path, remedy="make tapes")
    with pytest.raises(CassetteMismatch):
        ask(cassette, httpx, {"n": 2})
    with pytest.raises(CassetteMismatch, match=r"differs at \$\.n: recorded 1, sent 2\. To record it: make tapes"):
        cassette.close()


def test_an_error_of_the_test_itself_is_not_covered(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded("a", b"1"))
    with pytest.raises(ZeroDivisionError), Cassette(path):
        _ = 1 / 0


# --- which answer -----------------------------------------------------------------------------


def test_the_same_request_gets_its_answers_in_recorded_order(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", *[recorded({}, b"%d" % n) for n in range(3)])
    with Cassette(path) as cassette:
        assert ask(cassette, httpx, {}, {}, {}) == [b"0", b"1", b"2"]
        with pytest.raises(CassetteExhausted):
            ask(cassette, httpx, {})
        cassette.misses.clear()


def test_500_clients_get_their_own_answers_of_one_cassette_of_1000(tmp_path: Path) -> None:
    numbers = list(range(1000))
    random.Random(7).shuffle(numbers)
    path = written(tmp_path / "x.jsonl", *[recorded({"n": n}, b"answer %d" % n) for n in numbers])

    async def client(cassette: Cassette, mine: list[int]) -> None:
        async with httpx.AsyncClient(transport=cassette.httpx_transport()) as session:
            for n in mine:
                response = await session.post(CHAT, json={"n": n})
                assert response.content == b"answer %d" % n

    async def run(cassette: Cassette) -> None:
        await asyncio.gather(*[client(cassette, [n, n + 500]) for n in range(500)])

    with Cassette(path) as cassette:
        asyncio.run(run(cassette))


def test_threads_share_a_cassette(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", *[recorded({"n": n % 4}, b"%d" % n) for n in range(64)])
    got: list[bytes] = []
    with Cassette(path) as cassette:
        work = [
            threading.Thread(target=lambda: got.extend(ask(cassette, httpx, *[{"n": n} for n in range(4)])))
            for _ in range(16)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    assert sorted(map(int, got)) == list(range(64))


def test_declared_parts_do_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({"q": 1, "metadata": {"run": "a", "user": "u"}}, b"1"))
    sent = {"q": 1, "metadata": {"run": "b", "user": "u"}}
    with Cassette(path, volatile=["$.metadata.run"]) as cassette:
        assert ask(cassette, httpx, sent) == [b"1"]


def test_a_rule_of_the_users_finds_what_is_alike(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({"q": "weather in Rome"}, b"1"), recorded({"q": "news"}, b"2"))
    with Cassette(path, match=lambda old, new: old.body[6:10] == new.body[6:10]) as cassette:
        assert ask(cassette, httpx, {"q": "news of today"}, {"q": "weather, please"}) == [b"2", b"1"]


def test_a_rule_that_several_fit_is_an_error_and_no_guess(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({"q": 1}, b"1"), recorded({"q": 2}, b"2"))
    with Cassette(path, match=lambda old, new: True, allow_unplayed=True) as cassette:
        assert ask(cassette, httpx, {"q": 2}) == [b"2"]  # what is equal goes first
    with Cassette(path, match=lambda old, new: True) as cassette:
        with pytest.raises(CassetteAmbiguous, match=r"interactions 0 and 1 fit alike, and differ at \$\.q: recorded 1"):
            ask(cassette, httpx, {"q": 3})
        cassette.misses.clear()
        ask(cassette, httpx, {"q": 1}, {"q": 3})  # one is left: no choice


def test_strict_order_wants_every_request_in_its_turn(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", recorded({"q": 1}, b"1"), recorded({"q": 2}, b"2"))
    with Cassette(path, match="strict") as cassette:
        with pytest.raises(CassetteMismatch, match=r"has interaction 0 next, .* \$\.q: recorded 1, sent 2"):
            ask(cassette, httpx, {"q": 2})
        cassette.misses.clear()
        assert ask(cassette, httpx, {"q": 1}, {"q": 2}) == [b"1", b"2"]


def test_a_request_with_a_secret_finds_the_recording_without(tmp_path: Path) -> None:
    path, body = tmp_path / "x.jsonl", {"to": "ada@engine.example"}
    with Cassette(path, "record") as cassette:
        ask(cassette, httpx, body, origin=Origin(httpx))
    assert b"ada@" not in path.read_bytes()
    with Cassette(path) as cassette:
        ask(cassette, httpx, body)


def test_a_recording_that_was_never_scrubbed_is_found_as_well(tmp_path: Path) -> None:
    with Cassette(written(tmp_path / "x.jsonl", recorded({"to": "ada@engine.example"}, b"1"))) as cassette:
        assert ask(cassette, httpx, {"to": "ada@engine.example"}) == [b"1"]


def test_a_miss_shows_no_secret(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", Scrubber()(recorded({"to": "bob@engine.example"}, b"1")))
    with Cassette(path) as cassette:
        with pytest.raises(CassetteMismatch) as raised:
            ask(cassette, httpx, {"to": "ada@engine.example"})
        cassette.misses.clear()
        ask(cassette, httpx, {"to": "bob@engine.example"})
    assert "ada@" not in str(raised.value)


def test_the_key_of_a_request_is_not_in_its_answer(tmp_path: Path) -> None:
    def refuse(request: Any) -> Any:
        return httpx.Response(401, content=b"Incorrect key: my-own-kind-of-key")

    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        transport = cassette.httpx_transport(httpx.MockTransport(refuse))
        with httpx.Client(transport=transport, headers={"authorization": "Bearer my-own-kind-of-key"}) as client:
            client.post(CHAT, json={})
    assert b"my-own-kind" not in (tmp_path / "x.jsonl").read_bytes()
    assert b"Incorrect key: [scrubbed:" in (tmp_path / "x.jsonl").read_bytes()
