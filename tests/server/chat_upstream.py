"""A whole server over a scripted upstream that speaks Chat Completions and nothing else, both on real sockets."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openai

from antiphon.config import load_settings
from antiphon.server.serving import Server, listen
from antiphon.server.wiring import open_app


class Asked(NamedTuple):
    """A request as the upstream got it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ChatUpstream:
    """Answers every request with the next of ``answers``: bytes after the head of an HTTP response, or a whole one.

    An answer is written as it is, and the connection closed after it: so one that is cut is simply shorter.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        self.asked.append(Asked(method, target, headers, body))
        writer.write(self.answers.pop(0))
        await writer.drain()
        writer.close()


def answer(body: bytes, status: str = "200 OK", content_type: str = "text/event-stream", more: bytes = b"") -> bytes:
    """A whole HTTP response that ends with its connection."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n".encode()
    return head + more + b"\r\n" + body


def chunk(*choices: dict[str, Any], **fields: Any) -> bytes:
    """One event of a chat stream."""
    whole = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices} | fields
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def delta(index: int = 0, finish_reason: str | None = None, logprobs: Any = None, **fields: Any) -> dict[str, Any]:
    """A choice of a chunk."""
    return {"index": index, "delta": fields, "finish_reason": finish_reason, "logprobs": logprobs}


DONE = b"data: [DONE]\n\n"


class Served(NamedTuple):
    """What a test talks to."""

    client: openai.OpenAI
    upstream: ChatUpstream
    url: str

    def say(self, *chunks: bytes) -> None:
        """Script one streamed answer."""
        self.upstream.answers.append(answer(b"".join(chunks)))


@contextmanager
def served(
    data_dir: Path, *, env: dict[str, str] | None = None, toml: Path | None = None, **flags: Any
) -> Iterator[Served]:
    """A server with these settings; the client's key is ``sk-client``."""
    upstream = ChatUpstream()
    sockets = listen("127.0.0.1", 0)
    ready, loops = threading.Event(), []

    async def main() -> None:
        listening = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        settings = load_settings({"upstream": base_url, "data_dir": str(data_dir), **flags}, env or {}, toml)
        async with listening, open_app(settings) as app:
            server = Server(app, ready.set)
            loops.append(server)
            await server.serve(sockets)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(10)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-client", max_retries=0, timeout=10) as client:
            yield Served(client, upstream, url)
    finally:
        for server in loops:
            server.should_exit = True
        thread.join()
