"""`antiphon fork` over a data directory that a server has left."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from antiphon.agent.acting import Tool
from antiphon.agent.effects import ToolCall
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.cli import main
from antiphon.clock import FakeClock, RandomIds
from antiphon.events import RunStarted
from antiphon.rendering.responses import response_object
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.wire.responses import decode_request

STEP = {"type": "function", "name": "step", "parameters": {"type": "object", "properties": {}}}
ANSWER = "It is forbidden: Charlie is no administrator of this machine, says the list of those who are."


class Upstream(BaseHTTPRequestHandler):
    asked: list[bytes]

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["content-length"])))
        choice = {"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "new", "choices": [choice]}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def upstream() -> Iterator[tuple[str, list[bytes]]]:
    handler = type("Handler", (Upstream,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", handler.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def store_a_run(data_dir: Path) -> str:
    """Two turns: a call of a tool, and an answer."""
    provider = ScriptedProvider(
        tool_turn(("c1", "step", '{"user":"charlie"}')), text_turn("Charlie may read it.", turn=1)
    )

    async def step(call: ToolCall) -> str:
        return "user_11111"

    store = SqliteStore.open(data_dir, clock=FakeClock())
    runner = Runner(
        store=store,
        resolve=lambda model: [Target(provider, model)],
        clock=FakeClock(),
        ids=RandomIds(),
        tools={"step": Tool(step)},
    )
    request = decode_request(msgspec.json.encode({"model": "old", "input": "May Charlie?", "tools": [STEP]}))
    events = [event async for batch in runner.run("local", request) for event in batch]
    await store.close()
    assert isinstance(events[0], RunStarted)
    return events[0].run


@pytest.fixture
def run(tmp_path: Path) -> str:
    return asyncio.run(store_a_run(tmp_path / "data"))


def fork(tmp_path: Path, *arguments: str) -> Result:
    env = {"COLUMNS": "80", "ANTIPHON_API_KEYS": None}
    return CliRunner().invoke(main, ["fork", *arguments, "--data-dir", str(tmp_path / "data")], env=env)


def test_a_run_is_forked_and_both_are_set_side_by_side_in_80_columns(tmp_path: Path, run: str) -> None:
    with upstream() as (url, asked):
        forked = fork(tmp_path, run, "--at", "1", "--model", "new", "--upstream", url)
    assert forked.exit_code == 0, forked.output
    assert max(map(len, forked.output.splitlines())) <= 80
    assert "turn 0 · the same" in forked.output
    assert "user_11111" in forked.output
    assert "assistant Charlie may read it." in forked.output
    assert "assistant It is forbidden" in forked.output
    assert "First difference: turn 1" in forked.output
    [body] = map(json.loads, asked)
    assert (body["model"], body["messages"][-1]["content"]) == ("new", "user_11111")
    new = forked.output.split()[-1]
    assert asyncio.run(stored(tmp_path, new)) == {"forked_from": {"response": run, "turn": 1}}


async def stored(tmp_path: Path, run: str) -> object:
    store = SqliteStore.open(tmp_path / "data", clock=FakeClock())
    events = await store.events("local", run)
    await store.close()
    return response_object(events)["antiphon"]


def test_what_stands_in_the_way_is_said(tmp_path: Path, run: str) -> None:
    there_is_none = fork(tmp_path, "resp_none", "--at", "0", "--upstream", "http://127.0.0.1:9/v1")
    assert (there_is_none.exit_code, "resp_none" in there_is_none.output) == (2, True)
    too_far = fork(tmp_path, run, "--at", "2", "--upstream", "http://127.0.0.1:9/v1")
    assert (too_far.exit_code, "Its last turn is 1" in too_far.output) == (2, True)
    locked = SqliteStore.open(tmp_path / "data", clock=FakeClock())
    in_use = fork(tmp_path, run, "--at", "1", "--upstream", "http://127.0.0.1:9/v1")
    asyncio.run(locked.close())
    assert in_use.exit_code == 2
    assert "stop the server, fork, and start it again" in in_use.output


def test_a_fork_that_fails_is_kept_and_shown_and_tells_so_by_its_exit_code(tmp_path: Path, run: str) -> None:
    forked = fork(tmp_path, run, "--at", "1", "--upstream", "http://127.0.0.1:9/v1")
    assert forked.exit_code == 1
    assert "ended failed" in forked.output
    assert "stored as resp_" in forked.output
