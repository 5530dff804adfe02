"""One request answered by an application of its own, without a socket: for tests, and to check what they will see."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from antiphon.config import Settings, load_settings
from antiphon.errors import UsageError
from antiphon.server.wiring import open_app

# How a cassette answers for an upstream, by the names of `antiphon.cassettes.Cassette`.
MODES = ("replay", "auto", "refresh")


def respond(
    request: Mapping[str, Any],
    cassette: str | Path,
    *,
    mode: str = "replay",
    upstream: str | None = None,
    upstream_api: str | None = None,
    api_key_env: str | None = None,
    match: str = "body",
    profile: str | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The answer to ``POST /v1/responses`` of a server whose upstream is a cassette; an error is an object with
    ``error``.

    Nothing outside is read or kept: no ``antiphon.toml``, and of the variables only ``api_key_env``. ``mode`` is
    ``replay``, which asks nobody, or ``auto`` or ``refresh``, which ask ``upstream``. Must not be called by async code.

    Raises:
        UsageError: there is no such mode here.
        CassetteError: the cassette cannot be read.
    """
    if mode not in MODES:
        raise UsageError(f"The mode {mode!r} does not answer from a cassette; there are: {', '.join(MODES)}.")
    with tempfile.TemporaryDirectory(prefix="antiphon-") as directory:
        nothing = Path(directory) / "antiphon.toml"
        nothing.touch()
        flags = {
            mode: str(Path(cassette).absolute()),
            "upstream": upstream,
            "upstream_api": upstream_api,
            "api_key_env": api_key_env if upstream else None,
            "match": match,
            "profile": profile,
            "data_dir": directory,
        }
        settings = load_settings(flags, env or {}, nothing)
        return asyncio.run(_answered(settings, msgspec.json.encode(request)))


async def _answered(settings: Settings, body: bytes) -> dict[str, Any]:
    pieces: list[bytes] = []
    gone = asyncio.Event()
    given = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        if (message := next(given, None)) is not None:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pieces.append(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            gone.set()

    path = "/v1/responses"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    async with open_app(settings) as app:
        await app(scope, receive, send)
    answer: dict[str, Any] = msgspec.json.decode(b"".join(pieces))
    return answer


def said(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a Response object says, without what is new in each: texts, refusals, calls with their arguments, errors."""
    shown = [_shown(item) for item in response.get("output") or ()]
    error = response.get("error")
    return [each for each in shown if each] + ([{"type": "error", "code": error.get("code")}] if error else [])


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item["type"]
    if kind == "message":
        parts = item.get("content") or ()
        return {"type": kind, "text": "".join(part.get("text") or part.get("refusal") or "" for part in parts)}
    if kind == "custom_tool_call":
        return {"type": kind, "name": item["name"], "input": item["input"]}
    if "arguments" in item:
        return {"type": kind, "name": item["name"], "arguments": _value(item["arguments"])}
    return {}


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
