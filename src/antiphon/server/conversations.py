"""``/v1/conversations``: lists of items that clients, and the responses made in them, add to."""

from __future__ import annotations

from starlette.routing import Route

from antiphon.clock import Ids
from antiphon.rendering.listing import listed, with_ids
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.server.profiles import Profiles
from antiphon.store.base import Store
from antiphon.store.references import resolved
from antiphon.wire.conversations import (
    AddItems,
    CreateConversation,
    UpdateConversation,
    decode_conversation_request,
)
from antiphon.wire.lists import IncludeQuery, ListQuery, decode_query, item_list
from antiphon.wire.responses import Item
from antiphon.wire.sealed import opened

_ONE = "/v1/conversations/{conversation_id}"
_ITEMS = f"{_ONE}/items"
_ITEM = f"{_ITEMS}/{{item_id}}"


class Conversations:
    """The routes under ``/v1/conversations``."""

    def __init__(self, store: Store, ids: Ids, *, profiles: Profiles | None = None) -> None:
        self._store = store
        self._conversations = store.conversations
        self._ids = ids
        self._profiles = profiles or Profiles()

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("POST", "/v1/conversations", self.create),
            route("GET", _ONE, self.retrieve),
            route("POST", _ONE, self.update),
            route("DELETE", _ONE, self.delete),
            route("POST", _ITEMS, self.add_items),
            route("GET", _ITEMS, self.list_items),
            route("GET", _ITEM, self.retrieve_item),
            route("DELETE", _ITEM, self.delete_item),
        ]

    async def create(self, exchange: Exchange) -> None:
        """``POST /v1/conversations``."""
        request = decode_conversation_request(await exchange.body(), CreateConversation)
        items = await self._prepared(exchange, request.items or [])
        made = await self._conversations.create(
            exchange.owner, self._ids.new("conv"), metadata=request.metadata or {}, items=items
        )
        await exchange.respond_json(made)

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/conversations/{id}``."""
        await exchange.respond_json(await self._conversations.get(*_conversation(exchange)))

    async def update(self, exchange: Exchange) -> None:
        """``POST /v1/conversations/{id}``: its metadata, anew."""
        request = decode_conversation_request(await exchange.body(), UpdateConversation)
        await exchange.respond_json(await self._conversations.update(*_conversation(exchange), request.metadata or {}))

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/conversations/{id}``."""
        owner, conversation = _conversation(exchange)
        await self._conversations.delete(owner, conversation)
        await exchange.respond_json({"id": conversation, "object": "conversation.deleted", "deleted": True})

    async def add_items(self, exchange: Exchange) -> None:
        """``POST /v1/conversations/{id}/items``: answers with the items that were added, in their order."""
        query = decode_query(exchange.query, IncludeQuery)
        request = decode_conversation_request(await exchange.body(), AddItems)
        items = await self._prepared(exchange, request.items)
        await self._conversations.add(*_conversation(exchange), items)
        await exchange.respond_json(item_list([listed(item, include=query.include) for item in items]))

    async def list_items(self, exchange: Exchange) -> None:
        """``GET /v1/conversations/{id}/items``."""
        query = decode_query(exchange.query, ListQuery)
        page = await self._conversations.items(*_conversation(exchange), query)
        items = [listed(item, include=query.include) for item in page.items]
        await exchange.respond_json(item_list(items, has_more=page.has_more))

    async def retrieve_item(self, exchange: Exchange) -> None:
        """``GET /v1/conversations/{id}/items/{item_id}``."""
        query = decode_query(exchange.query, IncludeQuery)
        item = await self._conversations.item(*_conversation(exchange), exchange.parameter("item_id"))
        await exchange.respond_json(listed(item, include=query.include))

    async def delete_item(self, exchange: Exchange) -> None:
        """``DELETE /v1/conversations/{id}/items/{item_id}``: answers with the conversation, as OpenAI does."""
        changed = await self._conversations.remove(*_conversation(exchange), exchange.parameter("item_id"))
        await exchange.respond_json(changed)

    async def _prepared(self, exchange: Exchange, items: list[Item]) -> list[Item]:
        """What is to be stored: with ids, and items themselves in the place of references."""
        items = opened(items, self._profiles.sealer(exchange.owner), param="items")
        whole = await resolved(self._store, exchange.owner, items, param="items")
        return with_ids(whole, lambda prefix, _: self._ids.new(prefix))


def _conversation(exchange: Exchange) -> tuple[str, str]:
    return exchange.owner, exchange.parameter("conversation_id")
