"""Foreign recordings: each format's bodies, headers, timing and oddities, and what a broken file says."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cassette_fakes import SEEDS, need

from antiphon.cassettes import Interaction, RecordedRequest, RecordedResponse, endpoint, read
from antiphon.cassettes.importers.go_vcr import duration_ms
from antiphon.errors import CassetteCorrupt, CassetteError

STREAM = 'data: {"id":"c"}\n\ndata: [DONE]\n\n'


def write(tmp_path: Path, content: Any, *, as_yaml: bool = False) -> Path:
    """A file with the text, the bytes, or the document as JSON or YAML. Its name tells nothing."""
    path = tmp_path / "recording"
    if isinstance(content, str):
        content = content.encode()
    elif as_yaml:
        content = yaml.safe_dump(content).encode()
    elif not isinstance(content, bytes):
        content = msgspec.json.encode(content)
    path.write_bytes(content)
    return path


def last_item(path: Path) -> int:
    """The line on which the last interaction of a YAML file begins."""
    return max(number for number, line in enumerate(path.read_text().split("\n"), 1) if line.startswith("- "))


def only(path: Path) -> tuple[Interaction, RecordedRequest, RecordedResponse]:
    (interaction,) = read(path)
    assert interaction.request is not None
    assert interaction.response is not None
    return interaction, interaction.request, interaction.response


# --- go-vcr ----------------------------------------------------------------------------------


def go_vcr(body: Any, **response: Any) -> dict[str, Any]:
    request = {"url": "https://h/v1/chat/completions", "method": "POST", "body": '{"a":1}'}
    request |= {"headers": {"Accept": ["a", "b"]}, "form": {"beta": ["true"]}, "content_length": 7}
    answer = {"code": 200, "status": "200 OK", "body": body, "headers": {"Content-Type": ["text/event-stream"]}}
    return {"version": 2, "interactions": [{"id": 0, "request": request, "response": answer | response}]}


def test_go_vcr_text(tmp_path: Path) -> None:
    document = go_vcr(STREAM, duration="1m2.5s", transfer_encoding=["chunked"])
    interaction, request, response = only(write(tmp_path, document, as_yaml=True))
    assert interaction.fidelity == "body"
    assert (request.method, request.body, request.headers) == ("POST", b'{"a":1}', (("accept", "a"), ("accept", "b")))
    assert (response.status, response.body, response.delay_ms) == (200, STREAM.encode(), 62_500)
    assert response.headers == (("content-type", "text/event-stream"),)


def test_go_vcr_binary(tmp_path: Path) -> None:
    _, _, response = only(write(tmp_path, go_vcr(b"\x00\x00\xff"), as_yaml=True))
    assert response.body == b"\x00\x00\xff"


def test_go_vcr_without_headers(tmp_path: Path) -> None:
    document = go_vcr("{}", headers=None)
    del document["interactions"][0]["request"]["headers"]
    _, request, response = only(write(tmp_path, document, as_yaml=True))
    assert request.headers == response.headers == ()


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1m18.00699275s", 78_006.99275),
        ("2.05ms", 2.05),
        ("3µs", 0.003),
        ("1h0m1s", 3_601_000),
        ("", 0),
        (5_000_000, 5),
    ],
)
def test_go_durations(text: str | int, ms: float) -> None:
    assert duration_ms(text) == pytest.approx(ms)


# --- vcrpy -----------------------------------------------------------------------------------


def vcrpy(response: dict[str, Any], **request: Any) -> dict[str, Any]:
    asked = {"uri": "https://h/v1/chat/completions", "method": "POST", "body": None, "headers": {}} | request
    return {"version": 1, "interactions": [{"request": asked, "response": response}]}


def vcrpy_answer(body: Any, encoding: str = "") -> dict[str, Any]:
    headers = {"Content-Type": ["text/plain"], "Content-Encoding": [encoding], "Content-Length": ["99"]}
    return {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}}


def zstd_compress(data: bytes) -> bytes:
    from antiphon.cassettes.encodings import zstd

    return zstd.compress(data)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("zstd", zstd_compress),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data), mtime=0)),
    ],
)
def test_vcrpy_bodies_are_decoded(tmp_path: Path, encoding: str, encode: Any) -> None:
    body = "é hello hello hello".encode()
    interaction, _, response = only(write(tmp_path, vcrpy(vcrpy_answer(encode(body), encoding)), as_yaml=True))
    assert interaction.fidelity == "body"
    assert response.body == body
    assert response.headers == (("content-type", "text/plain"),)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_vcrpy_bodies_that_are_decoded_already_stay(tmp_path: Path, encoding: str) -> None:
    _, _, response = only(write(tmp_path, vcrpy(vcrpy_answer("hello", encoding)), as_yaml=True))
    assert response.body == b"hello"


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (gzip.compress(b"hello", mtime=0)[:-9], "gzip", "cannot be decoded as gzip"),
        (b"\xff\xfe\xfd", "deflate", "cannot be decoded as deflate"),
        (b"\x28\xb5\x2f\xfd\xff", "zstd", "cannot be decoded as zstd"),
        (b"\xff\xfe\xfd", "br", "cannot be decoded as br"),
    ],
)
def test_vcrpy_bodies_that_cannot_be_decoded_are_an_error(
    tmp_path: Path, body: bytes, encoding: str, says: str
) -> None:
    good, bad = (vcrpy(vcrpy_answer(each, encoding))["interactions"][0] for each in ("hello", body))
    path = write(tmp_path, {"interactions": [good, bad]}, as_yaml=True)
    line = last_item(path)
    with pytest.raises(CassetteCorrupt, match=rf":{line}: .*{says}"):
        list(read(path))


def test_vcrpy_parsed_bodies(tmp_path: Path) -> None:
    answer = {"status": {"code": 200}, "headers": {"content-type": ["application/json"]}, "parsed_body": {"a": None}}
    document = vcrpy(answer, parsed_body={"b": "é"})
    interaction, request, response = only(write(tmp_path, document, as_yaml=True))
    assert interaction.fidelity == "parsed"
    assert (request.body, response.body) == ('{"b":"é"}'.encode(), b'{"a":null}')


@pytest.mark.parametrize("body", ["hello", {"string": "hello"}, {"base64_string": "aGVsbG8="}, {"string": b"hello"}])
def test_vcrpy_bodies_in_all_their_forms(tmp_path: Path, body: Any) -> None:
    answer = {"status": {"code": 200}, "headers": {"X": "one"}, "body": body}
    _, _, response = only(write(tmp_path, vcrpy(answer), as_yaml=True))
    assert (response.body, response.headers) == (b"hello", (("x", "one"),))


def test_vcrpy_of_old_httpx_and_in_json(tmp_path: Path) -> None:
    document = vcrpy({"status_code": 404, "http_version": "HTTP/1.1", "headers": {}, "content": "no"}, body='{"a":1}')
    _, request, response = only(write(tmp_path, document))
    assert (request.body, response.status, response.body) == (b'{"a":1}', 404, b"no")


# --- OGX -------------------------------------------------------------------------------------


def ogx(response: dict[str, Any], **request: Any) -> dict[str, Any]:
    asked = {"method": "POST", "url": "https://h/v1/v1/chat/completions", "headers": {}, "body": {"model": "m"}}
    return {"test_id": "tests/a.py::b", "request": asked | request, "response": response}


def sdk(kind: str, **data: Any) -> dict[str, Any]:
    return {"__type__": kind, "__data__": data}


def test_ogx_nulls_of_sdk_objects_are_absence(tmp_path: Path) -> None:
    usage = {"total_tokens": 1, "prompt_tokens_details": None}
    body = sdk("openai…Completion", id="c", model=None, choices=[{"index": 0, "logprobs": None}], usage=usage)
    interaction, request, response = only(write(tmp_path, ogx({"body": body, "is_streaming": False})))
    assert interaction.fidelity == "parsed"
    assert interaction.tags == {"test": "tests/a.py::b"}
    assert (request.url, endpoint(interaction)) == ("https://h/v1/v1/chat/completions", "/chat/completions")
    usage_text = b'{"total_tokens":1,"prompt_tokens_details":null}'
    assert response.body == b'{"id":"c","choices":[{"index":0}],"usage":' + usage_text + b"}"


def test_ogx_streams_become_event_streams_again(tmp_path: Path) -> None:
    chunks = [sdk("openai…Chunk", choices=[{"finish_reason": word}]) for word in (None, "stop")]
    _, _, response = only(write(tmp_path, ogx({"body": chunks, "is_streaming": True})))
    assert [chunk.data for chunk in response.chunks] == [
        b'data: {"choices":[{}]}\n\n',
        b'data: {"choices":[{"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    assert response.header("content-type") == "text/event-stream"


def test_a_stream_that_never_finished_is_given_no_done(tmp_path: Path) -> None:
    chunks = [sdk("openai…Chunk", choices=[{"finish_reason": None}])]
    _, _, response = only(write(tmp_path, ogx({"body": chunks, "is_streaming": True})))
    assert b"[DONE]" not in response.body


def test_ogx_ollama_streams_are_lines_of_json(tmp_path: Path) -> None:
    chunks = [sdk("ollama._types.GenerateResponse", response=text, done_reason=None) for text in "ab"]
    _, _, response = only(write(tmp_path, ogx({"body": chunks, "is_streaming": True})))
    assert response.body == b'{"response":"a"}\n{"response":"b"}\n'
    assert response.header("content-type") == "application/x-ndjson"


def test_ogx_lines_of_a_stream(tmp_path: Path) -> None:
    answer = {"body": ["event: a", "data: {}", ""], "is_streaming": True}
    document = ogx(answer, body=None, payload={"model": "m"})
    _, request, response = only(write(tmp_path, document))
    assert (request.body, response.body) == (b'{"model":"m"}', b"event: a\ndata: {}\n\n")


def test_ogx_lists_and_plain_bodies(tmp_path: Path) -> None:
    models = [sdk("openai.types.model.Model", id="m", owned_by=None)]
    _, _, response = only(write(tmp_path, ogx({"body": models, "is_streaming": False})))
    assert response.body == b'{"object":"list","data":[{"id":"m"}]}'
    plain = {"error": {"code": None}}
    _, _, response = only(write(tmp_path, ogx({"body": plain, "is_streaming": False, "status": 400})))
    assert (response.status, response.body) == (400, b'{"error":{"code":null}}')


def test_ogx_exceptions_are_the_answers_they_were_made_of(tmp_path: Path) -> None:
    data = {"status_code": 400, "body": {"message": "no", "code": None}}
    answer = {"body": None, "is_streaming": False, "is_exception": True, "exception_data": data}
    _, _, response = only(write(tmp_path, ogx(answer)))
    assert (response.status, response.body) == (400, b'{"error":{"message":"no","code":null}}')


def test_ogx_exceptions_without_an_answer_are_failed_calls(tmp_path: Path) -> None:
    answer = {"body": None, "is_streaming": False, "is_exception": True, "exception_message": "Connection error."}
    _, _, response = only(write(tmp_path, ogx(answer)))
    assert response.status is None
    assert response.error is not None
    assert response.error.message == "Connection error."


def test_ogx_tool_calls(tmp_path: Path) -> None:
    request = {"test_id": None, "provider": "tavily", "tool_name": "web_search", "kwargs": {"query": "q"}}
    body = sdk("ogx_api.tools.ToolInvocationResult", content="found", error_code=None)
    document = {"test_id": None, "request": request, "response": {"body": body, "is_streaming": False}}
    (interaction,) = read(write(tmp_path, document))
    assert interaction.kind == "tool"
    assert interaction.tool is not None
    assert (interaction.tool.name, interaction.tool.arguments) == ("web_search", {"query": "q"})
    assert interaction.tool.result == {"content": "found"}


# --- HAR, nock, answers and bare bodies ------------------------------------------------------


@pytest.mark.parametrize(("wait", "delay_ms"), [(7.5, 7.5), (-1, 0), (None, 0)])
def test_har(tmp_path: Path, wait: float | None, delay_ms: float) -> None:
    content = {"mimeType": "x", "text": b64encode(b"\x00\xff").decode(), "encoding": "base64"}
    entry = {
        "startedDateTime": "2025-07-24T05:59:14.000Z",
        "time": 8.5,
        "timings": {"wait": wait},
        "request": {"method": "POST", "url": "https://h/x", "headers": [], "postData": {"text": '{"a":1}'}},
        "response": {"status": 200, "headers": [{"name": "Content-Type", "value": "x"}], "content": content},
    }
    interaction, request, response = only(write(tmp_path, {"log": {"version": "1.2", "entries": [entry]}}))
    assert (request.body, response.body) == (b'{"a":1}', b"\x00\xff")
    assert (response.headers, response.delay_ms, interaction.duration_ms) == ((("content-type", "x"),), delay_ms, 8.5)
    assert interaction.started_at is not None
    assert interaction.started_at.year == 2025


@pytest.mark.parametrize(
    ("kept", "body"),
    [
        ({"a": None}, b'{"a":null}'),
        ("00ff", b"\x00\xff"),
        ("plain", b"plain"),
        ([gzip.compress(b"hello", mtime=0)[:9].hex(), gzip.compress(b"hello")[9:].hex()], b"hello"),
    ],
)
def test_nock(tmp_path: Path, kept: Any, body: bytes) -> None:
    each = {
        "scope": "https://h:443",
        "method": "post",
        "path": "/model/m%3A0/converse",
        "body": {"a": 1},
        "status": 200,
    }
    headers = ["Content-Type", "x", "Content-Encoding", "gzip"]
    _, request, response = only(write(tmp_path, [{**each, "response": kept, "rawHeaders": headers}]))
    assert (request.method, request.url) == ("POST", "https://h/model/m%3A0/converse")
    assert (request.body, response.body, response.headers) == (b'{"a":1}', body, (("content-type", "x"),))


def test_an_answer_alone(tmp_path: Path) -> None:
    (interaction,) = read(write(tmp_path, {"status": 503, "headers": {"Retry-After": "1"}, "body": "busy"}))
    assert interaction.request is None
    assert interaction.response == RecordedResponse(
        status=503, headers=(("retry-after", "1"),), chunks=interaction.response.chunks if interaction.response else ()
    )


def test_a_bare_body_keeps_its_bytes(tmp_path: Path) -> None:
    body = b'{\n  "object": "chat.completion", "n": 1.0\n}\n'
    (interaction,) = read(write(tmp_path, body))
    assert interaction.response is not None
    assert (interaction.response.status, interaction.response.body) == (None, body)
    assert endpoint(interaction) == "/chat/completions"


# --- what cannot be read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param("", 1, id="empty"),
        pytest.param("hello\n", 1, id="prose"),
        pytest.param("[]", 1, id="empty list"),
        pytest.param("{}", 1, id="empty object"),
        pytest.param('{"a": 1}\n{"a": 2}\n', 2, id="JSON Lines of something else"),
        pytest.param('[\n{\n"choices": []\n},\n{\n"scope"', 6, id="JSON list cut"),
        pytest.param("--- \nversion: 2\ninteractions: []\n", 1, id="no interactions"),
        pytest.param("version: 2\ninteractions:\n- id: [\n", 4, id="broken YAML"),
        pytest.param('{"request": {"url": "x", "method": "POST"}, "respon', 1, id="JSON cut"),
        pytest.param('{"request": {"url": 1}, "response": {"body": 1}}', 1, id="url of another type"),
        pytest.param('{"request": {"url": "x"}, "response": {}}', 1, id="response without a body"),
        pytest.param("a: \xff".encode("latin-1"), 1, id="not UTF-8"),
        pytest.param(b'{"log":\n{"entries": [{"request":"\xff"}]}}', 2, id="not UTF-8 on line 2"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(tmp_path: Path, content: Any, line: int) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CassetteCorrupt) as raised:
        list(read(path))
    assert str(raised.value).startswith(f"{path}:{line}: "), str(raised.value)


@pytest.mark.parametrize("document", [go_vcr("text"), vcrpy(vcrpy_answer("text"))])
def test_an_incomplete_interaction_in_yaml_names_its_line(tmp_path: Path, document: dict[str, Any]) -> None:
    first = document["interactions"][0]
    second = {"request": {**first["request"], "headers": {}}, "response": {"headers": {}}}
    path = write(tmp_path, {"interactions": [first, second]}, as_yaml=True)
    line = last_item(path)
    with pytest.raises(CassetteCorrupt) as raised:
        list(read(path))
    assert str(raised.value).startswith(f"{path}:{line}: the recording is unreadable: ")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"version": 1, "interactions": [{"request_sample": {}}]}, "gRPC messages"),
        ({"version": 1, "interactions": [{"kind": "message", "direction": "received"}]}, "WebSocket messages"),
        ({"fixtures": [{"match": {}}]}, "aimock fixtures"),
    ],
)
def test_recordings_of_something_else_are_refused_by_name(tmp_path: Path, document: Any, what: str) -> None:
    with pytest.raises(CassetteError, match=what):
        list(read(write(tmp_path, document)))


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    evil = "interactions:\n- request: !!python/object/apply:os.getcwd []\n"
    with pytest.raises(CassetteCorrupt, match="not valid YAML"):
        list(read(write(tmp_path, evil)))


def test_every_seed_recording_is_read() -> None:
    need(SEEDS)
    paths = [path for path in SEEDS.rglob("*") if path.is_file() and path.name != "expected.json"]
    assert len(paths) == 9
    for path in paths:
        assert [endpoint(each) for each in read(path)] in (["/chat/completions"], ["/chat/completions"] * 2)
