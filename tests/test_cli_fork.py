"""`antiphon fork`: the beginning of a recorded run, then live; both runs beside each other."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse, ToolCall, read
from antiphon.cassettes.format import encode_header, encode_interaction
from antiphon.cassettes.modes import with_model
from antiphon.cli import main
from antiphon.transport import HttpRequest

AGENT = """
import json, os, sys, urllib.request
asked = []
for question in sys.argv[1:]:
    asked.append({"role": "user", "content": question})
    body = json.dumps({"model": "old", "messages": asked}).encode()
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body,
        {"content-type": "application/json"})
    try:
        answer = json.loads(urllib.request.urlopen(request).read())
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode())
    asked.append(answer["choices"][0]["message"])
    print(asked[-1]["content"])
"""


def completion(text: str, model: str = "old") -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c", "object": "chat.completion", "model": model, "choices": [choice]}).encode()


class Model(BaseHTTPRequestHandler):
    """Says which model it is asked for, and keeps what it was asked."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))  # type: ignore[attr-defined]
        answer = completion(f"live from {body['model']}", body["model"])
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A conversation of three questions, with a tool called between the first and the second."""
    path, asked = tmp_path / "run.jsonl", []
    lines = [encode_header()]
    for number, text in enumerate(("one", "two", "three")):
        asked.append({"role": "user", "content": f"q{number}"})
        request = RecordedRequest(
            method="POST",
            url="http://recorded.example/v1/chat/completions",
            body=json.dumps({"model": "old", "messages": asked}).encode(),
        )
        lines.append(encode_interaction(answered(str(number), request, completion(text))))
        asked.append({"role": "assistant", "content": text})
        if number == 0:
            tool = ToolCall(name="weather", result="40 C")
            lines.append(encode_interaction(Interaction(id="t", kind="tool", fidelity="parsed", tool=tool)))
    path.write_bytes(b"".join(lines))
    return path


def answered(name: str, request: RecordedRequest, body: bytes) -> Interaction:
    headers = (("content-type", "application/json"),)
    return Interaction(
        id=name, request=request, response=RecordedResponse(status=200, headers=headers, chunks=(Chunk(1.0, body),))
    )


def fork(recording: Path, upstream: Any, *options: str, questions: tuple[str, ...] = ("q0", "q1", "q2")) -> Result:
    level = logging.getLogger("antiphon").level
    clean = {name: None for name in os.environ if name.startswith(("OPENAI_", "ANTIPHON_", "ANTHROPIC_"))}
    url = f"http://127.0.0.1:{upstream.server_port}/v1"
    command = ("--", sys.executable, "-c", AGENT, *questions)
    try:
        return CliRunner().invoke(
            main, ["fork", str(recording), "--upstream", url, *options, *command], env=clean | {"COLUMNS": "80"}
        )
    finally:
        logging.getLogger("antiphon").setLevel(level)


def test_the_first_calls_are_answered_from_the_recording_and_the_rest_live(
    recording: Path, model: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    result = fork(recording, model, "--at", "3", "--model", "new", "--cassette", str(out))
    assert result.exit_code == 0, result.output
    assert capfd.readouterr().out.split("\n")[:3] == ["one", "two", "live from new"]
    ((path, body),) = model.asked
    assert (path, body["model"], len(body["messages"])) == ("/v1/chat/completions", "new", 5)
    assert [each.kind for each in read(out)] == ["http", "tool", "http", "http"]
    assert b"live from new" in list(read(out))[3].response.body  # type: ignore[union-attr]


def test_both_runs_are_shown_side_by_side_in_80_columns(recording: Path, model: Any) -> None:
    result = fork(recording, model, "--at", "3", "--model", "new")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "Interactions 0 to 2 are the same." in lines
    (row,) = [line for line in lines if "live from new" in line and "assistant" in line]
    assert row.index("assistant three") < 40 <= row.index("assistant live from new")
    assert "now live" in result.stderr
    assert any(line.startswith("First divergence: interaction 3 / 3") for line in lines)


def test_a_run_that_leaves_the_recording_before_the_fork_is_refused(recording: Path, model: Any) -> None:
    result = fork(recording, model, "--at", "3", questions=("q0", "other", "q2"))
    assert result.exit_code == 1
    assert model.asked == []


def test_what_differs_before_the_fork_is_passed_over_in_order(recording: Path, model: Any) -> None:
    result = fork(recording, model, "--at", "3", "--match", "order", questions=("q0", "other", "q2"))
    assert result.exit_code == 0
    assert len(model.asked) == 1
    assert 'recorded "q1", sent "other"' in result.stderr


def test_a_fork_at_0_is_live_from_the_start(recording: Path, model: Any) -> None:
    assert fork(recording, model, "--at", "0", questions=("q0",)).exit_code == 0
    assert len(model.asked) == 1


@pytest.mark.parametrize("options", [("--at", "5"), ("--at", "1", "--cassette", "{recording}")])
def test_what_cannot_be_forked_is_said(recording: Path, model: Any, options: tuple[str, ...]) -> None:
    result = fork(recording, model, *(each.format(recording=recording) for each in options))
    assert result.exit_code == 2
    assert str(recording) in result.stderr


@pytest.mark.parametrize(
    ("path", "body", "then"),
    [
        ("/v1/chat/completions", b'{"model":"a","n":1.0}', ("/v1/chat/completions", b'{"model":"b","n":1.0}')),
        ("/v1beta/models/a:generateContent", b'{"x":1}', ("/v1beta/models/b:generateContent", b'{"x":1}')),
        ("/v1/models", b"", ("/v1/models", b"")),
        ("/upload", b"\xff", ("/upload", b"\xff")),
    ],
)
def test_the_model_is_replaced_where_a_request_names_it(path: str, body: bytes, then: tuple[str, bytes]) -> None:
    request = with_model(HttpRequest(method="POST", url=f"http://h{path}", body=body), "b")
    assert (request.url.removeprefix("http://h"), request.body) == then
