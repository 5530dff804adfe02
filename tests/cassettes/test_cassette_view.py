"""What a recording says, as JSON for programs and as a picture for people."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cassette_fakes import CHAT, recorded
from rich.console import Console

from antiphon.cassettes import Interaction, RecordedResponse, ToolCall
from antiphon.cassettes.format import encode_header, encode_interaction
from antiphon.cassettes.picture import picture
from antiphon.cassettes.view import inspect
from antiphon.errors import CassetteCorrupt
from antiphon.events import ErrorInfo
from antiphon.sse import encode

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": None}
ASKED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Weather in Rome?"}]}
CALL = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    value = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return encode(msgspec.json.encode(value))


STREAM = [
    chunk(role="assistant", reasoning_content="Think."),
    chunk(tool_calls=[CALL]),
    chunk("tool_calls"),
    encode(msgspec.json.encode({"choices": [], "usage": USAGE})),
    encode(b"[DONE]"),
]


def cassette(tmp_path: Path, *interactions: Interaction) -> Path:
    path = tmp_path / "run.jsonl"
    path.write_bytes(encode_header() + b"".join(encode_interaction(each) for each in interactions))
    return path


def test_a_chat_stream_is_shown_as_its_message(tmp_path: Path) -> None:
    path = cassette(tmp_path, recorded(ASKED, *STREAM))
    assert list(inspect(path)) == [
        {
            "file": str(path),
            "interaction": 0,
            "kind": "http",
            "endpoint": "/chat/completions",
            "stream": True,
            "status": 200,
            "choices": [
                {
                    "index": 0,
                    "role": "assistant",
                    "content": None,
                    "reasoning": "Think.",
                    "tool_calls": [{"id": "c1", "name": "weather", "arguments": '{"city":"Rome"}'}],
                    "finish_reason": "tool_calls",
                }
            ],
            "response": None,
            "usage": USAGE,
            "diagnostics": [],
        }
    ]


def test_repairs_are_shown(tmp_path: Path) -> None:
    (said,) = inspect(cassette(tmp_path, recorded(ASKED, chunk(content="hi"), encode(b"[DONE]"))))
    assert [each["quirk"] for each in said["diagnostics"]] == ["Q38"]
    assert said["diagnostics"][0].keys() == {"quirk", "seen", "done"}


def test_a_call_is_read_with_the_tools_of_its_request(tmp_path: Path) -> None:
    halves = [{"index": 0, "id": "c1", "function": {"name": name}} for name in ("wea", "ther")]
    stream = [*(chunk(tool_calls=[half]) for half in halves), chunk("tool_calls"), encode(b"[DONE]")]
    offered = [{"type": "function", "function": {"name": name}} for name in ("wea", "ther")]
    for tools, names in ([], ["weather"]), (offered, ["wea", "ther"]):
        (said,) = inspect(cassette(tmp_path, recorded({**ASKED, "tools": tools}, *stream)))
        assert [call["name"] for call in said["choices"][0]["tool_calls"]] == names


def test_a_cut_stream_has_no_finish_reason(tmp_path: Path) -> None:
    whole = recorded(ASKED, chunk(content="half"), chunk("stop"))
    assert whole.response is not None
    error = ErrorInfo(code="upstream_connection_lost", message="reset")
    cut = msgspec.structs.replace(whole, response=msgspec.structs.replace(whole.response, error=error))
    (said,) = inspect(cassette(tmp_path, cut))
    assert (said["choices"][0]["content"], said["choices"][0]["finish_reason"]) == ("half", None)


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_responses_answer_is_its_object(tmp_path: Path, is_stream: bool) -> None:
    response = {"id": "r", "object": "response", "status": "completed", "output": [], "usage": {"input_tokens": 1}}
    body = msgspec.json.encode(response)
    if is_stream:
        body = encode(b'{"type":"response.completed","response":' + body + b"}", "response.completed")
    (said,) = inspect(cassette(tmp_path, recorded({"input": "hi"}, body, url="https://h/v1/responses")))
    assert (said["endpoint"], said["stream"], said["response"]) == ("/responses", is_stream, response)
    assert (said["choices"], said["usage"]) == ([], {"input_tokens": 1})


def test_an_answer_of_another_api_is_told_without_choices(tmp_path: Path) -> None:
    body = b'{"object":"list","data":[],"usage":{"total_tokens":4}}'
    (said,) = inspect(cassette(tmp_path, recorded({}, body, url="https://h/v1/embeddings")))
    assert (said["endpoint"], said["choices"], said["usage"]) == ("/embeddings", [], {"total_tokens": 4})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 5000])
@pytest.mark.parametrize("url", [CHAT, "https://h/v1/responses", "https://h/x"])
def test_a_body_that_makes_no_sense_says_nothing(tmp_path: Path, body: bytes, url: str) -> None:
    (said,) = inspect(cassette(tmp_path, recorded({}, body, url=url, status=502)))
    assert (said["status"], said["response"], said["usage"]) == (502, None, None)


def test_a_tool_call_is_told_by_its_name(tmp_path: Path) -> None:
    tool = Interaction(id="0", kind="tool", fidelity="parsed", tool=ToolCall(name="search", arguments={"q": 1}))
    (said,) = inspect(cassette(tmp_path, tool))
    assert (said["kind"], said["endpoint"], said["stream"], said["status"]) == ("tool", "search", False, None)


def test_what_was_read_before_a_broken_line_is_given(tmp_path: Path) -> None:
    path = cassette(tmp_path, recorded(ASKED, *STREAM))
    path.write_bytes(path.read_bytes() + b"broken\n")
    said = inspect(path)
    assert next(said)["interaction"] == 0
    with pytest.raises(CassetteCorrupt, match=r"run\.jsonl:3"):
        next(said)


# --- the picture -----------------------------------------------------------------------------


def drawn(path: Path) -> str:
    console = Console(file=io.StringIO(), width=80)
    for each in picture(path):
        console.print(each)
    output = console.file
    assert isinstance(output, io.StringIO)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def test_a_picture_is_a_conversation_of_80_columns(tmp_path: Path) -> None:
    history = [
        *ASKED["messages"],  # type: ignore[misc]
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "40 C"}]},
    ]
    answer = [chunk(content="It is very hot. " * 6), chunk("stop"), encode(b"[DONE]")]
    second = recorded({"model": "m", "messages": history}, *answer)
    shown = drawn(cassette(tmp_path, recorded(ASKED, *STREAM), second))
    assert max(map(len, shown.split("\n"))) <= 80
    assert shown == "\n".join(
        [
            "0 · POST /chat/completions · m · 200 · 5 chunks ".ljust(80, "─"),
            "      user  Weather in Rome?",
            " reasoning  Think.",
            '     calls  weather({"city":"Rome"})',
            "     usage  prompt_tokens 3, completion_tokens 2, total_tokens 5",
            "",
            "1 · POST /chat/completions · m · 200 · 3 chunks ".ljust(80, "─"),
            "            … 2 earlier messages",
            "      tool  40 C",
            " assistant  It is very hot. It is very hot. It is very hot. It is very hot. It",
            "            is very hot. It is very hot.",
            "",
        ]
    )


def test_long_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    answer = [chunk(content="line\n" * 500), chunk("stop")]
    assert "more characters)" in drawn(cassette(tmp_path, recorded(ASKED, *answer)))


def test_a_recording_cannot_write_escape_sequences(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\n\x07\x9b31m"
    request = {"model": evil, "messages": [{"role": evil, "content": evil}]}
    tool = Interaction(id="0", kind="tool", tool=ToolCall(name=evil, result=evil))
    other = recorded({}, evil.encode(), url=f"https://h/{evil}")
    shown = drawn(cassette(tmp_path, recorded(request, chunk(content=evil), chunk(evil)), tool, other))
    assert not any(character in shown for character in "\x1b\x07\x9b")
    assert "]0;owned" in shown
    assert shown.count("\n0 ·") + shown.count("\n1 ·") + shown.count("\n2 ·") == 2
    assert all("─" in line for line in shown.split("\n") if " · " in line)


def test_errors_and_other_answers_are_shown(tmp_path: Path) -> None:
    failed = Interaction(
        id="0", response=RecordedResponse(status=None, error=ErrorInfo(code="upstream_timeout", message="silence"))
    )
    shown = drawn(cassette(tmp_path, failed, recorded({}, b'{"error":"no"}', url="https://h/v1/files", status=500)))
    assert "     error  upstream_timeout: silence" in shown
    assert "1 · POST /v1/files · 500" in shown
    assert '    answer  {"error":"no"}' in shown
