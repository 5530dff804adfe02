"""The proxy between real clients and real sockets: it relays what it records, and replays what it relayed."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import aiohttp
import brotli
import msgspec
import openai
import pytest
from aiohttp import web
from proxied import proxy, streamed, upstream

from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse, read
from antiphon.cassettes.encodings import zstd
from antiphon.cassettes.format import encode_header, encode_interaction
from antiphon.errors import CassetteError
from antiphon.server.proxy import Proxy
from antiphon.server.proxying import ProxySettings, open_proxy

VECTORS = Path(__file__).parents[1] / "cassettes" / "vectors"
SECRET = "sk-live-0123456789abcdef"
TEXT = b'{"says":"gr\xc3\xbc\xc3\x9fe"}' * 50
ENCODED = {"gzip": gzip.compress(TEXT), "br": brotli.compress(TEXT), "zstd": zstd.compress(TEXT)}


async def raw(method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """What a client gets that decodes nothing."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, url, data=body or None, headers=headers, allow_redirects=False) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, headers, await response.read()


def chat(*pieces: str) -> list[bytes]:
    start = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    return [
        *(start + b'{"content":"%s"},"finish_reason":null}]}\n\n' % piece.encode() for piece in pieces),
        start + b'{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]


def only(path: Path) -> Interaction:
    (found,) = read(path)
    return found


# --- relaying --------------------------------------------------------------------------------


def test_what_the_upstream_sees_is_what_the_client_sent(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, request.headers, await request.read()))
        return web.Response(status=207, headers={"x-odd": "a", "connection": "close, x-mine", "x-mine": "1"})

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", f"/p={base}/base") as (url, _):
            target = aiohttp.client.URL(f"{url}/p/a%2Fb/%C3%A9?x=1&x=%20", encoded=True)
            async with (
                aiohttp.ClientSession() as session,
                session.put(target, data=b"\x00\xff", headers={"authorization": SECRET, "te": "trailers"}) as response,
            ):
                assert response.status == 207
                assert response.headers["x-odd"] == "a"
                assert "x-mine" not in response.headers

    asyncio.run(main())
    method, path, headers, body = seen[0]
    assert (method, path, body) == ("PUT", "/base/a%2Fb/%C3%A9?x=1&x=%20", b"\x00\xff")
    assert headers["authorization"] == SECRET
    assert "te" not in headers
    assert headers["user-agent"].startswith("Python")
    assert SECRET.encode() not in (tmp_path / "c.jsonl").read_bytes()
    assert only(tmp_path / "c.jsonl").request.body == b"\x00\xff"  # type: ignore[union-attr]


def test_chunks_arrive_while_the_answer_is_still_coming(tmp_path: Path) -> None:
    async def main() -> None:
        heard = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: 1\n\n")
            await heard.wait()  # would wait for ever behind a proxy that buffers
            await response.write(b"data: 2\n\n")
            return response

        async with (
            upstream(handler) as base,
            proxy("record", tmp_path / "c.jsonl", base) as (url, _),
            aiohttp.ClientSession() as session,
            session.post(url) as response,
        ):
            assert await response.content.readany() == b"data: 1\n\n"
            heard.set()
            assert await response.content.read() == b"data: 2\n\n"

    asyncio.run(main())
    assert [chunk.data for chunk in only(tmp_path / "c.jsonl").response.chunks] == [b"data: 1\n\n", b"data: 2\n\n"]  # type: ignore[union-attr]


@pytest.mark.parametrize("encoding", ENCODED)
def test_encoded_bodies_pass_untouched_and_are_recorded_readable(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.jsonl"

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["content-encoding"] == "zstd"
        assert await request.read() == TEXT  # aiohttp decodes it
        body = ENCODED[encoding]
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return await streamed(request, body[:7], body[7:], **headers)

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", path, base) as (url, _):
            _, headers, body = await raw("POST", f"{url}/v1/x", ENCODED["zstd"], **{"content-encoding": "zstd"})
            assert (headers["content-encoding"], body) == (encoding, ENCODED[encoding])
        async with proxy("replay", path) as (url, _):  # a client that compresses or not asks for the same
            _, headers, body = await raw("POST", f"{url}/v1/x", TEXT)
            assert ("content-encoding" in headers, body) == (False, TEXT)

    asyncio.run(main())
    assert "says" in path.read_text()
    found = only(path)
    assert found.request is not None
    assert found.response is not None
    assert (found.request.body, found.request.content_encoding) == (TEXT, "zstd")
    assert (found.response.body, found.response.content_encoding) == (TEXT, encoding)


def test_a_body_that_cannot_be_decoded_is_kept_and_replayed_as_it_is(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await streamed(request, b"\x00not gzip", **{"content-encoding": "gzip"})

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            live = await raw("GET", f"{url}/v1/x")
        async with proxy("replay", tmp_path / "c.jsonl") as (url, _):
            replayed = await raw("GET", f"{url}/v1/x")
        assert replayed[2] == live[2] == b"\x00not gzip"
        assert replayed[1]["content-encoding"] == "gzip"

    asyncio.run(main())


def test_a_client_that_hangs_up_ends_the_call_and_leaves_a_marked_interaction(tmp_path: Path) -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x")
                    await asyncio.sleep(0.005)
            except ConnectionError:
                gone.set()
                raise

        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                await response.content.readany()
            await asyncio.wait_for(gone.wait(), 5)

    asyncio.run(main())
    response = only(tmp_path / "c.jsonl").response
    assert response is not None
    assert response.error is not None
    assert response.error.code == "closed_early"
    assert response.chunks


def test_an_upstream_that_cuts_its_answer_is_cut_for_the_client_live_and_replayed(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        assert request.transport is not None
        await asyncio.sleep(0.02)
        request.transport.abort()
        return response

    async def cut(url: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/x") as response:
            first = await response.content.readany()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()
            return first

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            assert await cut(url) == b"data: 1\n\n"
        async with proxy("replay", tmp_path / "c.jsonl") as (url, _):
            assert await cut(url) == b"data: 1\n\n"

    asyncio.run(main())


def test_an_upstream_that_is_not_there_is_an_answer_that_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with proxy("record", tmp_path / "c.jsonl", "http://127.0.0.1:9") as (url, _):
            status, _, body = await raw("GET", f"{url}/v1/models")
            assert (status, b"127.0.0.1:9" in body) == (502, True)

    asyncio.run(main())


def test_a_recorder_that_cannot_write_does_not_touch_the_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.Response(text="fine")

        cassette = tmp_path / "dir" / "c.jsonl"
        async with upstream(handler) as base, proxy("record", cassette, base) as (url, _):
            (tmp_path / "dir").write_text("in the way")
            assert (await raw("GET", url))[2] == b"fine"
        assert "unrecorded" in caplog.text

    asyncio.run(main())


def test_upstreams_are_chosen_by_prefix_or_host_and_replayed_at_the_same_path(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"

    def named(name: str) -> Any:
        async def handler(request: web.Request) -> web.Response:
            return web.Response(text=f"{name} {request.raw_path}")

        return handler

    async def answers(url: str) -> list[bytes]:
        asked = [("/a/v1/files", "x"), ("/v1/files", "x"), ("/v1/files?q=1", "b.example:80"), ("/ab", "x")]
        return [(await raw("GET", f"{url}{target}", host=host))[2] for target, host in asked]

    async def main() -> None:
        async with (
            upstream(named("a")) as a,
            upstream(named("b")) as b,
            upstream(named("rest")) as rest,
            proxy("record", path, f"/a={a}", f"b.example={b}", f"/={rest}") as (url, _),
        ):
            live = await answers(url)
        assert live == [b"a /v1/files", b"rest /v1/files", b"b /v1/files?q=1", b"rest /ab"]
        async with proxy("replay", path) as (url, report):
            assert await answers(url) == live
        assert report == []

    asyncio.run(main())


def test_the_keys_that_a_client_sends_are_nowhere_in_the_cassette(tmp_path: Path) -> None:
    path, cookie, goog = tmp_path / "c.jsonl", "c00kie-0123456789", "AIza-query-and-header"

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade"):
            socket = web.WebSocketResponse(protocols=["realtime"])
            await socket.prepare(request)
            await socket.send_str(f"hello {SECRET}")
            await socket.receive()
            return socket
        said = f"you are {SECRET}, {cookie}, {goog}".encode()
        headers = {"content-encoding": "gzip", "set-cookie": f"s={cookie}", "x-request-id": SECRET}
        return await streamed(request, gzip.compress(said), **headers)

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", path, base) as (url, _):
            sent = {"authorization": f"Bearer {SECRET}", "cookie": f"a=b; s={cookie}", "x-goog-api-key": goog}
            await raw("POST", f"{url}/v1/x?key={goog}", SECRET.encode(), **sent)
            protocols = ["realtime", f"openai-insecure-api-key.{SECRET}"]
            async with (
                aiohttp.ClientSession(headers={"authorization": f"Bearer {SECRET}"}) as session,
                session.ws_connect(f"{url}/v1/realtime", protocols=protocols) as socket,
            ):
                assert (await socket.receive()).data == f"hello {SECRET}"

    asyncio.run(main())
    written = path.read_text()
    assert "you are [scrubbed" in written
    assert [secret for secret in (SECRET, cookie, goog) if secret in written] == []


# --- replaying -------------------------------------------------------------------------------


def test_a_replay_says_what_was_never_asked_for_and_refuses_what_was_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", path, base) as (url, _):
            await raw("GET", f"{url}/v1/one")
            await raw("GET", f"{url}/v1/two")
        async with proxy("replay", path) as (url, report):
            assert (await raw("GET", f"{url}/v1/two"))[2] == b"/v1/two"
            status, _, body = await raw("GET", f"{url}/v1/three")
            assert (status, f"antiphon record --auto --upstream /={base}".encode() in body) == (422, True)
        assert report == ["replay: interaction 0 was never asked for: GET /v1/one"]

    asyncio.run(main())


@pytest.mark.parametrize("vector", sorted(VECTORS.glob("bad-*.jsonl")), ids=lambda path: path.stem)
def test_a_broken_cassette_is_told_with_file_and_line_before_anything_is_answered(vector: Path) -> None:
    async def main() -> None:
        async with open_proxy(ProxySettings(mode="replay", cassette=vector)):
            pass

    with pytest.raises(CassetteError, match=rf"{re.escape(str(vector))}(:\d+)?: "):
        asyncio.run(main())


def test_a_long_cassette_is_replayed_without_being_held_in_memory(tmp_path: Path) -> None:
    path, size = tmp_path / "c.jsonl", 20_000
    answer = RecordedResponse(status=200, chunks=(Chunk(0, b"x" * size),))
    with path.open("wb") as file:
        file.write(encode_header())
        for n in range(500):
            request = RecordedRequest(method="POST", url="http://h/v1/x", body=b"%d" % n)
            file.write(encode_interaction(Interaction(id=str(n), request=request, response=answer)))

    async def main() -> None:
        tracemalloc.start()
        try:
            async with open_proxy(ProxySettings(mode="replay", cassette=path)) as opened:
                assert tracemalloc.get_traced_memory()[1] < 50 * size  # of 500 that are in the file
                assert isinstance(opened.proxy, Proxy)
        finally:
            tracemalloc.stop()
        assert len(opened.unplayed) == 500
        assert opened.report[0] == "replay: interaction 0 was never asked for: POST /v1/x"

    asyncio.run(main())


def test_many_clients_in_any_order_each_get_their_own_answers(tmp_path: Path) -> None:
    path, count = tmp_path / "c.jsonl", 500
    one = Interaction(id="0", response=RecordedResponse(status=200))
    with path.open("wb") as file:
        file.write(encode_header())
        for number in range(count * 2):
            request = RecordedRequest(method="POST", url="http://x/v1/x", body=b"%d" % (number % count))
            response = RecordedResponse(status=200, chunks=(Chunk(0.0, b"%d" % number),))
            file.write(encode_interaction(msgspec.structs.replace(one, request=request, response=response)))

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=count)
        async with proxy("replay", path) as (url, report), aiohttp.ClientSession(connector=connector) as session:

            async def twice(number: int) -> None:
                for answer in (number, number + count):
                    async with session.post(f"{url}/v1/x", data=b"%d" % number) as response:
                        assert await response.read() == b"%d" % answer

            numbers = random.Random(0).sample(range(count), count)
            await asyncio.gather(*map(twice, numbers))
        assert report == []

    asyncio.run(main())


def test_auto_asks_the_upstream_only_for_what_is_missing(tmp_path: Path) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=request.path)

    async def main() -> None:
        async with upstream(handler) as base:
            for paths in (["/v1/a", "/v1/b"], ["/v1/b", "/v1/c", "/v1/a"], ["/v1/a", "/v1/b", "/v1/c"]):
                async with proxy("auto", tmp_path / "c.jsonl", base) as (url, _):
                    for path in paths:
                        assert (await raw("GET", f"{url}{path}"))[2] == path.encode()

    asyncio.run(main())
    assert asked == ["/v1/a", "/v1/b", "/v1/c"]


def test_refresh_replaces_what_changed_and_keeps_the_bytes_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    answers = {"/v1/a": '{"n":1,"id":"x"}', "/v1/b": '{"n":1}'}

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=answers[request.path], content_type="application/json")

    async def main() -> list[str]:
        async with upstream(handler) as base:
            async with proxy("record", path, base) as (url, _):
                for target in answers:
                    await raw("GET", url + target)
            answers.update({"/v1/a": '{"n":1,"id":"y"}', "/v1/b": '{"n":"one"}', "/v1/c": "{}"})
            before = path.read_bytes().splitlines()
            async with proxy("refresh", path, base) as (url, report):
                for target in answers:
                    await raw("GET", url + target)
        after = path.read_bytes().splitlines()
        assert before[1] == after[1]
        assert [each.response.body for each in read(path)][1:] == [b'{"n":"one"}', b"{}"]  # type: ignore[union-attr]
        return report

    same, shape, missing = asyncio.run(main())
    assert "0 (/v1/a) is as it was" in same
    assert "1 (/v1/b) has another shape" in shape
    assert '$.n: recorded "number", sent "string"' in shape
    assert "missing: /v1/c" in missing
    assert [file.name for file in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_subscription_that_the_client_left_stays_open_until_it_leaves_again(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "mcp-session-id": "s1"})
        await response.prepare(request)
        await response.write(b": hello\n\n")
        await asyncio.sleep(60)
        return response

    async def listen(url: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/mcp") as response:
            assert await response.content.readany() == b": hello\n\n"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.05)
            return response.headers["mcp-session-id"]

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            await listen(url)
        async with proxy("replay", tmp_path / "c.jsonl") as (url, _):
            assert await listen(url) == "s1"

    asyncio.run(main())


# --- clients ---------------------------------------------------------------------------------


def test_openai_python_sees_no_difference_between_live_and_replay(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/models"):
            return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return await streamed(request, *chat("hel", "lo"), **{"x-request-id": "req_1"})

    async def use(url: str) -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=SECRET, max_retries=0) as client:
            models = [model.id async for model in await client.models.list()]
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            chunks = [chunk.model_dump() async for chunk in stream]
            return [models, chunks, stream.response.headers["x-request-id"], stream.response.headers["date"]]

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            live = await use(url)
        async with proxy("replay", tmp_path / "c.jsonl") as (url, report):
            assert await use(url) == live
        assert report == []

    asyncio.run(main())


def test_curl_sees_no_difference_between_live_and_replay(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        return await streamed(request, *chat("hel", "lo"))

    async def curl(url: str) -> str:
        command = ["curl", "-sN", "-w", "%{http_code} %{content_type}", f"{url}/v1/chat/completions", "-d", "{}"]
        return await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True).stdout)

    async def main() -> None:
        async with upstream(handler) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            live = await curl(url)
        async with proxy("replay", tmp_path / "c.jsonl") as (url, _):
            assert await curl(url) == live
        assert live.endswith("[DONE]\n\n200 text/event-stream")

    asyncio.run(main())


# --- WebSocket -------------------------------------------------------------------------------


async def echo(request: web.Request) -> web.StreamResponse:
    """Greets, then answers text in capitals and bytes reversed."""
    if request.headers.get("authorization") != "me":
        return web.Response(status=401)
    socket = web.WebSocketResponse(protocols=["realtime"])
    await socket.prepare(request)
    await socket.send_str('{"type":"session.created"}')
    async for message in socket:
        if message.data == "end":
            await socket.close(code=4001, message=b"done")
        elif isinstance(message.data, str):
            await socket.send_str(message.data.upper())
        else:
            await socket.send_bytes(message.data[::-1])
    return socket


async def talk(url: str, *messages: str | bytes, key: str = "me") -> list[Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/v1/realtime", protocols=["realtime"], headers={"authorization": key}) as socket,
    ):
        heard: list[Any] = [socket.protocol, (await socket.receive()).data]
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
            answer = await socket.receive()
            heard.append((answer.data, answer.extra))
        return heard


def test_a_websocket_is_relayed_recorded_and_replayed_frame_by_frame(tmp_path: Path) -> None:
    async def main() -> None:
        messages = ("hi", b"abc", "end")
        async with upstream(echo) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            live = await talk(url, *messages)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await talk(url, key="you")
        assert live[0] == "realtime"
        assert live[2:] == [("HI", ""), (b"cba", None), (4001, "done")] or live[-1] == (4001, "done")
        async with proxy("replay", tmp_path / "c.jsonl") as (url, report):
            assert await talk(url, *messages) == live
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await talk(url)
        assert report == []

    asyncio.run(main())
    frames = next(read(tmp_path / "c.jsonl")).websocket
    assert frames is not None
    assert [frame.sender for frame in frames.frames] == ["server", "client", "server", "client", "server", "client"]
    assert frames.closed_by == "server"


def test_a_websocket_message_that_was_not_recorded_ends_it_and_says_where_it_differs(tmp_path: Path) -> None:
    async def main() -> None:
        async with upstream(echo) as base, proxy("record", tmp_path / "c.jsonl", base) as (url, _):
            await talk(url, '{"n": 1}')
        async with proxy("replay", tmp_path / "c.jsonl") as (url, _):
            heard = await talk(url, '{"n": 2}')
        assert heard[-1] == (1011, "not recorded: $.n: recorded 1, sent 2")

    asyncio.run(main())
