"""Stored chat completions (``store: true``): listed, looked up, relabelled, forgotten. All are readings of journals."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import Route

from antiphon.errors import InvalidRequest
from antiphon.events import RunStarted
from antiphon.rendering.chat import chat_completion
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.store.base import Store, StoredChat
from antiphon.wire.refusals import refusal
from antiphon.wire.responses import Metadata, decode_object

_PATH = "/v1/chat/completions/{completion_id}"

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100

# What a stored completion repeats of its request, and what stands there if the client said nothing.
_ECHOED: dict[str, Any] = {
    "tool_choice": None,
    "seed": None,
    "top_p": 1.0,
    "temperature": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "service_tier": "default",
    "tools": None,
    "response_format": None,
}


class StoredChats:
    """The routes for chat completions that were stored."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("GET", "/v1/chat/completions", self.list),
            route("GET", _PATH, self.retrieve),
            route("POST", _PATH, self.update),
            route("DELETE", _PATH, self.delete),
            route("GET", f"{_PATH}/messages", self.messages),
        ]

    async def list(self, exchange: Exchange) -> None:
        """``GET /v1/chat/completions``: those of this owner that came to an end, oldest first."""
        page = _page(exchange, "model", "metadata")
        found = await self._store.chats(
            exchange.owner,
            after=page.after,
            limit=page.limit + 1,
            newest_first=page.newest_first,
            model=page.filters.get("model"),
            metadata=page.metadata,
        )
        shown = [_completion(chat) for chat in found[: page.limit]]
        await exchange.respond_json(_listing(shown, has_more=len(found) > page.limit))

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/chat/completions/{id}``."""
        await exchange.respond_json(_completion(await self._find(exchange)))

    async def update(self, exchange: Exchange) -> None:
        """``POST /v1/chat/completions/{id}``: other metadata in place of what it had."""
        raw = decode_object(await exchange.body())
        try:
            metadata = msgspec.convert(raw, _Update).metadata
        except msgspec.ValidationError as error:
            raise refusal(error, raw) from None
        await self._store.set_metadata(exchange.owner, exchange.parameter("completion_id"), metadata or {})
        await self.retrieve(exchange)

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/chat/completions/{id}``."""
        id_ = exchange.parameter("completion_id")
        await self._store.delete(exchange.owner, id_, api="chat")
        await exchange.respond_json({"object": "chat.completion.deleted", "id": id_, "deleted": True})

    async def messages(self, exchange: Exchange) -> None:
        """``GET /v1/chat/completions/{id}/messages``: what was asked, message by message."""
        page = _page(exchange)
        messages = _messages(_started(await self._find(exchange)))
        if page.newest_first:
            messages.reverse()
        if page.after is not None:
            ids = [message["id"] for message in messages]
            if page.after not in ids:
                raise InvalidRequest(f"There is no message {page.after!r} to begin after.", param="after")
            messages = messages[ids.index(page.after) + 1 :]
        await exchange.respond_json(_listing(messages[: page.limit], has_more=len(messages) > page.limit))

    async def _find(self, exchange: Exchange) -> StoredChat:
        return await self._store.chat(exchange.owner, exchange.parameter("completion_id"))


class _Update(msgspec.Struct):
    metadata: Metadata | None


# --- what is shown ---------------------------------------------------------------------------


def _started(chat: StoredChat) -> RunStarted:
    started = chat.events[0]
    assert isinstance(started, RunStarted)
    return started


def _completion(chat: StoredChat) -> dict[str, Any]:
    request = _started(chat).request
    echoed = {name: default if (sent := request.get(name)) is None else sent for name, default in _ECHOED.items()}
    return {**chat_completion(chat.events), **echoed, "input_user": request.get("user"), "metadata": chat.metadata}


def _messages(started: RunStarted) -> list[dict[str, Any]]:
    return [_message(message, f"{started.run}-{n}") for n, message in enumerate(started.request["messages"])]


def _message(message: dict[str, Any], id_: str) -> dict[str, Any]:
    """A message of a request, its content as a string and, where it was not one, as parts."""
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    if parts is not None:
        content = "".join(part["text"] for part in parts if part["type"] == "text")
    return {"name": None, "refusal": None, **message, "id": id_, "content": content, "content_parts": parts}


def _listing(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


# --- what was asked for ----------------------------------------------------------------------

_METADATA = re.compile(r"metadata\[(.*)\]")


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    limit: int
    after: str | None
    newest_first: bool
    filters: dict[str, str]
    metadata: dict[str, str]


def _page(exchange: Exchange, *filters: str) -> _Page:
    """The part of a list that the query asks for.

    Raises:
        InvalidRequest: a parameter is not known here, or its value is none.
    """
    given: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in parse_qsl(exchange.query.decode("latin-1"), keep_blank_values=True):
        labelled = _METADATA.fullmatch(name)
        if labelled and "metadata" in filters:
            metadata[labelled[1]] = value
        elif name in ("limit", "order", "after", *filters) and name != "metadata":
            given[name] = value
        else:
            raise InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    order = given.get("order", "asc")
    if order not in ("asc", "desc"):
        raise InvalidRequest(
            f"Invalid value for 'order': {order!r}. Supported values are: 'asc', 'desc'.",
            param="order",
            code="invalid_value",
        )
    return _Page(
        limit=_limit(given.get("limit", str(_DEFAULT_LIMIT))),
        after=given.get("after"),
        newest_first=order == "desc",
        filters=given,
        metadata=metadata,
    )


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_LIMIT:
        raise InvalidRequest(
            f"Invalid 'limit': expected an integer from 1 to {_MAX_LIMIT}, but got {text[:80]!r} instead.",
            param="limit",
            code="invalid_value",
        )
    return int(text)
