"""The live transport against a real server on loopback that writes raw bytes at the test's word."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from antiphon.errors import ConnectFailed, ConnectionLost, ReadTimeout
from antiphon.providers.http import HttpTransport, _proxy_for
from antiphon.transport import HttpRequest, header

Script = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[str]:
    """A server that reads one request head and body for each connection, then does as the script says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        request = head + await reader.readexactly(length)
        try:
            await script(request, reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def transport(**options: float) -> AsyncIterator[HttpTransport]:
    http = HttpTransport(**options)
    try:
        yield http
    finally:
        await http.close()


def post(base: str, body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest(method="POST", url=f"{base}/v1/chat/completions", headers=tuple(headers.items()), body=body)


def test_chunks_arrive_one_by_one_while_the_answer_is_still_being_written() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED + chunk(b"one"))
            await go_on.wait()
            writer.write(chunk(b"two") + b"0\r\n\r\n")

        async with upstream(script) as base, transport() as http:
            response = await http.send(post(base))
            chunks = response.chunks()
            assert (response.status, header(response.headers, "content-type")) == (200, "text/event-stream")
            assert await anext(chunks) == b"one"
            go_on.set()
            assert [data async for data in chunks] == [b"two"]

    asyncio.run(main())


def test_a_request_is_sent_as_it_is_and_asks_for_unencoded_answers() -> None:
    async def main() -> None:
        seen = []

        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(request)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        async with upstream(script) as base, transport() as http:
            body = b"x" * 3_000_000  # more than aiohttp takes as bytes without a warning
            await http.send(post(base, body, authorization="Bearer k", **{"content-type": "application/json"}))
        head, _, sent = seen[0].partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert sent == body
        assert lines[0] == b"post /v1/chat/completions http/1.1"
        assert b"authorization: bearer k" in lines
        assert b"accept-encoding: identity" in lines
        assert b"content-type: application/json" in lines

    asyncio.run(main())


def test_a_cut_answer_gives_all_that_came_and_then_says_so() -> None:
    async def main() -> None:
        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED + chunk(b"data: [DONE]\n\n"))  # and closes without the terminating chunk

        async with upstream(script) as base, transport() as http:
            received = b""
            response = await http.send(post(base))
            with pytest.raises(ConnectionLost, match="ended its answer in the middle"):
                async for data in response.chunks():
                    received += data
            assert received == b"data: [DONE]\n\n"

    asyncio.run(main())


def test_a_connection_closed_before_any_answer_is_lost() -> None:
    async def main() -> None:
        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            return

        async with upstream(script) as base, transport() as http:
            with pytest.raises(ConnectionLost, match="before it answered"):
                await http.send(post(base))

    asyncio.run(main())


def test_a_refused_connection_names_the_host_and_keeps_the_key_to_itself() -> None:
    async def main() -> None:
        async with upstream(lambda *_: asyncio.sleep(0)) as base:
            pass  # now nobody listens on that port
        async with transport() as http:
            with pytest.raises(ConnectFailed) as caught:
                await http.send(post(base + "/secret-path", authorization="Bearer sk-secret"))
        assert caught.value.message == f"Cannot connect to {base}: connection refused."

    asyncio.run(main())


def test_an_address_that_is_no_url_cannot_be_connected_to() -> None:
    async def main() -> None:
        async with transport() as http:
            with pytest.raises(ConnectFailed):
                await http.send(HttpRequest(method="GET", url="ftp://example.invalid/models"))

    asyncio.run(main())


@pytest.mark.parametrize("begun", [b"", CHUNKED + chunk(b"one")])
def test_silence_is_a_read_timeout_before_and_after_the_headers(begun: bytes) -> None:
    async def main() -> None:
        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(begun)
            await reader.read()

        async with upstream(script) as base, transport(read_timeout_s=0.05) as http:
            with pytest.raises(ReadTimeout, match=r"nothing for 0\.05 s"):
                response = await http.send(post(base))
                async for data in response.chunks():
                    assert data == b"one"

    asyncio.run(main())


def test_closing_a_response_in_the_middle_lets_the_upstream_see_it_at_once() -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED + chunk(b"one"))
            assert await reader.read() == b""
            gone.set()

        async with upstream(script) as base, transport() as http:
            response = await http.send(post(base))
            assert await anext(response.chunks()) == b"one"
            await response.close()
            await response.close()  # harmless
            await asyncio.wait_for(gone.wait(), 5)

    asyncio.run(main())


def test_cancelling_a_call_that_waits_for_headers_reaches_the_upstream() -> None:
    async def main() -> None:
        asked, gone = asyncio.Event(), asyncio.Event()

        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            assert await reader.read() == b""
            gone.set()

        async with upstream(script) as base, transport() as http:
            call = asyncio.create_task(http.send(post(base)))
            await asked.wait()
            call.cancel()
            await asyncio.wait_for(gone.wait(), 5)

    asyncio.run(main())


def test_more_than_a_hundred_calls_run_at_once() -> None:
    async def main() -> None:
        everybody = asyncio.Barrier(120)

        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await everybody.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        async with upstream(script) as base, transport() as http:
            responses = await asyncio.gather(*(http.send(post(base)) for _ in range(120)))
            assert {response.status for response in responses} == {200}

    asyncio.run(main())


def test_an_answer_encoded_against_our_wish_is_decoded_and_says_so_no_more() -> None:
    async def main() -> None:
        async def script(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            body = gzip.compress(b"hello")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        async with upstream(script) as base, transport() as http:
            response = await http.send(post(base))
            assert b"".join([data async for data in response.chunks()]) == b"hello"
            assert header(response.headers, "content-encoding") is None
            assert header(response.headers, "content-length") is None

    asyncio.run(main())


def test_proxies_come_from_the_environment_and_never_stand_before_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    _proxy_for.cache_clear()
    monkeypatch.setenv("https_proxy", "http://user:pa%3As@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    try:
        proxy, headers = _proxy_for("https", "api.example.com")
        assert (proxy, headers) == (
            "http://proxy.example:3128",
            {"proxy-authorization": "Basic dXNlcjpwYTpz"},
        )
        for host in ("inside.example", "localhost", "127.0.0.1", "::1"):
            assert _proxy_for("https", host) == (None, None)
    finally:
        _proxy_for.cache_clear()
