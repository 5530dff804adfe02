"""When two requests are the same, and how a difference is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cassette_fakes import asked
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes.matching import Difference, differences, exact_key, loose_key, relevant_differences


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **changes}


def test_the_order_of_keys_and_the_host_do_not_matter() -> None:
    one = asked({"a": 1, "b": {"c": 2, "d": 3}}, url="https://one/v1/chat/completions")
    two = asked({"b": {"d": 3, "c": 2}, "a": 1}, url="http://two/openai/v1/v1/chat/completions")
    assert exact_key(one) == exact_key(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (asked(body()), asked(body(temperature=0))),
        (asked(body()), asked(body(), url="https://h/v1/responses")),
        (asked(body()), asked(body(), method="PUT")),
        (asked(body(n=1)), asked(body(n=True))),
        (asked({}, url="https://h/v1/files?after=a"), asked({}, url="https://h/v1/files?after=b")),
        (
            asked({}, url="https://h/v1beta/models/a:generateContent"),
            asked({}, url="https://h/v1beta/models/b:generateContent"),
        ),
    ],
)
def test_what_is_asked_matters(one: Any, two: Any) -> None:
    assert loose_key(one) != loose_key(two)


def test_how_a_number_is_written_does_not_matter() -> None:
    assert exact_key(asked({"temperature": 1.0})) == exact_key(asked({"temperature": 1}))


def test_a_key_in_the_query_does_not_matter() -> None:
    assert exact_key(asked({}, url="https://h/v1/x?key=a&b=1")) == exact_key(asked({}, url="https://h/v1/x?b=1"))


def call(name: str, answered: str) -> dict[str, Any]:
    return body(
        messages=[
            {"role": "assistant", "tool_calls": [{"id": name, "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": answered, "content": "1"},
        ]
    )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (body(), body(stream_options={"include_usage": True}, user="u1")),
        (call("call_1", "call_1"), call("call_xyz", "call_xyz")),
        (body(system="Today is 2026-11-20."), body(system="Today is 2027-01-02T10:00:00Z.")),
        (body(x="run 123e4567-e89b-12d3-a456-426614174000"), body(x="run 00000000-e89b-12d3-a456-426614174000")),
    ],
)
def test_what_is_volatile_does_not_matter_loosely(one: Any, two: Any) -> None:
    assert exact_key(asked(one)) != exact_key(asked(two))
    assert loose_key(asked(one)) == loose_key(asked(two))
    assert relevant_differences(asked(one), asked(two)) == []


def test_ids_that_belong_together_must_still_do_so() -> None:
    assert loose_key(asked(call("a", "a"))) != loose_key(asked(call("a", "b")))


def test_bodies_that_are_no_json_are_compared_as_text_with_any_line_ends() -> None:
    one, two = (msgspec.structs.replace(asked(None), body=each) for each in (b"a\r\nb", b"a\nb"))
    assert exact_key(one) == exact_key(two)
    assert exact_key(msgspec.structs.replace(one, body=b"\xff\xfe")) != exact_key(two)


def test_differences_have_a_path_and_both_values() -> None:
    recorded = body(max_tokens=5, tools=[{"x-y": 1}])
    sent = body(max_completion_tokens=5, tools=[{"x-y": 2}, {}], messages=[{"role": "user", "content": "ho"}])
    assert differences(asked(recorded), asked(sent)) == [
        Difference("$.messages[0].content", "hi", "ho"),
        Difference("$.max_tokens", 5, msgspec.UNSET),
        Difference("$.tools[0]['x-y']", 1, 2),
        Difference("$.tools[1]", msgspec.UNSET, {}),
        Difference("$.max_completion_tokens", msgspec.UNSET, 5),
    ]


def test_method_url_and_type_are_differences() -> None:
    one, two = asked({"n": 1}), asked({"n": True}, method="PUT", url="https://h/v1/x?a=1")
    assert differences(one, two) == [
        Difference("method", "POST", "PUT"),
        Difference("url", "/chat/completions", "/v1/x?a=1"),
        Difference("$.n", 1, True),
    ]


def test_volatile_parts_are_differences_too() -> None:
    assert [each.path for each in differences(asked(body()), asked(body(stream_options={})))] == ["$.stream_options"]


def test_a_difference_shows_where_long_texts_begin_to_differ() -> None:
    shown = str(Difference("$.a", "x" * 500 + "left" + "y" * 500, "x" * 500 + "right" + "y" * 500))
    assert "xxxleftyyy" in shown
    assert "xxxrightyyy" in shown
    assert len(shown) < 200
    assert str(Difference("$.a", msgspec.UNSET, None)) == "$.a: recorded nothing, sent null"


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=4),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=8,
)


@given(_json, _json)
def test_two_requests_have_the_same_key_exactly_if_nothing_differs(one: Any, two: Any) -> None:
    assert (exact_key(asked(one)) == exact_key(asked(two))) == (differences(asked(one), asked(two)) == [])
    assert (loose_key(asked(one)) == loose_key(asked(two))) == (relevant_differences(asked(one), asked(two)) == [])
