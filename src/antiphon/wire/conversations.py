"""The Conversations API: its requests as checked Structs, and the object that answers them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import InvalidRequest
from antiphon.wire.items import Item, checked_item
from antiphon.wire.refusals import refusal
from antiphon.wire.responses import Metadata, decode_object

MAX_ITEMS_AT_ONCE = 20

SomeItems = Annotated[list[Item], Meta(max_length=MAX_ITEMS_AT_ONCE)]
Request = TypeVar("Request", "CreateConversation", "UpdateConversation", "AddItems")


class Conversation(Struct, frozen=True, kw_only=True):
    """A conversation without its items."""

    id: str
    created_at: int
    metadata: dict[str, str] = {}
    object: str = "conversation"


class CreateConversation(Struct, kw_only=True):
    """The body of ``POST /v1/conversations``."""

    items: SomeItems | None = None
    metadata: Metadata | None = None


class UpdateConversation(Struct, kw_only=True):
    """The body of ``POST /v1/conversations/{id}``; the metadata takes the place of what was there."""

    metadata: Metadata | None


class AddItems(Struct, kw_only=True):
    """The body of ``POST /v1/conversations/{id}/items``."""

    items: SomeItems


def decode_conversation_request(body: bytes, shape: type[Request]) -> Request:
    """The checked body of a request about a conversation, its items checked too. No body is an empty object.

    Raises:
        InvalidRequest: the body is not a JSON object, or something in it is missing, of the wrong type or too much.
    """
    raw: dict[str, Any] = decode_object(body) if body else {}
    try:
        request = msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise refusal(error, raw) from None
    if not isinstance(request, UpdateConversation) and request.items:
        request.items = [_checked(item, f"items[{position}]") for position, item in enumerate(request.items)]
    return request


def _checked(item: Item, path: str) -> Item:
    item = checked_item(item, path)
    if item["type"] == "compaction_trigger":
        raise InvalidRequest(
            f"Invalid '{path}': a 'compaction_trigger' is an instruction for a response. Send it with one.",
            param=path,
            code="invalid_value",
        )
    return item
