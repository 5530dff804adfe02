"""Quirks Q83 to Q88 and Q92 to Q99: errors within streams, bodies that are no streams, and damaged framing."""

import msgspec
import pytest
from assembly_streams import (
    STOP,
    call,
    calls,
    chunk,
    failed,
    feed,
    finished,
    quirks,
    sse,
    stream,
    text,
    told_calls,
    types,
)

from antiphon.assembly.chat import ChatAssembler, assemble, assemble_chunks
from antiphon.events import ErrorInfo

HI = chunk({"content": "hi"})
QUOTA = {"error": {"message": "quota exceeded", "code": 429}}


@pytest.mark.parametrize(
    "error", [QUOTA, {**QUOTA, "choices": []}, {"error": "quota exceeded"}], ids=["alone", "choices", "text"]
)
def test_q83_an_error_in_the_stream_fails_the_turn_and_keeps_what_came_before(error: dict[str, object]) -> None:
    events = stream(HI, calls(call(0, "a", "get_time", "{}")), error)
    assert text(events) == "hi"
    assert told_calls(events) == [("get_time", "{}", "incomplete")]
    assert failed(events).error.message == "quota exceeded"


@pytest.mark.parametrize("code", ["502", 502, "network"])
def test_q84_an_error_wins_over_the_choices_beside_it(code: object) -> None:
    events = stream({**chunk({"content": "hi"}, "error"), "error": {"message": "upstream died", "code": code}})
    assert text(events) == "hi"
    assert failed(events).error.upstream_code == str(code)
    assert failed(events).retryable


def test_q84_an_error_within_a_choice_is_an_error() -> None:
    choice = {"index": 0, "delta": {"content": "hi"}, "error": {"message": "upstream died"}}
    assert failed(stream({"choices": [choice]}, STOP)).error.message == "upstream died"


def test_q84_groq_hides_its_error_in_a_field_of_its_own() -> None:
    assert failed(stream(HI, {**STOP, "x_groq": {"error": "over capacity"}})).error.message == "over capacity"


def test_q85_an_error_event_fails_the_turn() -> None:
    error = {
        "error": {"message": "bad call", "code": "tool_use_failed", "failed_generation": "<f>", "status_code": 400}
    }
    events = feed(sse(HI, done=False), b"event: error\ndata: " + msgspec.json.encode(error) + b"\n\n")
    assert (failed(events).error.upstream_code, failed(events).retryable) == ("tool_use_failed", False)
    assert "Q85" in quirks(events)
    assert failed(feed(b"event: error\ndata: it broke\n\n")).error.message == "it broke"


def test_q86_an_html_page_is_a_failure_without_anybodys_address() -> None:
    page = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>Your IP: 203.0.113.9</body></html>"
    for size in (1, 7, 1000):
        events = feed(*(page[at : at + size] for at in range(0, len(page), size)))
        assert failed(events).error.message == "502 Bad Gateway"
        assert "Q86" in quirks(events)


def test_q86_plain_text_is_a_failure_that_says_it() -> None:
    body = b"upstream connect error from 10.0.0.1"
    for pieces in ([body], [body[n : n + 1] for n in range(len(body))]):
        events = feed(*pieces)
        assert failed(events).error.message == "upstream connect error from [address]"
        assert "10.0.0.1" not in repr(events)


@pytest.mark.parametrize("space", [b"", b"\n\n ", b"\xef\xbb\xbf"])
def test_q87_a_whole_answer_where_a_stream_was_expected_is_an_answer(space: bytes) -> None:
    body = space + msgspec.json.encode({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    for size in (1, 1000):
        assert text(feed(*(body[at : at + size] for at in range(0, len(body), size)))) == "hi"


def test_q87_chunks_without_framing_are_read_and_need_an_end() -> None:
    lines = [msgspec.json.encode(one) for one in (HI, STOP)]
    assert finished(feed(b"\n".join(lines))).finish_reason == "stop"
    for cut_off in (lines[0], lines[0] + b"\n" + lines[0]):
        assert failed(feed(cut_off)).error.code == "truncated_stream"
    assert failed(feed(lines[0][:-5])).error.code == "invalid_event"


def test_q88_an_error_in_a_list_is_an_error() -> None:
    assert (
        failed(assemble(b'[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]')).error.message == "bad"
    )
    assert failed(stream([QUOTA])).error.message == "quota exceeded"


def test_q92_no_space_is_needed_behind_the_colon() -> None:
    assert text(feed(sse(HI, STOP).replace(b"data: ", b"data:"))) == "hi"


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_q93_lines_may_end_in_any_way(end: bytes) -> None:
    assert text(feed(sse(HI, STOP).replace(b"\n", end))) == "hi"


@pytest.mark.parametrize(
    "nothing", [b": ping", b":", b"data: : keepalive", b'data: ""', b"data:", b"id: 7", b"data: null"]
)
def test_q94_keep_alives_say_nothing(nothing: bytes) -> None:
    events = feed(sse(HI, done=False), nothing + b"\n\n", sse(HI, STOP))
    assert text(events) == "hihi"
    assert finished(events)


def test_q95_broken_characters_are_replaced_and_halves_of_one_never_escape() -> None:
    data = msgspec.json.encode(chunk({"content": "é!"}))
    events = stream(data.replace("é".encode(), b"\xc3"), data.replace("é".encode(), b"\\ud83d"), STOP)
    assert text(events) == "�!" * 2
    assert msgspec.json.encode(events)
    assert "Q95" in quirks(events)


def test_q96_an_event_over_a_megabyte_is_an_event() -> None:
    assert len(text(stream(chunk({"content": "x" * 2_000_000}), STOP))) == 2_000_000


@pytest.mark.parametrize("done", [b"data: [DONE]", b"data: [DONE]  \r\n\r\n", b"data:[DONE]\n"])
def test_q97_done_is_recognised_however_it_ends(done: bytes) -> None:
    assert finished(feed(sse(HI, done=False), done)).finish_reason == "stop"


def test_q97_a_torn_last_event_does_not_undo_an_answer_that_was_finished() -> None:
    events = feed(sse(HI, STOP, done=False), b'data: {"choices":[],"usa')
    assert finished(events).finish_reason == "stop"
    assert "Q97" in quirks(events)
    assert failed(feed(sse(HI, done=False), b'data: {"choices":[')).error.code == "truncated_stream"


def test_q98_two_objects_in_one_event_are_both_read() -> None:
    both = msgspec.json.encode(HI) + b"\n" + msgspec.json.encode(QUOTA)
    for event in (both, both.replace(b"\n", b"\ndata: ")):
        events = feed(b"data: " + event.replace(b"}\n{", b"}{") + b"\n\n")
        assert text(events) == "hi"
        assert failed(events).error.message == "quota exceeded"
        assert "Q98" in quirks(events)


@pytest.mark.parametrize(
    "garbage", [b"{nonsense", b"5", b'"text"', b"{" * 5000, b'{"a":' * 500 + b"1" + b"}" * 500, b'{"a":NaN} x']
)
def test_q98_an_event_that_is_not_json_fails_the_turn(garbage: bytes) -> None:
    events = stream(HI, garbage, STOP)
    assert text(events) == "hi"
    assert failed(events).error.code == "invalid_event"


def test_q99_padding_is_dropped() -> None:
    assert finished(stream({**HI, "obfuscation": "xyz"}, {**STOP, "obfuscation": "z"})).provider_data == {}


def test_an_empty_body_is_a_cut_off_answer() -> None:
    for body in (b"", b" \n", b"\xef\xbb", b": ping\n\n: ping\n\n", b"event: start\n\n"):
        assert failed(feed(body)).error.code == "truncated_stream", body


def test_a_body_larger_than_the_limit_fails_the_turn_wherever_it_is_cut() -> None:
    data = sse(*[HI] * 10)
    whole = feed(data, max_body_bytes=300)
    assert failed(whole).error.code == "limit_exceeded"
    assert "300" in failed(whole).error.message
    assert feed(*(data[n : n + 1] for n in range(len(data))), max_body_bytes=300) == whole


def test_a_lost_connection_closes_what_is_open() -> None:
    assembler = ChatAssembler(turn=1)
    events = assembler.feed(sse(HI, calls(call(0, "a", "get_time", "{}")), done=False))
    error = ErrorInfo(code="upstream_connection_lost", message="cut")
    events += assembler.fail(error, retryable=True)
    assert types(events)[-2:] == ["tool_call.finished", "turn.failed"]
    assert told_calls(events) == [("get_time", "{}", "incomplete")]
    assert (failed(events).error, failed(events).retryable, failed(events).turn) == (error, True, 1)
    assert assembler.fail(error, retryable=True) == assembler.finish() == []


@pytest.mark.parametrize("wrong", [None, 5, "x", [], [1], {}, True, [[]], {"x": []}])
def test_a_wrong_type_anywhere_raises_nothing(wrong: object) -> None:
    for path in ("choices", "id", "model", "usage", "x_groq", "citations", "created", "base_resp", "detail"):
        assert stream({**HI, path: wrong}, STOP)
    for field in ("index", "delta", "message", "finish_reason", "logprobs", "usage"):
        assert stream({"choices": [{"index": 0, "delta": {"content": "a"}, field: wrong}]}, STOP)
    for field in (
        "content",
        "refusal",
        "reasoning",
        "reasoning_details",
        "tool_calls",
        "function_call",
        "annotations",
        "role",
    ):
        assert stream(chunk({"content": "a", field: wrong}), STOP)
        assert stream(chunk({field: [wrong]}), STOP)
        assert assemble_chunks([{"choices": [{"message": {field: wrong}}]}, STOP])  # type: ignore[list-item]
    for field in ("index", "id", "type", "function", "custom", "name", "arguments"):
        assert stream(calls({**call(0, "a", "f", "{}"), field: wrong}), STOP)
        assert stream(calls({"index": 0, "function": {"name": "f", "arguments": "{}", field: wrong}}), STOP)
    for field in ("type", "index", "id", "text", "summary", "data", "thinking"):
        assert stream(chunk({"reasoning_details": [{"index": 0, "text": "a", field: wrong}] * 2}), STOP)
        assert stream(chunk({"content": [{"type": "thinking", field: wrong}]}), STOP)
