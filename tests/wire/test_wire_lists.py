from typing import Any

import msgspec
import pytest

from antiphon.errors import InvalidRequest
from antiphon.wire.conversations import (
    AddItems,
    CreateConversation,
    UpdateConversation,
    decode_conversation_request,
)
from antiphon.wire.lists import IncludeQuery, ListQuery, decode_query, item_list

MESSAGE = {"role": "user", "content": "hi"}


def refused(call: Any, *arguments: Any) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    return caught.value.param, caught.value.reason


# --- queries ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", ListQuery()),
        (b"limit=100&order=asc", ListQuery(limit=100, order="asc")),
        (b"after=msg_%61%26&limit=1", ListQuery(limit=1, after="msg_a&")),
        (b"before=b", ListQuery(before="b")),
        (
            b"include[]=message.output_text.logprobs&include%5B%5D=reasoning.encrypted_content",
            ListQuery(include=("message.output_text.logprobs", "reasoning.encrypted_content")),
        ),
        (b"include=file_search_call.results", ListQuery(include=("file_search_call.results",))),
    ],
)
def test_a_list_is_asked_for_as_openai_has_it(query: bytes, expected: ListQuery) -> None:
    assert decode_query(query, ListQuery) == expected


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        (b"limit=0", "limit", "integer_below_min_value"),
        (b"limit=101", "limit", "integer_above_max_value"),
        (b"limit=ten", "limit", "invalid_type"),
        (b"limit=", "limit", "invalid_type"),
        (b"order=down", "order", "invalid_value"),
        (b"include[]=everything", "include[0]", "invalid_value"),
        (b"page=2", "page", "unknown_parameter"),
        (b"\xff\xfe=%ff", "ÿþ", "unknown_parameter"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_by_name(query: bytes, param: str, code: str) -> None:
    assert refused(decode_query, query, ListQuery) == (param, code)


def test_a_look_up_takes_what_to_include_and_nothing_else() -> None:
    assert decode_query(b"include[]=reasoning.encrypted_content", IncludeQuery).include
    assert refused(decode_query, b"limit=1", IncludeQuery) == ("limit", "unknown_parameter")


def test_an_empty_page_has_ids_that_are_empty() -> None:
    assert item_list([]) == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


# --- bodies ----------------------------------------------------------------------------------


def test_a_conversation_needs_no_body() -> None:
    for body in (b"", b"{}", b'{"items":null,"metadata":null}'):
        request = decode_conversation_request(body, CreateConversation)
        assert (request.items, request.metadata) == (None, None)


def test_items_get_their_type_and_keep_their_fields() -> None:
    given = [MESSAGE, {"id": "msg_1"}, {"type": "acme:note", "x": [None]}]
    request = decode_conversation_request(msgspec.json.encode({"items": given}), AddItems)
    assert request.items == [{**MESSAGE, "type": "message"}, {"id": "msg_1", "type": "item_reference"}, given[2]]


@pytest.mark.parametrize(
    ("shape", "body", "param", "code"),
    [
        (AddItems, {}, "items", "missing_required_parameter"),
        (AddItems, {"items": "hi"}, "items", "invalid_type"),
        (AddItems, {"items": [MESSAGE] * 21}, "items", "array_above_max_length"),
        (AddItems, {"items": [{"type": "nonsense"}]}, "items[0].type", "invalid_value"),
        (AddItems, {"items": [MESSAGE, {"role": "user"}]}, "items[1].content", "missing_required_parameter"),
        (AddItems, {"items": [{"type": "compaction_trigger"}]}, "items[0]", "invalid_value"),
        (CreateConversation, {"items": [MESSAGE] * 21}, "items", "array_above_max_length"),
        (CreateConversation, {"metadata": {"a": 1}}, "metadata", "invalid_type"),
        (CreateConversation, {"metadata": {"a": "x" * 513}}, "metadata", "string_above_max_length"),
        (UpdateConversation, {}, "metadata", "missing_required_parameter"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_name(shape: Any, body: Any, param: str, code: str) -> None:
    assert refused(decode_conversation_request, msgspec.json.encode(body), shape) == (param, code)
