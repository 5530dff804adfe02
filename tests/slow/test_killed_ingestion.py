"""A real server is killed while it indexes a thousand files, again and again: each is indexed once, or has failed."""

import asyncio
import contextlib
import logging
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from launched import launch

from antiphon.retrieval.index import Index

FILES = 1000
BAD_EVERY = 50
KILLS = 8

log = logging.getLogger(__name__)


def text_of(number: int) -> bytes:
    """A file with a word that no other has; some hold junk."""
    if number % BAD_EVERY == 7:
        return bytes(range(256)) * 4
    return f"# Page {number}\n\nThe word of this page is zq{number:05d}x, and it is about tea.\n".encode()


@contextlib.asynccontextmanager
async def embedding_upstream() -> AsyncIterator[str]:
    """A server that embeds: a vector is made of the first letters of a text."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        data = [
            {"index": n, "embedding": [float(ord(letter)) for letter in text[:8].ljust(8)]}
            for n, text in enumerate(body["input"])
        ]
        return web.json_response({"object": "list", "data": data})

    app = web.Application()
    app.router.add_post("/v1/embeddings", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


class Process:
    """`antiphon serve` over the same data, again and again."""

    def __init__(self, upstream: str, directory: Path) -> None:
        toml = directory / "antiphon.toml"
        toml.write_text(f'[upstreams.u]\nbase_url = "{upstream}"\n\n[retrieval]\nembeddings = "u/letters"\n')
        self._arguments = [sys.executable, "-m", "antiphon", "serve", "--port", "0", "--config", str(toml)]
        self._arguments += ["--data-dir", str(directory / "data")]

    async def start(self) -> None:
        self._process, self.url = await launch(*self._arguments)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        await self._process.wait()


class Client:
    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._session = session

    async def get(self, path: str) -> Any:
        async with self._session.get(self._process.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, **body: Any) -> Any:
        async with self._session.post(self._process.url + path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def upload(self, number: int) -> str:
        form = aiohttp.FormData({"purpose": "assistants"})
        form.add_field("file", text_of(number), filename=f"{number:05d}.md")
        async with self._session.post(f"{self._process.url}/files", data=form) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["id"])

    async def files(self, store: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = f"&after={found[-1]['id']}" if found else ""
            page = await self.get(f"/vector_stores/{store}/files?limit=100&order=asc{after}")
            found += page["data"]
            if not page["has_more"]:
                return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_files_are_each_indexed_once_whenever_the_server_is_killed(tmp_path: Path) -> None:
    asyncio.run(_kill_and_restart(tmp_path))


async def _kill_and_restart(directory: Path) -> None:
    async with embedding_upstream() as upstream, aiohttp.ClientSession() as session:
        process = Process(upstream, directory)
        client = Client(process, session)
        await process.start()
        ids = [await client.upload(number) for number in range(FILES)]
        store = (await client.post("/vector_stores"))["id"]
        batch = (await client.post(f"/vector_stores/{store}/file_batches", file_ids=ids))["id"]
        for _ in range(KILLS):
            await _progress(client, store, batch, random.randint(20, FILES // (KILLS + 2)))
            await process.kill()
            await process.start()
        await _progress(client, store, batch, FILES)
        files = await client.files(store)
        statuses = Counter(file["status"] for file in files)
        log.info("%s", statuses)
        bad = {ids[number] for number in range(FILES) if number % BAD_EVERY == 7}
        assert [file["id"] for file in files] == ids
        assert {file["id"] for file in files if file["status"] == "failed"} == bad
        assert statuses == {"completed": FILES - len(bad), "failed": len(bad)}
        assert {file["last_error"]["code"] for file in files if file["status"] == "failed"} == {"unsupported_file"}
        for number in random.sample(range(FILES), 50):
            page = await client.post(f"/vector_stores/{store}/search", query=f"zq{number:05d}x", search_mode="lexical")
            wanted = [] if ids[number] in bad else [ids[number]]
            assert [hit["file_id"] for hit in page["data"]] == wanted
        await process.kill(signal.SIGTERM)
    index = Index.open(directory / "data" / "indexes" / store)
    stats = index.stats()
    assert (stats.files, stats.chunks, stats.chunks_without_vector) == (FILES - len(bad), FILES - len(bad), 0)
    index.close()


async def _progress(client: Client, store: str, batch: str, more: int) -> None:
    """Wait until that many more files are done, or all."""
    began = None
    while True:
        counts = (await client.get(f"/vector_stores/{store}/file_batches/{batch}"))["file_counts"]
        done = counts["total"] - counts["in_progress"]
        began = done if began is None else began
        if not counts["in_progress"] or done - began >= more:
            return
        await asyncio.sleep(0.01)
