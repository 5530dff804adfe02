"""`antiphon run` and what a kill leaves, with real processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from antiphon.cassettes import read
from antiphon.cli import main
from antiphon.server.child import CLIENTS, client_environment, client_upstreams

SECRET = "sk-live-0123456789abcdef"

CHILD = """
import os, sys, urllib.request
request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", b"{}",
    {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
print(urllib.request.urlopen(request).read().decode())
sys.exit(7)
"""


class Model(BaseHTTPRequestHandler):
    """Answers `hello`; the answer to `/slow` has no end."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        if self.path != "/slow":
            self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        if self.path == "/slow":
            self.wfile.flush()
            self.server.stop.wait(10)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.stop = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stop.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


class Ran(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def antiphon(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ran]]:
    """`antiphon run` in this process, its child in one of its own; gives what both wrote."""
    level = logging.getLogger("antiphon").level
    clean = {name: None for name in os.environ if name.startswith(("OPENAI_", "ANTIPHON_"))}

    def run(*arguments: str, **env: str) -> Ran:
        result = CliRunner().invoke(main, ["run", *arguments], env=clean | env)
        child = capfd.readouterr()
        return Ran(result.exit_code, child.out, child.err + result.stderr)

    yield run
    logging.getLogger("antiphon").setLevel(level)


Antiphon = Callable[..., Ran]


def test_run_records_then_replays_without_a_key_and_passes_the_exit_code_on(
    antiphon: Antiphon, tmp_path: Path, model: str
) -> None:
    cassette, command = str(tmp_path / "c.jsonl"), ("--", sys.executable, "-c", CHILD)
    env = {"OPENAI_BASE_URL": f"{model}/v1", "OPENAI_API_KEY": SECRET}
    assert antiphon("--cassette", cassette, "--mode", "record", *command, **env) == (7, "hello\n", "")
    assert SECRET not in Path(cassette).read_text()
    assert antiphon("--cassette", cassette, *command) == (7, "hello\n", "")


def test_run_says_what_was_never_asked_for_and_prunes_it_on_demand(
    antiphon: Antiphon, tmp_path: Path, model: str
) -> None:
    cassette = str(tmp_path / "c.jsonl")
    ask = CHILD.replace("sys.exit(7)", "")
    env = {"OPENAI_BASE_URL": f"{model}/v1", "OPENAI_API_KEY": "x"}
    for child in (ask, ask.replace('b"{}"', 'b"[]"')):
        antiphon("--cassette", cassette, "--mode", "record", "--", sys.executable, "-c", child, **env)
    assert len(list(read(cassette))) == 2
    replayed = antiphon("--cassette", cassette, "--prune", "--", sys.executable, "-c", ask)
    assert replayed.code == 0
    assert "interaction 1 was never asked for: POST /chat/completions" in replayed.stderr
    assert len(list(read(cassette))) == 1


def test_a_command_or_cassette_that_is_not_there_is_told_in_one_line(antiphon: Antiphon, tmp_path: Path) -> None:
    for arguments in (("nowhere.jsonl", "true"), (str(tmp_path / "x"), "--mode", "record", "no-such-command")):
        found = antiphon("--cassette", *arguments)
        assert found.code == 2
        assert found.stderr.startswith("antiphon: ")
        assert found.stderr.count("\n") == 1


def test_a_child_ended_by_a_signal_is_told_as_shells_do(antiphon: Antiphon, tmp_path: Path) -> None:
    found = antiphon("--cassette", str(tmp_path / "c"), "--mode", "auto", "--", "sh", "-c", "kill -TERM $$")
    assert found.code == 128 + signal.SIGTERM


def test_a_proxy_that_is_killed_leaves_a_cassette_with_all_that_was_complete(tmp_path: Path, model: str) -> None:
    cassette = tmp_path / "c.jsonl"
    command = [
        sys.executable,
        "-m",
        "antiphon",
        "record",
        "--upstream",
        model,
        "--cassette",
        str(cassette),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    url = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
    with process:
        for number in range(3):
            with urllib.request.urlopen(f"{url}/v1/{number}", b"{}") as response:
                response.read()  # one who closes first is recorded as such
        cut = urllib.request.urlopen(f"{url}/slow", b"{}")
        assert cut.read(5) == b"hello"
        while not cassette.exists() or cassette.read_bytes().count(b"\n") < 4:
            assert process.poll() is None
        process.kill()
        cut.close()
    with cassette.open("ab") as file:
        file.write(b'{"id":"torn","kind":"ht')
    assert [each.response.body for each in read(cassette)] == [b"hello"] * 3  # type: ignore[union-attr]


# --- variables -------------------------------------------------------------------------------


def test_an_address_of_the_users_own_is_the_upstream_and_its_path_is_kept() -> None:
    env = {"OPENAI_BASE_URL": "http://gateway/llm/v1/", "OLLAMA_HOST": "box:11434", "OPENAI_API_KEY": "mine"}
    upstreams = {each.prefix: each.base_url for each in client_upstreams(env)}
    assert upstreams["/openai"] == "http://gateway/llm/v1"
    assert upstreams["/ollama"] == "http://box:11434"
    assert upstreams["/anthropic"] == "https://api.anthropic.com"
    found = client_environment("http://p", env, is_replay=True)
    assert found["OPENAI_BASE_URL"] == "http://p/openai"
    assert found["ANTHROPIC_BASE_URL"] == "http://p/anthropic"
    assert "OPENAI_API_KEY" not in found
    assert found["ANTHROPIC_API_KEY"]


def test_without_an_address_of_the_users_own_each_sdk_is_led_to_its_providers_path() -> None:
    found = client_environment("http://p", {"NO_PROXY": "intra"}, is_replay=False)
    assert found["OPENAI_BASE_URL"] == "http://p/openai/v1"
    assert found["NO_PROXY"] == "intra,127.0.0.1,localhost"
    assert not [name for name in found if name.endswith("_KEY")]
    assert {each.variable for each in CLIENTS} <= found.keys()
