"""Stored chat completions (``store: true``): listed, looked up, relabelled, forgotten. All are readings of journals."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.routing import Route

from antiphon.errors import NotFound
from antiphon.events import RunStarted
from antiphon.rendering.chat import chat_completion
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.store.base import Store, StoredChat
from antiphon.wire.lists import ChatListQuery, ChatMessagesQuery, decode_query, item_list
from antiphon.wire.refusals import refusal
from antiphon.wire.responses import Metadata, decode_object

_PATH = "/v1/chat/completions/{completion_id}"

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
        query = decode_query(exchange.query, ChatListQuery)
        found = await self._store.chats(exchange.owner, query)
        await exchange.respond_json(item_list([_completion(each) for each in found.chats], has_more=found.has_more))

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
        query = decode_query(exchange.query, ChatMessagesQuery)
        messages = _messages(_started(await self._find(exchange)))
        if query.order == "desc":
            messages.reverse()
        if query.after is not None:
            ids = [message["id"] for message in messages]
            if query.after not in ids:
                raise NotFound("message", query.after)
            messages = messages[ids.index(query.after) + 1 :]
        await exchange.respond_json(item_list(messages[: query.limit], has_more=len(messages) > query.limit))

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
