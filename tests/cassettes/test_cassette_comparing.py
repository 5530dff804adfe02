"""How far an answer is from the recorded one, and which interaction is which."""

from __future__ import annotations

import msgspec
import pytest
from cassette_fakes import recorded

from antiphon.cassettes import RecordedResponse
from antiphon.cassettes.comparing import drift, pairs

URL = "https://api.example.com/v1/things"


def event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def said(word: str, **delta: object) -> bytes:
    choice = {"index": 0, "delta": {"content": word, **delta}, "finish_reason": "stop"}
    return event({"id": word, "object": "chat.completion.chunk", "created": len(word), "choices": [choice]})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([said("hi")], [said("hi")], "same"),
        ([said("hello")], [said("hel"), said("lo")], "same"),
        ([said("hi")], [said("ho")], "words"),
        ([said("hi")], [said("hi", reasoning="why")], "shape"),
    ],
)
def test_a_chat_stream_drifts_by_what_it_says_and_not_by_its_chunks(
    old: list[bytes], new: list[bytes], expected: str
) -> None:
    assert drift(recorded("q", *old), recorded("q", *new))[0] == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b'{"id":"a","n":1}', b'{"id":"b","n":1}', "same"),
        (b'{"n":1}', b'{"n":2}', "words"),
        (b'{"n":1}', b'{"n":"1"}', "shape"),
        (b'{"n":[{"a":1}]}', b'{"n":[{"a":1},{"a":1}]}', "words"),
        (b'{"n":1}', b'{"n":1,"m":null}', "shape"),
    ],
)
def test_a_body_drifts_in_shape_where_fields_or_types_do(old: bytes, new: bytes, expected: str) -> None:
    assert drift(recorded("q", old, url=URL), recorded("q", new, url=URL))[0] == expected


def test_another_status_is_the_gravest_drift() -> None:
    one = recorded("q", b"{}", url=URL)
    how_far, differences = drift(one, msgspec.structs.replace(one, response=RecordedResponse(status=500)))
    assert how_far == "status"
    assert str(differences[0]) == "status: recorded 200, sent 500"


def test_interactions_are_paired_by_what_they_ask_and_between_those_by_kind() -> None:
    a = [recorded(word, url=URL) for word in ("one", "two", "three")]
    b = [recorded("zero", url=f"{URL}/new"), *(recorded(word, url=URL) for word in ("one", "zwei", "three"))]
    found = [(pair.a and pair.a[0], pair.b and pair.b[0]) for pair in pairs(a, b)]
    assert found == [(None, 0), (0, 1), (1, 2), (2, 3)]
