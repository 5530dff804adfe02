"""Every recording of the corpus through the proxy, by real clients: a replay is to them what the live call was."""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import httpx
import openai
import pytest
import requests
from proxied import proxy, upstream
from test_proxy_corpus import CORPUS, KEPT, Seen, http, origin
from yarl import URL

from antiphon.cassettes import Interaction, read
from antiphon.cassettes.scrubbing import SCRUBBED_TAG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
NODE_ADVICE = "npm install --no-save openai (in the project's root, or where NODE_PATH leads)"


class Asked(NamedTuple):
    """A request, as each client can send it."""

    number: int
    method: str
    target: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {"x-number": str(self.number), "content-type": "application/json"}

    @property
    def is_sdk_like(self) -> bool:
        """Whether an SDK sends it: a JSON object, or nothing."""
        try:
            return self.method in ("GET", "POST") and (not self.body or isinstance(json.loads(self.body), dict))
        except ValueError:
            return False


def asked(interactions: Sequence[Interaction]) -> list[Asked]:
    found = []
    for number, each in enumerate(interactions):
        method, target, body = "POST", "/v1/chat/completions", b'{"number":%d}' % number
        if each.request is not None:
            parts = urlsplit(each.request.url)
            method, body = each.request.method.upper(), each.request.body
            target = f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")
        found.append(Asked(number, method, target, body))
    return found


# --- the clients -----------------------------------------------------------------------------

Ask = Callable[[str, list[Asked], Path], list[Seen]]


def with_aiohttp(url: str, requests_: list[Asked], _: Path) -> list[Seen]:
    async def main() -> list[Seen]:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            return [await one(session, each) for each in requests_]

    async def one(session: aiohttp.ClientSession, each: Asked) -> Seen:
        target = URL(url + each.target, encoded=True)
        sent = session.request(each.method, target, data=each.body or None, headers=each.headers, allow_redirects=False)
        async with sent as response:
            return Seen(response.status, _kept(response.headers), await response.read())

    return asyncio.run(main())


def with_httpx(url: str, requests_: list[Asked], _: Path) -> list[Seen]:
    with httpx.Client(timeout=30) as client:
        return [
            Seen(response.status_code, _kept(response.headers), response.content)
            for each in requests_
            for response in [client.request(each.method, url + each.target, content=each.body, headers=each.headers)]
        ]


def with_requests(url: str, requests_: list[Asked], _: Path) -> list[Seen]:
    seen = []
    for each in requests_:
        with requests.Session() as session:  # of its own, so that no cookie of one goes with the next
            response = session.request(
                each.method, url + each.target, data=each.body, headers=each.headers, allow_redirects=False, timeout=30
            )
            seen.append(Seen(response.status_code, _kept(response.headers), response.content))
    return seen


def with_openai_python(url: str, requests_: list[Asked], _: Path) -> list[Seen]:
    seen = []
    with openai.OpenAI(base_url=url, api_key="sk-0123456789abcdefghij", max_retries=0, timeout=30) as client:
        for each in requests_:
            send = {"GET": client.get, "POST": client.post}[each.method]
            more: Any = {"body": json.loads(each.body)} if each.body else {}
            try:
                options: Any = {"headers": {"x-number": str(each.number)}}
                answer = send(each.target, cast_to=openai.HttpxBinaryResponseContent, options=options, **more)
                seen.append(Seen(answer.response.status_code, _kept(answer.response.headers), answer.content))
            except openai.APIStatusError as error:
                seen.append(Seen(error.status_code, _kept(error.response.headers), error.response.content))
    return seen


def with_openai_node(url: str, requests_: list[Asked], directory: Path) -> list[Seen]:
    lines = [
        {**each._asdict(), "body": json.loads(each.body) if each.body else None, "target": each.target}
        for each in requests_
    ]
    sent, answers = directory / "requests.jsonl", directory / "answers.jsonl"
    sent.write_text("".join(json.dumps(line) + "\n" for line in lines))
    script = Path(__file__).with_name("openai_node.mjs")
    command = ["node", str(script), url, str(sent), str(answers), ",".join(KEPT)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=1500)
    return [
        Seen(status, [(name, value) for name, value in headers], base64.b64decode(body))
        for status, headers, body in map(json.loads, answers.read_text().splitlines())
    ]


def with_curl(url: str, requests_: list[Asked], directory: Path) -> list[Seen]:
    """One process for all, told by a file what to do."""
    blocks = []
    for each in requests_:
        body = directory / f"{each.number}.body"
        body.write_bytes(each.body)
        lines = [
            f'url = "{url}{quote(each.target, safe=_NOT_QUOTED)}"',  # curl sends what it is given, spaces too
            f'request = "{each.method}"',
            f'output = "{directory / f"{each.number}.out"}"',
            f'dump-header = "{directory / f"{each.number}.head"}"',
            *(f'header = "{name}: {value}"' for name, value in each.headers.items()),
            *([f'data-binary = "@{body}"'] if each.body else []),
            *(["head"] if each.method == "HEAD" else []),
            "compressed\nsilent\npath-as-is\nglobo" + "ff",
        ]
        blocks.append("\n".join(lines))
    config = directory / "config"
    config.write_text("\nnext\n".join(blocks))
    subprocess.run(["curl", "-K", str(config)], check=True, timeout=1500)
    return [_from_curl(directory, each) for each in requests_]


_NOT_QUOTED = "%/:?=&+,@!$'()*;~"


def _from_curl(directory: Path, each: Asked) -> Seen:
    head = (directory / f"{each.number}.head").read_text("latin-1").strip().splitlines()
    headers = httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:])])
    out = directory / f"{each.number}.out"
    body = out.read_bytes() if out.exists() and each.method != "HEAD" else b""
    out.unlink(missing_ok=True)
    return Seen(int(head[0].split()[1]), _kept(headers), body)


def _kept(headers: Any) -> list[tuple[str, str]]:
    return [(name, headers[name]) for name in KEPT if name in headers]


CLIENTS: dict[str, tuple[Ask, bool]] = {
    "aiohttp": (with_aiohttp, False),
    "httpx": (with_httpx, False),
    "requests": (with_requests, False),
    "curl": (with_curl, False),
    "openai-python": (with_openai_python, True),
    "openai-node": (with_openai_node, True),
}


def require(client: str) -> None:
    """Skip where a client is not there; nothing is installed by a test."""
    if client == "curl" and not shutil.which("curl"):
        pytest.skip("curl is not here")
    if client == "openai-node":
        if not shutil.which("node"):
            pytest.skip(f"node is not here. Install Node 20 or newer, then: {NODE_ADVICE}")
        found = subprocess.run(["node", "-e", 'require.resolve("openai")'], cwd=ROOT, capture_output=True)
        if found.returncode:
            pytest.skip(f"the npm package openai is not here. To install it: {NODE_ADVICE}")


@pytest.mark.parametrize("client", CLIENTS)
def test_no_client_sees_a_difference_between_live_and_replay(tmp_path: Path, client: str) -> None:
    require(client)
    if not CORPUS.exists():
        pytest.skip(f"the recordings are not here: {CORPUS}")
    ask, is_sdk = CLIENTS[client]
    interactions = list(http(sorted(path for path in CORPUS.rglob("*") if path.is_file())))
    sent = [each for each in asked(interactions) if each.is_sdk_like or not is_sdk]
    cassette = tmp_path / "c.jsonl"

    async def main() -> tuple[list[Seen], list[Seen], list[str]]:
        async with upstream(origin(interactions)) as base, proxy("record", cassette, base) as (url, _):
            live = await asyncio.to_thread(ask, url, sent, tmp_path)
        async with proxy("replay", cassette) as (url, report):
            return live, await asyncio.to_thread(ask, url, sent, tmp_path), report

    live, replayed, report = asyncio.run(main())
    kept = list(read(cassette))  # in the order of the requests, which came one after the other
    assert not broken(interactions, sent, live, is_sdk)
    assert len(kept) == len(live) == len(replayed) == len(sent)
    assert report == []
    different = [index for index, pair in enumerate(zip(live, replayed, strict=True)) if pair[0] != pair[1]]
    unmarked = [sent[index] for index in different if SCRUBBED_TAG not in kept[index].tags]
    reasons = collections.Counter(kept[index].tags.get(SCRUBBED_TAG, "none") for index in different)
    print(f"{client}: {len(sent)} interactions, {len(different)} different: {dict(reasons)}")  # noqa: T201
    assert unmarked == []


def broken(
    interactions: Sequence[Interaction], sent: Sequence[Asked], live: Sequence[Seen], is_sdk: bool
) -> list[Asked]:
    """Those whose live answer was not what the origin gave: then nothing was shown by a replay that is the same."""
    found = []
    for each, seen in zip(sent, live, strict=True):
        response = interactions[each.number].response
        assert response is not None
        has_body = seen.status not in (204, 304) and each.method != "HEAD" and not (is_sdk and seen.status >= 300)
        if seen.status != (response.status or 200) or (has_body and seen.body != response.body):
            found.append(each)
    return found
