"""Pages of lists: what comes after or before something, in either order."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from antiphon.errors import NotFound
from antiphon.wire.lists import Order

# SQLite's largest integer: every position is below it.
_NO_POSITION = 2**63 - 1

_OPPOSITE = {"above": "below", "below": "above"}


class PageQuery(Protocol):
    """Which page is asked for; one that has no ``before`` only goes forward."""

    @property
    def limit(self) -> int:
        """How much of the list."""
        ...

    @property
    def order(self) -> Order:
        """Which end comes first."""
        ...

    @property
    def after(self) -> str | None:
        """What the page comes after."""
        ...


class Rows(NamedTuple):
    """A part of a list; ``has_more`` says whether the list goes on in the direction that was asked for."""

    rows: list[Any]
    has_more: bool


def page_rows(
    db: sqlite3.Connection, query: PageQuery, key: Mapping[str, Any], *, page: str, position: str, kind: str
) -> Rows:
    """A page of the rows that the SQL ``page`` selects, of which ``position`` finds one; ``kind`` is what they are.

    ``page`` has the parameters ``:above``, ``:below`` and ``:limit`` and the gap ``{order}``; ``position`` has
    ``:cursor``.

    Raises:
        NotFound: what the page shall come after or before is not in the list.
    """
    before: str | None = getattr(query, "before", None)
    bounds = {"above": -1, "below": _NO_POSITION}
    ascending = query.order == "asc"
    for cursor, bound in ((query.after, "above"), (before, "below")):
        if cursor:
            row = db.execute(position, {**key, "cursor": cursor}).fetchone()
            if row is None:
                raise NotFound(kind, cursor)
            bounds[bound if ascending else _OPPOSITE[bound]] = row[0]
    backwards = bool(before) and not query.after  # the page that ends where the other begins
    sql = page.format(order="ASC" if ascending != backwards else "DESC")
    found = db.execute(sql, {**key, **bounds, "limit": query.limit + 1}).fetchall()
    rows = found[: query.limit]
    return Rows(rows[::-1] if backwards else rows, has_more=len(found) > query.limit)
