"""A client for tests that speaks ASGI to an application directly, and can leave in the middle."""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote


class Reply(NamedTuple):
    """What the application sent; ``writes`` are the body's pieces, ``ended`` says whether the last one came."""

    status: int
    headers: dict[str, str]
    writes: list[bytes]
    ended: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


def events_of(reply: Reply) -> list[dict[str, Any]]:
    """The events of a stream of the Responses API, which has to be whole."""
    frames = reply.body.decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    return [json.loads(frame.partition("data: ")[2]) for frame in frames[:-2]]


async def ask(
    app: Any,
    method: str,
    path: str,
    body: bytes | dict[str, Any] | list[bytes] = b"",
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    leave: asyncio.Event | None = None,
) -> Reply:
    """Send a request; with ``leave``, be gone when that is set. A list as body is sent in those pieces.

    As with every server, the application hears of a disconnect as soon as its answer is complete.
    """
    gone = leave or asyncio.Event()
    pieces = body if isinstance(body, list) else [json.dumps(body).encode() if isinstance(body, dict) else body]
    sent = {"authorization": f"Bearer {key}"} if key else {}
    sent |= headers or {}
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    status, reply_headers, writes, ended = 0, {}, [], False

    async def receive() -> dict[str, Any]:
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, ended
        assert not ended, "something was sent after the end"
        if message["type"] == "http.response.start":
            assert not status, "the answer began twice"
            status = message["status"]
            reply_headers.update({name.decode(): value.decode() for name, value in message["headers"]})
            return
        assert status, "a body came before its status"
        writes.append(message["body"])
        ended = not message.get("more_body", False)
        if ended:
            gone.set()

    await app(scope, receive, send)
    return Reply(status, reply_headers, writes, ended)


async def send_form(app: Any, path: str, fields: dict[str, str], *, key: str | None = None) -> Reply:
    """Send a form; the fields ``file`` and ``data`` are files."""
    parts = []
    for name, value in fields.items():
        filename = f'; filename="{name}.txt"' if name in ("file", "data") else ""
        parts.append(f'--b\r\ncontent-disposition: form-data; name="{name}"{filename}\r\n\r\n{value}\r\n')
    body = "".join([*parts, "--b--\r\n"]).encode()
    return await ask(app, "POST", path, body, key=key, headers={"content-type": "multipart/form-data; boundary=b"})
