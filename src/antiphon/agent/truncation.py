"""``truncation: auto``: which items to leave out when the input is too long for the model. Pure."""

from __future__ import annotations

from antiphon.wire.responses import Item

_KEPT_ROLES = ("system", "developer")


def shortened(items: list[Item]) -> list[Item] | None:
    """The items without the older half of those that may be left out, or None if there are none.

    What stays: messages of the system, tools, and everything from the last message of the user on. An output whose
    call is left out goes too.
    """
    last = max((n for n, item in enumerate(items) if item.get("role") == "user"), default=len(items) - 1)
    old = [n for n, item in enumerate(items[:last]) if not _is_kept(item)]
    if not old:
        return None
    left_out = set(old[: (len(old) + 1) // 2])
    calls = {_call_id(items[n]) for n in left_out if str(items[n]["type"]).endswith("_call")}
    return [
        item
        for n, item in enumerate(items)
        if n not in left_out and not (str(item["type"]).endswith("_output") and _call_id(item) in calls)
    ]


def _is_kept(item: Item) -> bool:
    return item.get("role") in _KEPT_ROLES or item["type"] in ("additional_tools", "compaction")


def _call_id(item: Item) -> object:
    return item.get("call_id") or item.get("id")
