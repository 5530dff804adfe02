"""aiohttp and requests against a small server of their own: what they see live, they see replayed."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
import requests
from openai import DefaultHttpxClient, OpenAI

from antiphon.cassettes import Cassette, read
from antiphon.errors import CassetteMismatch

LONG = b'{"text":"' + b"long " * 500 + b'"}'


class Handler(BaseHTTPRequestHandler):
    """``/json``, ``/gzip``, ``/stream`` (three HTTP chunks), ``/status`` (429), ``/cut`` (a body that ends early)."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None: ...

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/stream":
            self._head(200, "text/event-stream", ("transfer-encoding", "chunked"))
            for number in range(3):
                data = b"data: %d %s\n\n" % (number, asked)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
            return
        body = gzip.compress(LONG) if self.path == "/gzip" else b'{"asked":%s}' % asked
        status = 429 if self.path == "/status" else 200
        length = len(body) + (10 if self.path == "/cut" else 0)
        more = [("content-encoding", "gzip")] if self.path == "/gzip" else []
        self._head(status, "application/json", ("content-length", str(length)), ("retry-after", "7"), *more)
        self.wfile.write(body)
        self.close_connection = self.path == "/cut"

    def _head(self, status: int, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("content-type", kind), ("x-request-id", "r-1"), *headers):
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


PATHS = ["/json", "/gzip", "/stream", "/status"]


# --- requests ---------------------------------------------------------------------------------


def seen_by_requests(cassette: Cassette, url: str, **options: Any) -> Any:
    with cassette.requests_session() as session:
        response = session.post(url, json={"a": 1}, **options)
        body = b"".join(response.iter_content(100)) if options.get("stream") else response.content
        return response.status_code, response.reason, response.headers["x-request-id"], body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("options", [{}, {"stream": True}], ids=["whole", "stream"])
def test_requests_sees_no_difference(tmp_path: Path, origin: str, path: str, options: dict[str, bool]) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        live = seen_by_requests(cassette, origin + path, **options)
    with Cassette(tmp_path / "x.jsonl") as cassette:
        assert seen_by_requests(cassette, origin + path, **options) == live
    [interaction] = read(tmp_path / "x.jsonl")
    assert interaction.response
    assert interaction.response.body == live[-1]
    assert interaction.response.error is None


def test_requests_gets_the_chunks_one_by_one(tmp_path: Path, origin: str) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette, cassette.requests_session() as session:
        live = list(session.post(f"{origin}/stream", data=b"x", stream=True).iter_content(None))
    with Cassette(tmp_path / "x.jsonl") as cassette, cassette.requests_session() as session:
        assert list(session.post(f"{origin}/stream", data=b"x", stream=True).iter_content(None)) == live
    assert len(live) == 3


def test_requests_reads_raw_bytes(tmp_path: Path, origin: str) -> None:
    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette, cassette.requests_session() as session:  # type: ignore[arg-type]
            raw = session.post(f"{origin}/gzip", data=iter([b"a", b"b"]), stream=True).raw
            found = raw.read(decode_content=False)
        assert (gzip.decompress(found) if mode == "record" else found) == LONG


@pytest.mark.parametrize("kind", [requests.ConnectionError, requests.exceptions.ChunkedEncodingError])
def test_requests_fails_again(tmp_path: Path, origin: str, kind: type[Exception]) -> None:
    url = "http://127.0.0.1:1/" if kind is requests.ConnectionError else f"{origin}/cut"

    def run(cassette: Cassette) -> None:
        with cassette.requests_session() as session, pytest.raises(kind):
            session.post(url, data=b"1")

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            run(cassette)


# --- openai -----------------------------------------------------------------------------------


def test_the_openai_sdk_sees_no_difference(tmp_path: Path) -> None:
    """As docs/testing.md shows it."""
    events = b"".join(
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]}\n\n' % choice
        for choice in (
            b'{"index":0,"delta":{"role":"assistant","content":"Li"}}',
            b'{"index":0,"delta":{"content":"ma"},"finish_reason":"stop"}',
        )
    )
    stream = httpx2.ByteStream(events + b"data: [DONE]\n\n")
    live = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)
    )

    def said(cassette: Cassette) -> list[str | None]:
        http_client = DefaultHttpxClient(transport=cassette.httpx2_transport(live))
        with OpenAI(api_key="unused", base_url="https://api.example.com/v1", http_client=http_client) as client:
            messages: Any = [{"role": "user", "content": "Capital of Peru?"}]
            chunks = client.chat.completions.create(model="m", messages=messages, stream=True)
            return [chunk.choices[0].delta.content for chunk in chunks]

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            assert said(cassette) == ["Li", "ma"]


# --- aiohttp ----------------------------------------------------------------------------------


async def seen_by_aiohttp(cassette: Cassette, url: str, how: str) -> Any:
    session = aiohttp.ClientSession(middlewares=[cassette.aiohttp_middleware()])
    async with session, session.post(url, json={"a": 1}) as response:
        match how:
            case "read":
                body = await response.read()
            case "iter_any":
                body = b"".join([data async for data in response.content.iter_any()])
            case "iter_chunked":
                body = b"".join([data async for data in response.content.iter_chunked(7)])
            case "iter_chunks":
                body = b"".join([data async for data, _ in response.content.iter_chunks()])
            case _:
                body = b"".join([line async for line in response.content])
        return response.status, response.reason, response.headers["x-request-id"], response.content_type, body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("how", ["read", "iter_any", "iter_chunked", "iter_chunks", "lines"])
def test_aiohttp_sees_no_difference(tmp_path: Path, origin: str, path: str, how: str) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        live = asyncio.run(seen_by_aiohttp(cassette, origin + path, how))
    with Cassette(tmp_path / "x.jsonl") as cassette:
        assert asyncio.run(seen_by_aiohttp(cassette, origin + path, how)) == live
    [interaction] = read(tmp_path / "x.jsonl")
    assert interaction.response
    assert interaction.response.body == live[-1]
    assert interaction.response.error is None


def test_aiohttp_that_reads_no_further_leaves_a_marked_interaction(tmp_path: Path, origin: str) -> None:
    async def run(cassette: Cassette) -> None:
        session = aiohttp.ClientSession(middlewares=[cassette.aiohttp_middleware()])
        async with session, session.post(f"{origin}/cut", data=b"1") as response:
            await response.content.read(3)

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            asyncio.run(run(cassette))
    [interaction] = read(tmp_path / "x.jsonl")
    assert interaction.response
    assert interaction.response.error


@pytest.mark.parametrize("kind", [aiohttp.ClientConnectionError, aiohttp.ClientPayloadError])
def test_aiohttp_fails_again(tmp_path: Path, origin: str, kind: type[Exception]) -> None:
    url = "http://127.0.0.1:1/" if kind is aiohttp.ClientConnectionError else f"{origin}/cut"

    async def run(cassette: Cassette) -> None:
        session = aiohttp.ClientSession(middlewares=[cassette.aiohttp_middleware()])
        with pytest.raises(kind):
            async with session, session.post(url, data=b"1") as response:
                await response.read()

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            asyncio.run(run(cassette))


def test_50_aiohttp_requests_at_once_get_their_own_answers(tmp_path: Path, origin: str) -> None:
    async def run(cassette: Cassette, count: int) -> list[bytes]:
        connector = aiohttp.TCPConnector(limit=8)
        middlewares = [cassette.aiohttp_middleware()]

        async def ask(session: aiohttp.ClientSession, number: int) -> bytes:
            async with session.post(f"{origin}/json", json=number) as response:
                return await response.read()

        async with aiohttp.ClientSession(connector=connector, middlewares=middlewares) as session:
            return await asyncio.gather(*[ask(session, number) for number in range(count)])

    expected = [b'{"asked":%d}' % number for number in range(50)]
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        assert asyncio.run(run(cassette, 50)) == expected
    with Cassette(tmp_path / "x.jsonl") as cassette:
        assert asyncio.run(run(cassette, 50)) == expected


def test_a_miss_reaches_whoever_asked(tmp_path: Path, origin: str) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        seen_by_requests(cassette, f"{origin}/json")
    with Cassette(tmp_path / "x.jsonl", allow_unplayed=True) as cassette:
        with pytest.raises(CassetteMismatch):
            seen_by_requests(cassette, f"{origin}/gzip")
        with pytest.raises(CassetteMismatch):
            asyncio.run(seen_by_aiohttp(cassette, f"{origin}/gzip", "read"))
        cassette.misses.clear()
