"""Streams out of logs: labels, times, diffs, noise, and cuts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cassette_fakes import SEEDS, need

from antiphon.cassettes import Interaction, endpoint, read
from antiphon.errors import CassetteCorrupt

FIRST = '{"id":"c","choices":[{"index":0,"delta":{"content":"a {b}"}}],"n":1.50}'
LAST = '{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def streams(tmp_path: Path, text: str) -> list[Interaction]:
    path = tmp_path / "log"
    path.write_bytes(text.encode())
    return list(read(path))


def chunks(tmp_path: Path, text: str) -> list[str]:
    (interaction,) = streams(tmp_path, text)
    assert interaction.request is None
    assert interaction.response is not None
    assert interaction.response.status is None
    return [chunk.data.decode() for chunk in interaction.response.chunks]


WHOLE = [f"data: {FIRST}\n\n", f"data: {LAST}\n\n", "data: [DONE]\n\n"]


def pretty(text: str, label: str = "") -> str:
    lines = msgspec.json.format(text.encode(), indent=2).decode().split("\n")
    return "".join(f"{label}{line}\n" for line in lines)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(f"{FIRST}\n{LAST}\n", id="JSON Lines"),
        pytest.param(f"{FIRST}\r\n\r\n{LAST}", id="CRLF, no last line end"),
        pytest.param(f"[api] {FIRST}\n[web] compiled {{ok}}\n[api] {LAST}\n", id="label and noise"),
        pytest.param(f"12:00:01 INFO {FIRST}\n12:00:02 INFO {LAST}\n", id="changing times"),
        pytest.param(f"api: data: {FIRST}\napi:\napi: data: {LAST}\napi: data: [DONE]\n", id="labelled events"),
        pytest.param(f'{{"level":"info","msg":"x"}}\nlog: {FIRST}\nlog: {LAST}\n', id="structured log lines"),
        pytest.param(
            f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-      data: {LAST}\n+      data: {FIRST}\n+\n"
            f"       data: {LAST}\n+      data: [DONE]\n",
            id="diff",
        ),
    ],
)
def test_logs_are_one_stream(tmp_path: Path, log: str) -> None:
    assert chunks(tmp_path, log) == WHOLE


@pytest.mark.parametrize("label", ["", "api:dev: ", "+    "])
def test_pretty_printed_chunks_keep_their_tokens(tmp_path: Path, label: str) -> None:
    found = chunks(tmp_path, pretty(FIRST, label) + "web:dev: GET / 200\n" * bool(label) + pretty(LAST, label))
    assert [msgspec.json.decode(each[6:]) for each in found[:2]] == [
        msgspec.json.decode(each) for each in (FIRST, LAST)
    ]
    assert '"n": 1.50' in found[0]
    assert found[2:] == WHOLE[2:]


def test_lines_of_others_within_a_chunk_are_passed_over(tmp_path: Path) -> None:
    lines = pretty(FIRST, "api: ").split("\n")
    found = chunks(tmp_path, "\n".join([*lines[:3], "web: }", *lines[3:]]))
    assert msgspec.json.decode(found[0][6:]) == msgspec.json.decode(FIRST)


def test_done_ends_a_stream(tmp_path: Path) -> None:
    event = f"x: data: {LAST}\n\nx: data: [DONE]\n\n"
    assert len(streams(tmp_path, event * 3)) == 3


def test_an_event_stream_stays_as_it_is(tmp_path: Path) -> None:
    text = f": hi\n\nevent: x\r\ndata: {FIRST}\r\n\r\ndata: [DONE]"
    (interaction,) = streams(tmp_path, text)
    assert interaction.response is not None
    assert (interaction.fidelity, interaction.response.body) == ("body", text.encode())


@pytest.mark.parametrize(
    "log", [f"{FIRST}\n{LAST[:20]}", pretty(FIRST, "api: ") + "".join(pretty(LAST, "api: ").splitlines(True)[:4])]
)
def test_a_log_that_stops_within_a_chunk_is_a_cut_stream(tmp_path: Path, log: str) -> None:
    (interaction,) = streams(tmp_path, log)
    assert interaction.response is not None
    assert interaction.response.error is not None
    assert interaction.response.error.code == "truncated_stream"
    assert b"[DONE]" not in interaction.response.body


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (f"{FIRST}\n{FIRST[:30]}\n{LAST}\n", 2),
        (f"x: data: {FIRST[:30]}\nx: data: {LAST}\n", 1),
        ("noise\n" + pretty(FIRST).replace("\n", "\nnoise\n", 3) + pretty(LAST), 2),
    ],
)
def test_a_broken_chunk_with_more_behind_it_names_its_line(tmp_path: Path, log: str, line: int) -> None:
    with pytest.raises(CassetteCorrupt, match=rf"log:{line}: .*a chunk is broken off"):
        streams(tmp_path, log)


@pytest.mark.parametrize("log", ["GET / 200\nPOST / 500\n", '{"request": {\n  "url": "x",\n', 'x: {"level":"info"}\n'])
def test_a_log_without_a_chunk_is_no_recording(tmp_path: Path, log: str) -> None:
    with pytest.raises(CassetteCorrupt, match=r"no chunk|nor a log with chunks"):
        streams(tmp_path, log)


@pytest.mark.parametrize(
    ("chunk", "operation"),
    [
        ('{"type":"response.created","response":{"object":"response"}}', "/responses"),
        ('{"type":"message_start","message":{}}', "/messages"),
        ('{"candidates":[]}', "generateContent"),
    ],
)
def test_what_a_stream_holds_tells_its_endpoint(tmp_path: Path, chunk: str, operation: str) -> None:
    (interaction,) = streams(tmp_path, f"{chunk}\n{chunk}\n")
    assert endpoint(interaction) == operation
    if operation != "generateContent":
        assert interaction.response is not None
        assert interaction.response.body.startswith(b"event: ")


@pytest.mark.parametrize("name", ["chunks.log", "chunks.jsonl"])
def test_the_seed_logs_are_one_stream_of_28_chunks(name: str) -> None:
    (interaction,) = read(need(SEEDS / name))
    assert interaction.request is None
    assert interaction.response is not None
    assert len(interaction.response.chunks) == 28 + 1
    assert endpoint(interaction) == "/chat/completions"
