"""Lists: which page of one is asked for, and what the page looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import InvalidRequest
from antiphon.wire.items import Item
from antiphon.wire.refusals import refusal

Order = Literal["asc", "desc"]
Limit = Annotated[int, Meta(ge=1, le=100)]
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]

_CHOICES = {"order": get_args(Order), "include": get_args(Include)}


class ListQuery(Struct, frozen=True, kw_only=True):
    """Which page of a list: at most ``limit`` items after the item ``after``, or those right before ``before``.

    ``include`` shows what searches found; the rest of an item is shown as it was stored anyway.
    """

    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    include: tuple[Include, ...] = ()


class IncludeQuery(Struct, frozen=True, kw_only=True):
    """What else an answer shall show; see `ListQuery`."""

    include: tuple[Include, ...] = ()


class ChatMessagesQuery(Struct, frozen=True, kw_only=True):
    """Which page of the messages of a stored chat completion; here the oldest come first."""

    limit: Limit = 20
    order: Order = "asc"
    after: str | None = None


class ChatListQuery(ChatMessagesQuery, frozen=True, kw_only=True):
    """Which page of the stored chat completions: those of ``model`` that have all of ``metadata``."""

    model: str | None = None
    metadata: dict[str, str] = {}


Query = TypeVar("Query", bound=Struct)

# A member of an object in a query string.
_MEMBER = re.compile(r"(\w+)\[(.+)\]")


def decode_query(query: bytes, shape: type[Query], *, choices: Mapping[str, Iterable[str]] = _CHOICES) -> Query:
    """The checked query string of a request; ``choices`` are those of `refusal`.

    Raises:
        InvalidRequest: a parameter is unknown, of the wrong type or out of range.
    """
    given: dict[str, Any] = {}
    members: dict[str, dict[str, str]] = {}
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        name = key.removesuffix("[]")
        member = _MEMBER.fullmatch(name)
        if name == "include" and name in shape.__struct_fields__:
            given.setdefault(name, []).append(value)
        elif member and member[1] == "metadata" and member[1] in shape.__struct_fields__:
            members.setdefault(member[1], {})[member[2]] = value
        elif name in shape.__struct_fields__:
            given[name] = value
        else:
            raise InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    given = members | given
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise refusal(error, given, choices=choices) from None


def object_list(objects: Sequence[Any], *, has_more: bool = False) -> dict[str, Any]:
    """A page of objects that have ids; see `item_list`."""
    first, last = (objects[0].id, objects[-1].id) if objects else ("", "")
    return {"object": "list", "data": objects, "first_id": first, "last_id": last, "has_more": has_more}


def item_list(items: Sequence[Item], *, has_more: bool = False) -> dict[str, Any]:
    """A page of items. OpenAI's document has the ids as strings in any case, so those of an empty page are empty."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else "",
        "last_id": items[-1]["id"] if items else "",
        "has_more": has_more,
    }
