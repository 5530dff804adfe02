"""Secrets do not reach the disk."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse, Scrubber, ToolCall
from antiphon.cassettes.format import encode_interaction
from antiphon.events import ErrorInfo

SECRET = 'sk-live/"4242"+x'


def test_headers_are_kept_by_allow_list_only() -> None:
    headers = (
        ("authorization", "Bearer abc"),
        ("content-type", "application/json"),
        ("set-cookie", "session=1"),
        ("x-ratelimit-remaining-requests", "9"),
        ("openai-organization", "us"),
        ("x-request-id", "req_1"),
    )
    scrubbed = Scrubber()(Interaction(id="0", response=RecordedResponse(status=200, headers=headers)))
    assert scrubbed.response is not None
    assert [name for name, _ in scrubbed.response.headers] == [
        "content-type",
        "x-ratelimit-remaining-requests",
        "x-request-id",
    ]


def test_a_known_secret_is_found_wherever_it_stands() -> None:
    quoted = SECRET.replace("/", "%2F").replace('"', "%22").replace("+", "%2B")
    in_json = SECRET.replace('"', '\\"').encode()
    interaction = Interaction(
        id="0",
        request=RecordedRequest(
            method="POST",
            url=f"https://h/v1?k={quoted}",
            headers=(("user-agent", f"me {SECRET}"),),
            body=b'{"a":"' + in_json + b'"}',
        ),
        response=RecordedResponse(
            status=401,
            chunks=(Chunk(0.0, b"bad key " + SECRET.encode()),),
            error=ErrorInfo(code="x", message=f"no {SECRET}"),
        ),
        tool=ToolCall(name="t", arguments={"key": SECRET}, result=[SECRET]),
        tags={"who": SECRET},
    )
    line = encode_interaction(Scrubber([SECRET])(interaction))
    assert b"4242" not in line
    assert line.count(b"[scrubbed:1]") == 8


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(0, 20))
def test_a_secret_that_chunks_cut_is_found(cuts: list[int], before: int) -> None:
    body = b"." * before + b"sk-aaaa" + b"--" + b"sk-aaaa" + b"." * 20
    ends = sorted({min(cut, len(body)) for cut in cuts} | {len(body)})
    chunks = tuple(Chunk(float(end), body[start:end]) for start, end in zip([0, *ends], ends, strict=False))
    scrubbed = Scrubber(["sk-aaaa"])(Interaction(id="0", response=RecordedResponse(status=200, chunks=chunks)))
    assert scrubbed.response is not None
    assert scrubbed.response.body == body.replace(b"sk-aaaa", b"[scrubbed:1]")
    assert [chunk.delay_ms for chunk in scrubbed.response.chunks] == [chunk.delay_ms for chunk in chunks]


def test_keys_in_the_query_are_taken_out() -> None:
    request = RecordedRequest(method="GET", url="https://h/v1beta/models?alt=sse&key=AIza1234&x=1")
    scrubbed = Scrubber()(Interaction(id="0", request=request))
    assert scrubbed.request is not None
    assert scrubbed.request.url == "https://h/v1beta/models?alt=sse&key=[scrubbed]&x=1"


def test_a_short_word_is_no_secret() -> None:
    request = RecordedRequest(method="POST", url="u", body=b'{"model":"none"}')
    scrubbed = Scrubber(["none", ""])(Interaction(id="0", request=request))
    assert scrubbed.request == request


def test_stand_ins_depend_on_the_place_in_the_list_only() -> None:
    request = RecordedRequest(method="POST", url="u", body=b"second-secret first-secret")
    scrubbed = Scrubber(["first-secret", "second-secret"])(Interaction(id="0", request=request))
    assert scrubbed.request is not None
    assert scrubbed.request.body == b"[scrubbed:2] [scrubbed:1]"


def test_the_word_before_a_key_is_no_secret() -> None:
    headers = (("authorization", "Bearer 0123456789abcdef-key"),)
    response = RecordedResponse(status=200, chunks=(Chunk(0.0, b"Send it as Bearer, then 0123456789abcdef-key."),))
    request = RecordedRequest(method="POST", url="http://h/", headers=headers)
    scrubbed = Scrubber()(Interaction(id="0", request=request, response=response)).response
    assert scrubbed is not None
    assert re.fullmatch(rb"Send it as Bearer, then \[scrubbed:\d\]\.", scrubbed.body)
