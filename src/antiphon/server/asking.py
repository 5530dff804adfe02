"""A cassette's requests sent again, to the upstream of choice and with a key of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from antiphon.cassettes import RecordedRequest
from antiphon.cassettes.endpoints import operation
from antiphon.cassettes.refreshing import Drifted, ask_again
from antiphon.clock import SystemClock
from antiphon.providers.http import HttpTransport
from antiphon.server.serving import loop_factory
from antiphon.transport import HttpRequest

# Which header carries the key, where it is not ``authorization``.
_KEY_HEADERS = {
    "/messages": "x-api-key",
    "generateContent": "x-goog-api-key",
    "streamGenerateContent": "x-goog-api-key",
}


def refresh(
    path: Path,
    *,
    upstream: str | None = None,
    api_key: str | None = None,
    keep_words: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Drifted]:
    """Record a cassette again; see `ask_again`. Without ``upstream``, requests go where they were recorded.

    Raises:
        CassetteError: the file cannot be read, or is of another tool.
    """

    async def run() -> list[Drifted]:
        transport = HttpTransport(raw=True)
        return await ask_again(
            path,
            transport,
            clock=SystemClock(),
            prepared=lambda request: _prepared(request, upstream, api_key),
            keep_words=keep_words,
            on_progress=on_progress,
        )

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run())


def _prepared(request: RecordedRequest, upstream: str | None, api_key: str | None) -> HttpRequest:
    headers = [pair for pair in request.headers if pair[0] not in ("accept-encoding", "content-encoding")]
    headers.append(("accept-encoding", "identity"))
    if api_key:
        name = _KEY_HEADERS.get(operation(request.url), "authorization")
        headers.append((name, f"Bearer {api_key}" if name == "authorization" else api_key))
    return HttpRequest(
        method=request.method,
        url=_rebased(request.url, upstream) if upstream else request.url,
        headers=tuple(headers),
        body=request.body,
    )


def _rebased(url: str, upstream: str) -> str:
    """The same path on another upstream; what of the path the upstream's URL has already is not said twice."""
    parts, base = urlsplit(url), urlsplit(upstream.rstrip("/"))
    path = parts.path if parts.path.startswith(f"{base.path}/") else base.path + parts.path
    return f"{base.scheme}://{base.netloc}{path}" + (f"?{parts.query}" if parts.query else "")
