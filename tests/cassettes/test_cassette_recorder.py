"""Recording: everything that passes is in the file, and the live call never notices."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cassette_fakes import LiveResponse, LiveUpstream, asked, body_of, recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.cassettes import Interaction, Player, RecordedResponse, Recorder, Scrubber, read
from antiphon.cassettes.format import encode_header, encode_interaction
from antiphon.cassettes.patterns import NAMES
from antiphon.clock import FakeClock, SystemClock
from antiphon.errors import CassetteCorrupt, CassetteVersion, ConnectFailed, ConnectionLost
from antiphon.transport import HttpRequest, HttpResponse, Transport


def responses(path: Path) -> list[RecordedResponse]:
    return [each.response for each in read(path) if each.response is not None]


def record(path: Path, upstream: Transport, *bodies: object) -> list[bytes]:
    """The bodies of the answers as the client saw them."""

    async def run() -> list[bytes]:
        recorder = Recorder(upstream, path, clock=FakeClock())
        try:
            return [await body_of(await recorder.send(asked(body))) for body in bodies]
        finally:
            await recorder.close()

    return asyncio.run(run())


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=5))
def test_what_is_recorded_replays_as_the_same_chunks(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("run") / "x.jsonl"
    # Hypothesis draws words from our own modules too, and some of them look like keys.
    keeps_all = Scrubber(off=(*NAMES, "fields", "base64"))

    async def run() -> None:
        recorder = Recorder(LiveUpstream(*chunks, status=201), path, clock=FakeClock(), scrub=keeps_all)
        live = [data async for data in (await recorder.send(asked("a"))).chunks()]
        await recorder.close()
        response = await Player(read(path)).send(asked("a"))
        assert [data async for data in response.chunks()] == live == chunks
        assert response.status == 201

    asyncio.run(run())


def test_a_cassette_is_a_header_and_a_line_for_each_call(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.jsonl"
    assert record(path, LiveUpstream(b"1", b"2"), "a", "b") == [b"12", b"12"]
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[0] == encode_header()
    assert [each.request.body for each in read(path) if each.request] == [b'"a"', b'"b"']


def test_delays_are_measured_from_headers_and_from_chunk_to_chunk(tmp_path: Path) -> None:
    clock = FakeClock()

    class Slow(LiveResponse):
        async def chunks(self) -> AsyncIterator[bytes]:
            clock.advance(0.25)
            yield b"1"
            clock.advance(0.5)
            yield b"2"

    class SlowUpstream(LiveUpstream):
        async def send(self, request: HttpRequest) -> HttpResponse:
            clock.advance(1.5)
            return Slow([], 200, ())

    async def run() -> None:
        recorder = Recorder(SlowUpstream(), tmp_path / "x.jsonl", clock=clock)
        await body_of(await recorder.send(asked("a")))
        await recorder.close()

    asyncio.run(run())
    (interaction,) = read(tmp_path / "x.jsonl")
    assert interaction.response is not None
    assert interaction.response.delay_ms == 1500
    assert [chunk.delay_ms for chunk in interaction.response.chunks] == [250, 500]
    assert interaction.duration_ms == 2250
    assert interaction.started_at is not None
    assert interaction.started_at.timestamp() == 1_700_000_000


def test_a_stream_cut_by_the_upstream_is_recorded_and_stays_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(ConnectionLost, match="reset"):
        record(path, LiveUpstream(b"half", ConnectionLost("reset")), "a")
    (response,) = responses(path)
    assert response.body == b"half"
    assert response.error is not None
    assert (response.error.code, response.error.message) == (ConnectionLost.code, "reset")


def test_a_call_that_never_connected_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(ConnectFailed):
        record(path, LiveUpstream(error=ConnectFailed("refused")), "a")
    (response,) = responses(path)
    assert response.status is None
    assert response.error is not None
    assert response.error.code == ConnectFailed.code


def test_an_error_of_the_transports_own_passes_and_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(RuntimeError, match="bug"):
        record(path, LiveUpstream(b"1", RuntimeError("bug")), "a")
    (response,) = responses(path)
    assert response.error is not None
    assert response.error.message == "RuntimeError: bug"


def read_one_chunk_and_close(path: Path, *chunks: bytes) -> tuple[RecordedResponse, LiveUpstream]:
    upstream = LiveUpstream(*chunks)

    async def run() -> None:
        recorder = Recorder(upstream, path, clock=FakeClock())
        response = await recorder.send(asked("a"))
        await anext(response.chunks())
        await response.close()
        await response.close()
        await recorder.close()

    asyncio.run(run())
    (response,) = responses(path)
    return response, upstream


def test_a_client_that_hangs_up_leaves_a_marked_interaction_and_reaches_the_upstream(tmp_path: Path) -> None:
    response, upstream = read_one_chunk_and_close(tmp_path / "x.jsonl", b"1", b"2")
    assert response.body == b"1"
    assert response.error is not None
    assert response.error.code == "closed_early"
    assert upstream.responses[0].closed


def test_a_client_that_drops_the_stream_leaves_a_marked_interaction(tmp_path: Path) -> None:
    async def run() -> None:
        recorder = Recorder(LiveUpstream(b"1", b"2"), tmp_path / "x.jsonl", clock=FakeClock())
        chunks = (await recorder.send(asked("a"))).chunks()
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        await recorder.close()

    asyncio.run(run())
    (response,) = responses(tmp_path / "x.jsonl")
    assert response.error is not None
    assert response.error.message == "The client read no further."


def test_a_client_that_stops_after_done_has_read_it_all(tmp_path: Path) -> None:
    response, _ = read_one_chunk_and_close(tmp_path / "x.jsonl", b"data: 1\n\ndata: [DONE]\n\n", b"")
    assert response.error is None


def test_what_is_open_when_the_recorder_closes_is_written(tmp_path: Path) -> None:
    upstream = LiveUpstream(b"1", b"2")

    async def run() -> None:
        recorder = Recorder(upstream, tmp_path / "x.jsonl", clock=FakeClock())
        response = await recorder.send(asked("a"))
        chunks = response.chunks()
        assert await anext(chunks) == b"1"
        await recorder.close()
        assert await anext(chunks) == b"2"

    asyncio.run(run())
    (response,) = responses(tmp_path / "x.jsonl")
    assert response.error is not None
    assert response.error.code == "closed_early"
    assert upstream.closed == 1


def test_a_cancelled_call_is_recorded_as_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(asyncio.CancelledError):
        record(path, LiveUpstream(error=asyncio.CancelledError()), "a")
    (response,) = responses(path)
    assert response.error is not None
    assert response.error.code == "closed_early"


def test_20_calls_at_once_are_20_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"

    async def run() -> None:
        recorder = Recorder(LiveUpstream(*[b"data: x\n\n"] * 50), path, clock=SystemClock())

        async def one(n: int) -> None:
            async for _ in (await recorder.send(asked({"n": n}))).chunks():
                await asyncio.sleep(0)

        await asyncio.gather(*(one(n) for n in range(20)))
        await recorder.close()

    asyncio.run(run())
    interactions = list(read(path))
    assert sorted(each.request.body for each in interactions if each.request) == sorted(
        b'{"n":%d}' % n for n in range(20)
    )
    assert all(each.response and len(each.response.chunks) == 50 for each in interactions)
    assert len({each.id for each in interactions}) == 20


def test_a_path_that_cannot_be_written_is_warned_of_once_and_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert record(tmp_path / "file" / "x.jsonl", LiveUpstream(b"1"), "a", "b") == [b"1", b"1"]
    assert len(caplog.records) == 1
    assert "calls go on unrecorded" in caplog.text


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    record(path, LiveUpstream(b"1"), "a")
    whole = path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    assert record(path, LiveUpstream(b"1"), "b") == [b"1"]
    assert path.read_bytes() == whole


def test_recording_goes_on_where_a_cassette_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    record(path, LiveUpstream(b"1"), "a")
    record(path, LiveUpstream(b"2"), "b")
    assert [each.body for each in responses(path)] == [b"1", b"2"]
    assert path.read_bytes().count(b"antiphon_cassette") == 1


@pytest.mark.parametrize("end", ["torn", "unended"])
def test_recording_goes_on_after_a_crash(tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.jsonl"
    line = encode_interaction(recorded("a", b"1"))
    path.write_bytes(encode_header() + line + (line[:-30] if end == "torn" else line[:-1]))
    with caplog.at_level(logging.WARNING):
        record(path, LiveUpstream(b"2"), "b")
    assert [each.body for each in responses(path)] == ([b"1", b"2"] if end == "torn" else [b"1", b"1", b"2"])
    assert ("torn" in caplog.text) == (end == "torn")


@pytest.mark.parametrize(
    ("content", "error"),
    [("version: 2\ninteractions: []\n", CassetteCorrupt), ('{"antiphon_cassette":"9.0"}\n', CassetteVersion)],
)
def test_nothing_is_appended_to_a_foreign_or_newer_file(tmp_path: Path, content: str, error: type[Exception]) -> None:
    path = tmp_path / "x"
    path.write_text(content)
    with pytest.raises(error):
        Recorder(LiveUpstream(), path, clock=FakeClock())
    assert path.read_text() == content


def test_secrets_are_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    headers = (("set-cookie", "c00kie"), ("x-request-id", "r-1"))
    upstream = LiveUpstream(b"wrong key sk-li", b"ve-4242", status=401, headers=headers)

    async def run() -> bytes:
        recorder = Recorder(upstream, path, clock=FakeClock(), scrub=Scrubber(["sk-live-4242"]))
        request = HttpRequest(
            method="POST",
            url="https://h/v1/x?key=sk-live-4242",
            headers=(("authorization", "Bearer sk-live-4242"), ("x-api-key", "other-key")),
            body=b'"sk-live-4242"',
        )
        body = await body_of(await recorder.send(request))
        await recorder.close()
        return body

    assert asyncio.run(run()) == b"wrong key sk-live-4242"
    written = path.read_bytes()
    assert not any(secret in written for secret in (b"4242", b"c00kie", b"other-key", b"Bearer"))
    assert b"r-1" in written


def test_an_interaction_keeps_the_id_that_the_request_names(tmp_path: Path) -> None:
    async def run() -> None:
        recorder = Recorder(LiveUpstream(), tmp_path / "x.jsonl", clock=FakeClock())
        await body_of(await recorder.send(HttpRequest(method="GET", url="u", interaction="int_7")))
        await recorder.close()

    asyncio.run(run())
    interactions: list[Interaction] = list(read(tmp_path / "x.jsonl"))
    assert [each.id for each in interactions] == ["int_7"]
