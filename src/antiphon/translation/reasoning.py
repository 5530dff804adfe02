"""Reasoning items, as far as an upstream wants to see its own thoughts again (Q70 to Q72)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from antiphon.dialects.requests import ChatRules
from antiphon.translation.notes import Notes
from antiphon.wire.items import PRIVATE, Item
from antiphon.wire.reasoning import Reasoning

# The item is in the client's hands, so the name it carries may not become any key of the message.
_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")


class Echo(Struct, frozen=True):
    """Reasoning to be put on an assistant message: its text, the key it goes under, opaque details."""

    field: str
    text: str
    details: list[dict[str, Any]]


def echo_of(item: Item, rules: ChatRules, notes: Notes, *, upstream: str | None = None) -> Echo | None:
    """What of a reasoning item goes back to the upstream, or None."""
    if rules.echo_reasoning == "forbid":
        notes.add("Q71", seen="reasoning of an earlier turn", done="not echoed: this upstream does not take it")
        return None
    kept = kept_reasoning(item, notes)
    text = _joined(item.get("content")) or kept.text or _joined(item.get("summary"))
    same_upstream = kept.upstream is None or upstream is None or kept.upstream == upstream
    # A whole item is of the Responses API, over which this upstream was asked before.
    of_chat = [detail for detail in kept.details if detail.get("type") != "reasoning"]
    details = of_chat if rules.echo_details and same_upstream else []
    if kept.details and not details:
        notes.add("Q72", seen="signed or encrypted reasoning", done="not echoed: it belongs to another upstream")
    if not text and not details:
        return None
    return Echo(kept.field if kept.field in _FIELDS else _FIELDS[0], text, details)


def echo_of_message(message: dict[str, Any], rules: ChatRules, notes: Notes) -> Echo | None:
    """What of the reasoning on a client's own assistant message goes back to the upstream, or None."""
    field = next((name for name in _FIELDS if isinstance(message.get(name), str) and message[name]), None)
    details = message.get("reasoning_details")
    details = [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    if field is None and not details:
        return None
    if rules.echo_reasoning == "forbid":
        notes.add("Q71", seen="reasoning of an earlier turn", done="not echoed: this upstream does not take it")
        return None
    return Echo(field or _FIELDS[0], message[field] if field else "", details if rules.echo_details else [])


def kept_reasoning(item: Item, notes: Notes) -> Reasoning:
    """What we wrote down when the item was made: beside it in the store, or taken out of its seal at the door."""
    private = item.get(PRIVATE)
    if isinstance(private, dict):
        return msgspec.convert(private, Reasoning)
    if isinstance(sealed := item.get("encrypted_content"), str):
        notes.add("Q72", seen=f"encrypted_content {sealed}", done="dropped: it was not sealed here")
    return Reasoning()


def _joined(parts: Any) -> str:
    if not isinstance(parts, list):
        return ""
    return "\n\n".join(part["text"] for part in parts if isinstance(part.get("text"), str) and part["text"])
