"""Recordings of others, served by an upstream, recorded through the proxy and replayed: no client sees a difference."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import brotli
import pytest
from aiohttp import web
from proxied import Handler, proxy, upstream
from yarl import URL

from antiphon.cassettes import Interaction, read
from antiphon.cassettes.encodings import zstd
from antiphon.cassettes.scrubbing import SCRUBBED_TAG
from antiphon.errors import CassetteError

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
ENCODERS = {"": bytes, "gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress, "deflate": zlib.compress}
TAKEN = ", ".join(filter(None, ENCODERS))

# Headers that end at a connection, that the client of this test cannot tell, or that the upstream of it sets itself.
NOT_SERVED = {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "date", "server"}
KEPT = ("content-type", "x-request-id", "request-id", "retry-after", "mcp-session-id", "location")


class Seen(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def http(paths: Sequence[Path]) -> Iterator[Interaction]:
    """Every HTTP interaction of these recordings that can be read."""
    for path in paths:
        try:
            yield from (each for each in read(path) if each.kind == "http" and each.response)
        except CassetteError:
            continue  # of something else than HTTP; tests/cassettes counts them


def origin(interactions: Sequence[Interaction]) -> Handler:
    """Answers the request that names an interaction by its number, in turn in each encoding that the client takes."""

    async def handler(request: web.Request) -> web.StreamResponse:
        number = int(request.headers["x-number"])
        recorded = interactions[number].response
        assert recorded is not None
        taken = ["", *(name for name in ENCODERS if name and name in request.headers.get("accept-encoding", ""))]
        encoding = taken[number % len(taken)] if recorded.body else ""
        response = web.StreamResponse(status=recorded.status or 200)
        response.headers.extend((name, value) for name, value in recorded.headers if name not in NOT_SERVED)
        pieces = [chunk.data for chunk in recorded.chunks]
        if encoding:
            whole = ENCODERS[encoding](b"".join(pieces))
            pieces = [whole[:100], whole[100:]]
            response.headers["content-encoding"] = encoding
        await response.prepare(request)
        for piece in pieces if response.status not in (204, 304) and request.method != "HEAD" else ():
            await response.write(piece)
        await response.write_eof()
        return response

    return handler


async def ask_all(url: str, interactions: Sequence[Interaction]) -> list[Seen]:
    seen = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for number, each in enumerate(interactions):
            method, target, body = "POST", "/v1/chat/completions", b'{"number":%d}' % number
            if each.request is not None:
                parts = urlsplit(each.request.url)
                method, body = each.request.method, each.request.body
                target = f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")
            async with session.request(
                method,
                URL(url + target, encoded=True),
                data=body or None,
                headers={"x-number": str(number), "content-type": "application/json", "accept-encoding": TAKEN},
                allow_redirects=False,
            ) as response:
                headers = [(name, response.headers[name]) for name in KEPT if name in response.headers]
                seen.append(Seen(response.status, headers, await response.read()))
    return seen


def round_trip(interactions: Sequence[Interaction], cassette: Path) -> list[int]:
    """The numbers of the interactions whose replay is not as it was live, and that nothing was scrubbed from."""

    async def main() -> list[int]:
        async with upstream(origin(interactions)) as base, proxy("record", cassette, base) as (url, _):
            live = await ask_all(url, interactions)
        assert [seen.body for seen in live] == [
            b"" if seen.status in (204, 304) else each.response.body  # type: ignore[union-attr]
            for seen, each in zip(live, interactions, strict=True)
        ]
        async with proxy("replay", cassette) as (url, report):
            replayed = await ask_all(url, interactions)
        assert report == []
        kept = read(cassette)  # in the order of the requests, which came one after the other
        return [
            number
            for number, (a, b, each) in enumerate(zip(live, replayed, kept, strict=True))
            if a != b and SCRUBBED_TAG not in each.tags
        ]

    return asyncio.run(main())


def test_the_seed_recordings_pass_the_proxy_and_come_back_the_same(tmp_path: Path) -> None:
    if not CORPUS.exists():
        pytest.skip(f"the recordings are not here: {CORPUS}")
    interactions = list(http(sorted(path for path in (CORPUS / "seeds").rglob("*") if path.is_file())))
    assert len(interactions) > 10
    assert round_trip(interactions, tmp_path / "c.jsonl") == []
