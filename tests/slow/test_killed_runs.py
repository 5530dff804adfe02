"""A real server is killed in the middle of background runs, again and again, and every run ends right."""

import asyncio
import contextlib
import json
import logging
import random
import re
import signal
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from launched import launch

from antiphon.events import RunEvent, ToolCallCompleted, ToolCallFailed, TurnFinished
from antiphon.store.segments import unpack

SERVER = Path(__file__).with_name("server_with_a_tool.py")
ROUNDS = 200
STEPS = 4  # tool calls, a turn each; then the model speaks
PIECES = 8  # chunks of a turn
PIECE_S = 0.025
RUN_S = (STEPS + 1) * PIECES * PIECE_S + STEPS * 0.03  # at least

TOOL = {"type": "function", "name": "step", "parameters": {"type": "object", "properties": {}}}

log = logging.getLogger(__name__)


class Upstream:
    """A server that speaks Chat Completions only, and remembers which step of which run it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, list[int]] = defaultdict(list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        question = next(message["content"] for message in body["messages"] if message["role"] == "user")
        step = sum(message["role"] == "tool" for message in body["messages"])
        self.asked[question if isinstance(question, str) else question[0]["text"]].append(step)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for delta, finish_reason in _turn(step, len(body["messages"])):
                choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
                chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
                await response.write(b"data: %b\n\n" % json.dumps(chunk).encode())
                await asyncio.sleep(PIECE_S)
            await response.write(b"data: [DONE]\n\n")
        return response

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        await runner.cleanup()


def _turn(step: int, messages: int) -> list[tuple[dict[str, Any], str | None]]:
    """The chunks of a turn: words, and a call of the tool except at the last step."""
    words = [({"content": f"{step}.{piece} "}, None) for piece in range(PIECES - 3)]
    if step == STEPS:
        return [({"role": "assistant"}, None), *words, ({"content": "all done"}, None), ({}, "stop")]
    call = {"index": 0, "id": f"call_{step}_{messages}", "type": "function"}
    begun = {**call, "function": {"name": "step", "arguments": ""}}
    arguments = {"index": 0, "function": {"arguments": f'{{"n":{step}}}'}}
    return [*words, ({"tool_calls": [begun]}, None), ({"tool_calls": [arguments]}, None), ({}, "tool_calls")]


class Process:
    """The server under test, which can be killed and started again over the same data."""

    def __init__(self, upstream: str, data_dir: Path, session: aiohttp.ClientSession) -> None:
        self._arguments = [sys.executable, str(SERVER), upstream, str(data_dir), str(data_dir / "tool.log")]
        self._session = session

    async def start(self) -> None:
        self._process, url = await launch(*self._arguments)
        self.url = f"{url}/responses"

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        await self._process.wait()

    async def read(self, seen: bytearray, method: str, path: str = "", **body: Any) -> None:
        """Add what is streamed to ``seen`` until it ends, in whatever way."""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            async with self._session.request(method, self.url + path, json=body or None) as response:
                assert response.status == 200, await response.text()
                async for piece in response.content.iter_any():
                    seen += piece

    async def get(self, path: str) -> bytes:
        async with self._session.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.read()


def whole_frames(seen: bytearray) -> bytes:
    """What was read, up to the last whole event."""
    return bytes(seen[: seen.rfind(b"\n\n") + 2]) if b"\n\n" in seen else b""


def journal(data_dir: Path, run: str) -> list[RunEvent]:
    with contextlib.closing(sqlite3.connect(f"file:{data_dir / 'antiphon.db'}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT blob FROM segments WHERE run = ? ORDER BY first_seq", (run,)).fetchall()
    return [event for (blob,) in rows for event in unpack(blob)]


async def one_round(process: Process, question: str, chance: random.Random, signals: list[signal.Signals]) -> str:
    """One run that is interrupted by each of the signals; the id of its response."""
    seen: list[bytearray] = [bytearray()]
    reading = asyncio.create_task(
        process.read(seen[0], "POST", model="m", input=question, background=True, stream=True, tools=[TOOL])
    )
    while b"\n\n" not in seen[0]:  # noqa: ASYNC110 - a byte array has no event
        await asyncio.sleep(0.001)
    run = str(re.findall(rb"resp_[0-9a-f]+", seen[0])[0], "ascii")
    for number in signals:
        await asyncio.sleep(chance.random() * RUN_S)
        if number is signal.SIGTERM:
            reading.cancel()  # or the server would wait for its reader, and the run might end meanwhile
        await process.kill(number)
        await asyncio.wait((reading,))
        await process.start()
        seen.append(bytearray())
        reading = asyncio.create_task(process.read(seen[-1], "GET", f"/{run}?stream=true"))
    await reading
    whole = await process.get(f"/{run}?stream=true")
    assert whole.endswith(b"data: [DONE]\n\n")
    for piece in seen:
        known = whole_frames(piece)
        assert whole.startswith(known)
        frames = known.count(b"\n\n") - known.endswith(b"[DONE]\n\n")
        rest = await process.get(f"/{run}?stream=true&starting_after={frames - 1}") if frames else whole
        assert known.removesuffix(b"data: [DONE]\n\n") + rest == whole
    return run


def check(response: dict[str, Any], events: list[RunEvent], asked: list[int], kills: int, counts: Counter[str]) -> None:
    assert response["status"] == "completed", response["error"]
    assert response["output"][-1]["content"][0]["text"].endswith("all done")
    # Each step was finished once. What was asked more often was cut before its end, perhaps before anything of it was
    # written down.
    finished = sum(isinstance(event, TurnFinished) for event in events)
    assert finished == STEPS + 1
    assert asked == sorted(asked), "a finished turn was asked again"
    assert set(asked) == set(range(STEPS + 1))
    assert len(asked) <= finished + kills
    answered = [event.block for event in events if isinstance(event, ToolCallCompleted | ToolCallFailed)]
    assert len(answered) == len(set(answered)) == STEPS
    counts["turns asked again"] += len(asked) - finished
    counts["of these partly seen"] += sum(item["status"] == "incomplete" for item in response["output"])
    counts["calls of the upstream"] += len(asked)
    counts["calls whose outcome is unknown"] += sum(isinstance(event, ToolCallFailed) for event in events)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_runs_that_are_killed_at_random_moments_end_right(tmp_path: Path) -> None:
    asyncio.run(kill_and_check(tmp_path, ROUNDS, seed=4))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_asked_to_stop_leaves_its_runs_to_the_next_one(tmp_path: Path) -> None:
    asyncio.run(kill_and_check(tmp_path, 3, seed=5, number=signal.SIGTERM))


async def kill_and_check(data_dir: Path, rounds: int, *, seed: int, number: signal.Signals = signal.SIGKILL) -> None:
    upstream, chance, counts = Upstream(), random.Random(seed), Counter[str]()
    async with upstream.serving() as url, aiohttp.ClientSession() as session:
        process = Process(url, data_dir, session)
        await process.start()
        for round_ in range(rounds):
            signals = [number] * chance.choice([1, 1, 1, 2, 3])
            run = await one_round(process, f"question {round_}", chance, signals)
            response = json.loads(await process.get(f"/{run}"))
            check(response, journal(data_dir, run), upstream.asked[f"question {round_}"], len(signals), counts)
            counts["kills"] += len(signals)
        await process.kill()
    ran = (data_dir / "tool.log").read_text("utf-8").split()
    assert len(ran) == len(set(ran)), "a tool that may not run twice did"
    log.info("%d rounds: %s", rounds, dict(counts))
    assert counts["turns asked again"] > rounds / 4, "the kills missed the turns"
