"""Items as rows: writing those of a run, reading them for a model, a page at a time, and letting go of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from antiphon.rendering.items import is_abandoned
from antiphon.store import queries
from antiphon.store.base import ItemPage
from antiphon.store.pages import page_rows
from antiphon.wire.lists import ListQuery
from antiphon.wire.responses import Item

_decode = msgspec.json.Decoder(Item).decode


def columns(item: Item) -> dict[str, str | None]:
    """What of an item has a column of its own, and the item. Clients leave fields out, or put anything there."""
    known = {"item_id": item.get("id"), "type": item.get("type")}
    found = {name: value if isinstance(value, str) else None for name, value in known.items()}
    return {**found, "data": msgspec.json.encode(item).decode()}


def insert_run_items(
    db: sqlite3.Connection, owner: str, run: str, direction: Literal["input", "output"], items: Sequence[Item]
) -> None:
    """Write a run's input or output."""
    key = {"owner": owner, "run": run, "direction": direction}
    db.executemany(
        queries.INSERT_ITEM, ({**key, "position": position, **columns(item)} for position, item in enumerate(items))
    )


def for_the_model(rows: Iterable[Sequence[Any]]) -> list[Item]:
    """The items of rows that begin with status, direction, type and data, without those that no model may see."""
    items = [(row, _decode(row[3])) for row in rows]
    return [item for (status, direction, kind, *_), item in items if counts(status, direction, kind, item)]


def counts(status: str | None, direction: str | None, kind: str | None, item: Item) -> bool:
    """Whether an item belongs in a model's input; ``status`` is that of its run.

    Output that a crash or a cancel cut off does not, nor what was asked again after it. Text that ran into the token
    limit does (the next request may say "go on"), a call never: nobody may answer half a call.
    """
    if direction != "output":
        return True
    if is_abandoned(item):
        return False
    if item.get("status") != "incomplete":
        return True
    return status == "incomplete" and kind in ("message", "reasoning")


def read_page(
    db: sqlite3.Connection, query: ListQuery, key: Mapping[str, str], *, page: str, position: str
) -> ItemPage:
    """A page of the rows that the SQL ``page`` selects; ``position`` finds where an item is among them.

    Raises:
        NotFound: the item that the page shall come after or before is not in the list.
    """
    rows, has_more = page_rows(db, query, key, page=page, position=position, kind="item")
    return ItemPage([_decode(data) for (data,) in rows], has_more)


def prune(db: sqlite3.Connection, owner: str, run: str | None) -> None:
    """Remove deleted runs on which nothing builds, from ``run`` towards the root; what conversations show stays."""
    while run is not None:
        key = {"owner": owner, "run": run}
        found = db.execute(queries.FIND_RUN, key).fetchone()
        if found is None or found[2] is None or _exists(db, queries.HAS_CHILDREN, key):
            return
        db.execute(queries.DELETE_UNSEEN_ITEMS, key)
        if _exists(db, queries.HAS_ITEMS, key):
            return
        db.execute(queries.DELETE_RUN, key)
        run = found[0]


def _exists(db: sqlite3.Connection, query: str, key: dict[str, str]) -> bool:
    return bool(db.execute(query, key).fetchone()[0])
