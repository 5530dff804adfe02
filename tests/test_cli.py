"""The command as a user meets it: real processes, loopback only."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from antiphon import __version__
from antiphon.cli import main
from antiphon.config import Settings

RECORDING = Path(__file__).parents[1] / "examples" / "recordings" / "multi_tool_streaming.yaml"
CLOSED_PORT = "http://127.0.0.1:9/v1"  # discard: nobody listens there


class Process:
    """A running `antiphon serve`: its URL, and its output so far."""

    def __init__(self, directory: Path, *flags: str, env: dict[str, str] | None = None) -> None:
        self.log = directory / "log"
        command = [
            sys.executable,
            "-m",
            "antiphon",
            "serve",
            "--port",
            "0",
            "--data-dir",
            str(directory / "data"),
            *flags,
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                command, cwd=directory, env=clean | (env or {}), stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.popen.stdout is not None
        self.ready_line = self.popen.stdout.readline()
        self.url = next((word for word in self.ready_line.split() if word.startswith("http://")), "")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(timeout=10)


@contextlib.contextmanager
def serving(directory: Path, *flags: str, env: dict[str, str] | None = None) -> Iterator[Process]:
    process = Process(directory, *flags, env=env)
    try:
        assert process.url, process.log.read_text()
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()
        assert process.popen.stdout is not None
        process.popen.stdout.close()


@contextlib.contextmanager
def upstream(*pieces: bytes, hang: bool = False) -> Iterator[str]:
    """A chat-completions server that gives every request these pieces, and with ``hang`` no end."""
    ready, stop, ports = threading.Event(), asyncio.Event(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if hang:
            await reader.read(-1)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        server.close()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait(5)
    try:
        yield f"http://127.0.0.1:{ports[0]}/v1"
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()


def chunk(text: str, **choice: Any) -> bytes:
    delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None} | choice
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
    return f"data: {json.dumps(body)}\n\n".encode()


ANSWER = (chunk("hel"), chunk("lo"), chunk("", finish_reason="stop"), b"data: [DONE]\n\n")


def ask(url: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"} | headers)
    return urllib.request.urlopen(request, timeout=10)


# --- help ------------------------------------------------------------------------------------


def test_help_and_version_name_what_there_is() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output
    shown = CliRunner().invoke(main, ["--help"]).output
    assert "serve" in shown
    assert "inspect" in shown
    for flag in ("--upstream", "--record", "--replay", "--match", "--data-dir", "--forward-auth", "--no-auth"):
        assert flag in CliRunner().invoke(main, ["serve", "--help"]).output


def test_help_tells_the_defaults_there_are() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    shown = CliRunner().invoke(main, ["serve", "--help"]).output
    for name in ("host", "port"):
        assert f"[default: {defaults[name]}]" in shown


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'asyncio', 'aiohttp', 'msgspec', 'rich', 'starlette', 'uvicorn', 'yaml'}"
    code = f"import sys, antiphon.cli; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# --- serve -----------------------------------------------------------------------------------


def test_serve_says_where_it_listens_answers_and_ends_quietly(tmp_path: Path) -> None:
    with upstream(*ANSWER) as base, serving(tmp_path, "--upstream", base) as process:
        assert process.ready_line.startswith("Antiphon listens on http://127.0.0.1:")
        assert json.load(ask(f"{process.url}/healthz")) == {"status": "ok"}
        made = json.load(ask(f"{process.url}/v1/responses", {"model": "m", "input": "hi"}))
        assert made["output"][0]["content"][0]["text"] == "hello"
        passed = ask(f"{process.url}/v1/chat/completions", {"model": "m", "messages": [], "stream": True}).read()
        assert passed == b"".join(ANSWER)
        assert process.stop() == 0
    log = process.log.read_text()
    assert "Traceback" not in log
    assert "POST /v1/responses 200" in log


def test_what_was_recorded_is_replayed_without_the_upstream(tmp_path: Path) -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    cassette = tmp_path / "run.jsonl"
    with upstream(*ANSWER) as base, serving(tmp_path, "--upstream", base, "--record", str(cassette)) as process:
        live = ask(f"{process.url}/v1/chat/completions", question, authorization="Bearer sk-client-secret").read()
        assert process.stop() == 0
    assert "sk-client-secret" not in cassette.read_text()
    with serving(tmp_path, "--replay", str(cassette)) as process:
        assert ask(f"{process.url}/v1/chat/completions", question).read() == live
        assert [model["id"] for model in json.load(ask(f"{process.url}/v1/models"))["data"]] == ["m"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"{process.url}/v1/chat/completions", question)
        assert (caught.value.code, json.load(caught.value)["error"]["code"]) == (422, "cassette_exhausted")


def test_auto_records_what_is_missing_and_asks_for_nothing_twice(tmp_path: Path) -> None:
    cassette = tmp_path / "run.jsonl"
    bodies = [{"model": "m", "messages": [{"role": "user", "content": word}], "stream": True} for word in ("hi", "ho")]
    with upstream(*ANSWER) as base:
        for asked in (bodies[:1], bodies):
            with serving(tmp_path, "--upstream", base, "--auto", str(cassette)) as process:
                for body in asked:
                    assert ask(f"{process.url}/v1/chat/completions", body).read() == b"".join(ANSWER)
                process.stop()
    assert len(cassette.read_text().splitlines()) == 3
    with serving(tmp_path, "--upstream", CLOSED_PORT, "--auto", str(cassette)) as process:
        for body in bodies:
            assert ask(f"{process.url}/v1/chat/completions", body).read() == b"".join(ANSWER)


def test_a_replay_in_order_says_what_differs(tmp_path: Path) -> None:
    if not RECORDING.exists():
        pytest.skip(f"{RECORDING} is not there")
    with serving(tmp_path, "--replay", str(RECORDING), "--match", "order") as process:
        ask(f"{process.url}/v1/responses", {"model": "anything", "input": "hi"}).read()
        assert process.stop() == 0
        assert process.popen.stdout is not None
        lines = process.popen.stdout.read().splitlines()
    assert all(line.startswith("replay: interaction 0: $.") for line in lines)
    assert any("$.max_tokens" in line and "4000" in line for line in lines)


def test_keys_open_it_and_are_in_no_output(tmp_path: Path) -> None:
    env = {"ANTIPHON_API_KEYS": "alice=sk-alice-secret", "UPSTREAM_KEY": "sk-upstream-secret"}
    flags = ("--upstream", CLOSED_PORT, "--api-key-env", "UPSTREAM_KEY", "--log-level", "debug")
    with serving(tmp_path, *flags, env=env) as process:
        body = {"model": "m", "input": "hi"}
        for key, status in (("sk-wrong-secret", 401), ("sk-alice-secret", 502)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                ask(f"{process.url}/v1/responses", body, authorization=f"Bearer {key}")
            assert caught.value.code == status
            caught.value.close()
        process.stop()
    assert "secret" not in process.ready_line + process.log.read_text()


def test_a_response_that_a_killed_server_was_making_is_failed_not_completed(tmp_path: Path) -> None:
    with upstream(*ANSWER) as base, serving(tmp_path, "--upstream", base) as process:
        whole = json.load(ask(f"{process.url}/v1/responses", {"model": "m", "input": "hi"}))
        process.popen.kill()
    with upstream(*ANSWER[:2], hang=True) as base, serving(tmp_path, "--upstream", base) as process:
        stream = ask(f"{process.url}/v1/responses", {"model": "m", "input": "hi", "stream": True})
        stream.readline()
        cut = json.loads(stream.readline().removeprefix(b"data: "))["response"]["id"]
        process.popen.kill()
        stream.close()
    with serving(tmp_path, "--upstream", CLOSED_PORT) as process:
        assert json.load(ask(f"{process.url}/v1/responses/{whole['id']}")) == whole
        found = json.load(ask(f"{process.url}/v1/responses/{cut}"))
        assert (found["status"], found["error"]["code"]) == ("failed", "interrupted")


# --- refusals --------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Start a server that cannot start; gives the one line it says."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("antiphon").level

    def serve(*flags: str) -> str:
        result = CliRunner().invoke(main, ["serve", "--port", "0", "--data-dir", "data", *flags])
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.startswith("antiphon: ")
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr

    yield serve
    logging.getLogger("antiphon").setLevel(level)


def test_a_configuration_that_cannot_be_served_is_refused_in_one_line(refused: Callable[..., str]) -> None:
    assert "no upstream" in refused()
    assert "ftp://x" in refused("--upstream", "ftp://x")
    assert "--no-auth" in refused("--upstream", CLOSED_PORT, "--host", "0.0.0.0")
    assert "nowhere.toml" in refused("--config", "nowhere.toml")


def test_files_that_cannot_be_used_are_named_in_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "nowhere.jsonl" in refused("--replay", "nowhere.jsonl")
    assert "file" in refused("--replay", "file")
    assert "file" in refused("--upstream", CLOSED_PORT, "--data-dir", "file")
    assert "file/x.jsonl" in refused("--upstream", CLOSED_PORT, "--record", "file/x.jsonl")
    assert "." in refused("--upstream", CLOSED_PORT, "--record", ".")


def test_a_taken_port_is_named(refused: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused("--upstream", CLOSED_PORT, "--port", port)
    assert "no-such-host.invalid" in refused("--upstream", CLOSED_PORT, "--host", "no-such-host.invalid", "--no-auth")


def test_a_data_directory_has_one_server_until_ctrl_c_ends_it(refused: Callable[..., str], tmp_path: Path) -> None:
    with serving(tmp_path, "--upstream", CLOSED_PORT) as process:
        assert "data" in refused("--upstream", CLOSED_PORT)
        assert process.stop(signal.SIGINT) == 0
    assert process.log.read_text() == ""


# --- inspect ---------------------------------------------------------------------------------


def test_inspect_describes_each_interaction_in_a_line() -> None:
    if not RECORDING.exists():
        pytest.skip(f"{RECORDING} is not there")
    result = CliRunner().invoke(main, ["inspect", "--json", str(RECORDING)])
    described = [json.loads(line) for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert [(each["file"], each["interaction"], each["endpoint"]) for each in described] == [
        (str(RECORDING), 0, "/chat/completions"),
        (str(RECORDING), 1, "/chat/completions"),
    ]
    assert [call["name"] for call in described[0]["choices"][0]["tool_calls"]] == ["add", "multiply"]


def test_inspect_goes_on_after_a_file_it_cannot_read(tmp_path: Path) -> None:
    if not RECORDING.exists():
        pytest.skip(f"{RECORDING} is not there")
    bad = tmp_path / "bad.yaml"
    bad.write_text("nonsense: [")
    result = CliRunner().invoke(main, ["inspect", "--json", str(bad), str(RECORDING), str(tmp_path / "none")])
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert str(bad) in result.stderr
    assert "none" in result.stderr


def test_inspect_draws_a_picture_for_people() -> None:
    if not RECORDING.exists():
        pytest.skip(f"{RECORDING} is not there")
    result = CliRunner().invoke(main, ["inspect", str(RECORDING)])
    assert result.exit_code == 0
    for shown in ("add", "multiply", '"a": 2'):
        assert shown in result.output


# --- dialects --------------------------------------------------------------------------------


@pytest.fixture
def dialects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run `antiphon dialects` beside a configuration with one entry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("antiphon.toml").write_text(
        '[[dialects]]\nid = "ours"\nmatch.model = "big-*"\nrequests.files = false\nreason = "It cannot see."'
    )

    def run(*flags: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, ["dialects", *flags])
        assert result.exit_code == exit_code
        return result.output

    return run


def test_dialects_are_listed_with_place_fields_reason_and_source(dialects: Callable[..., str]) -> None:
    output = dialects()
    for shown in ("mistral ──", "host api.mistral.ai", "requests.call_ids = alphanumeric_9", "code 3280", "Q31"):
        assert shown in output
    for shown in ("ours ──", "model big-*", "requests.files = false", "It cannot see.", "antiphon.toml"):
        assert shown in output
    assert max(len(line) for line in output.splitlines()) <= 80


def test_dialects_says_what_applies_to_a_model_at_an_upstream_and_by_which_entry(dialects: Callable[..., str]) -> None:
    output = dialects("--upstream", "https://openrouter.ai/api/v1", "--model", "big-deepseek-v4")
    rows = {tuple(line.split()) for line in output.splitlines()}
    assert ("requests.echo_reasoning", "require", "deepseek/thinking") in rows
    assert ("requests.files", "false", "ours") in rows
    assert "requests.call_ids" not in output
    assert "Nothing is known" in dialects("--model", "small")


def test_dialects_says_what_a_model_can_at_an_upstream_of_a_usual_name(dialects: Callable[..., str]) -> None:
    output = " ".join(dialects("--upstream", "deepseek", "--model", "deepseek-reasoner").split())
    assert "answer_format json_object" in output
    can = json.loads(dialects("--upstream", "deepseek", "--model", "deepseek-reasoner", "--json"))["capabilities"]
    assert (can["forced_tools"], can["reasoning_echo"]) == ("auto", True)


def test_dialects_gives_programs_the_entries_or_what_they_amount_to(dialects: Callable[..., str]) -> None:
    entries = {entry["id"]: entry for entry in map(json.loads, dialects("--json").splitlines())}
    assert entries["ours"]["match"] == {"host": [], "model": ["big-*"]}
    assert entries["mistral"]["origin"] == "shipped in hosts.toml"
    amount = json.loads(dialects("--json", "--model", "big-1"))
    assert (amount["entries"], amount["requests"]["files"]) == (["ours"], False)


def test_dialects_that_cannot_be_read_are_refused_in_one_line(dialects: Callable[..., str], tmp_path: Path) -> None:
    assert dialects("--config", "none.toml", exit_code=2).startswith("antiphon: The configuration none.toml cannot be")
