"""Items that are named instead of sent."""

from __future__ import annotations

from antiphon.errors import NotFound
from antiphon.store.base import Store
from antiphon.wire.responses import Item

# OpenAI's words: clients look for them to send the items whole instead.
_NOT_STORED = (
    " Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item"
    " from your input."
)


async def resolved(store: Store, owner: str, items: list[Item], *, param: str) -> list[Item]:
    """The items, each ``item_reference`` replaced by the item it names; ``param`` is the field that held them.

    Raises:
        NotFound: nothing of this owner's has that id, or what has it was cut off.
    """
    wanted = [item["id"] for item in items if item["type"] == "item_reference"]
    if not wanted:
        return items
    found = await store.items(owner, wanted)
    if missing := next((item_id for item_id in wanted if item_id not in found), None):
        raise NotFound("item", missing, param=param, hint=_NOT_STORED)
    return [found[item["id"]] if item["type"] == "item_reference" else item for item in items]
