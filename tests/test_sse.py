"""The decoder gives the same events however the bytes were cut, and the encoder is its inverse."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import sse
from antiphon.errors import EventTooLarge
from antiphon.sse import ServerSentEvent, SSEDecoder


def decode(*chunks: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
fields = st.sampled_from(
    [b"data: {}", b"data:{}", b"data", b"data: ", b": ping", b":", b"event: error", b"event:x", b"id: 7", b"retry: 1"]
    + ["data: a\u2028b\u0085c é 🙂".encode(), b"data: \xff\xfe", b"", b"", b"nonsense", b"data: : keepalive"]
)
streams = st.lists(st.tuples(fields, line_ends)).map(lambda lines: b"".join(a + b for a, b in lines))
prefixes = st.sampled_from([b"", b"\xef\xbb\xbf"])


@given(prefixes, streams, st.lists(st.integers(0, 10_000)))
def test_events_do_not_depend_on_how_the_bytes_were_cut(prefix: bytes, stream: bytes, places: list[int]) -> None:
    whole = decode(prefix + stream)
    assert decode(*cut(prefix + stream, places)) == whole
    assert decode(*(bytes([byte]) for byte in prefix + stream)) == whole


@given(st.lists(st.tuples(st.text(), st.sampled_from(["message", "error", "response.created"]))))
def test_decoding_what_was_encoded_gives_it_back(pairs: list[tuple[str, str]]) -> None:
    # CR and CRLF in data come back as LF: the format has no other way to say them.
    stream = b"".join(sse.encode(data.encode(), event) for data, event in pairs)
    expected = [(data.replace("\r\n", "\n").replace("\r", "\n").encode(), event) for data, event in pairs]
    assert [(event.data, event.event) for event in decode(stream)] == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_every_line_end_of_the_standard_separates_events(end: bytes) -> None:
    assert [event.data for event in decode(b"data: 1" + end * 2 + b"data: 2" + end * 2)] == [b"1", b"2"]


def test_a_line_separator_inside_json_is_data() -> None:
    data = '{"text":"a\u2028b\u2029c\u0085d\x0b\x0c"}'.encode()
    assert decode(b"data: " + data + b"\n\n") == [ServerSentEvent(data)]


def test_a_byte_order_mark_is_not_part_of_the_first_field() -> None:
    assert decode(b"\xef\xbb\xbfdata: 1\n\n") == [ServerSentEvent(b"1")]
    assert decode(b"\xef", b"\xbb", b"\xbfdata: 1\n\n") == [ServerSentEvent(b"1")]


def test_the_last_event_is_given_even_without_its_final_newline() -> None:
    assert decode(b"data: 1\n\ndata: 2") == [ServerSentEvent(b"1"), ServerSentEvent(b"2")]


def test_data_lines_of_one_event_are_joined_with_line_feeds() -> None:
    assert decode(b"data: a\ndata:\ndata: b\n\n") == [ServerSentEvent(b"a\n\nb")]


def test_comments_and_an_event_without_data_give_nothing() -> None:
    assert decode(b": ping\n\nevent: lonely\n\nid: 3\n\n:\n\n") == []


def test_an_event_larger_than_the_limit_is_an_error_that_names_the_limit() -> None:
    for chunks in ([b"data: " + b"x" * 200 + b"\n\n"], [b"data: " + b"x" * 90, b"x" * 90], [b"data: x\n"] * 30):
        decoder = SSEDecoder(max_event_bytes=100)
        with pytest.raises(EventTooLarge, match="100 bytes"):
            for chunk in chunks:
                decoder.feed(chunk)


@given(streams, st.lists(st.integers(0, 10_000)))
def test_what_is_too_large_does_not_depend_on_how_the_bytes_were_cut(stream: bytes, places: list[int]) -> None:
    """Events before the one that is too large are given, however many bytes arrive at once."""

    def decode_within(chunks: list[bytes]) -> tuple[list[ServerSentEvent], bool]:
        decoder = SSEDecoder(max_event_bytes=20)
        events: list[ServerSentEvent] = []
        try:
            for chunk in chunks:
                events += decoder.feed(chunk)
            return events + decoder.flush(), False
        except EventTooLarge:
            return events, True

    assert decode_within(cut(stream, places)) == decode_within([stream])
