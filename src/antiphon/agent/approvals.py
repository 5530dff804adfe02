"""Calls that waited for a person: what was decided on them, and what a run that goes on begins with. Pure.

A run that asks for an approval ends there. Who goes on from it sends an ``mcp_approval_response``, and the stored call
is run exactly as it was shown, with what waited beside it; no model is asked for it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from antiphon.agent.effects import CarriedCall
from antiphon.errors import InvalidRequest
from antiphon.wire.items import PRIVATE, Item


def carried_calls(history: Sequence[Item], said: Sequence[Item]) -> list[CarriedCall]:
    """The calls that the decisions among ``said`` are about, in the order they were made.

    Raises:
        InvalidRequest: a decision is about no call, or one that was decided before; or a call that was made beside
            one that is decided is not.
    """
    decisions = _decisions(said)
    if not decisions:
        return []
    items = [*history, *said]
    requests = {item["id"]: item for item in items if item.get("type") == "mcp_approval_request" and item.get("id")}
    taken_up = _taken_up(items)
    for request_id in decisions:
        if request_id not in requests:
            raise InvalidRequest(f"No approval request found with id {request_id!r}.", param="input")
        if request_id in taken_up:
            raise InvalidRequest(f"The approval request {request_id!r} was decided before.", param="input")
    batches = {batch for request_id in decisions if (batch := _kept(requests[request_id]).get("batch"))}
    for request_id, request in requests.items():
        if _kept(request).get("batch") in batches and request_id not in decisions:
            message = f"The approval request {request_id!r} was made with others, and must be decided with them."
            raise InvalidRequest(message, param="input")
    return [*_calls(requests, decisions)]


def unacted(items: Sequence[Item]) -> list[Item]:
    """The decisions among all items of a run that no earlier run has acted on: those that are its own."""
    taken_up = _taken_up(items)
    decisions = (item for item in items if item.get("type") == "mcp_approval_response")
    return [item for item in decisions if item["approval_request_id"] not in taken_up]


def _taken_up(items: Sequence[Item]) -> set[str | None]:
    """The requests whose calls took place, or were answered as denied."""
    hosted = {item.get("approval_request_id") for item in items if item.get("type") == "mcp_call"}
    return hosted | {_kept(item).get("approval_request_id") for item in items}


def _decisions(said: Sequence[Item]) -> dict[str, Item]:
    decisions: dict[str, Item] = {}
    for item in said:
        if item.get("type") == "mcp_approval_response":
            request_id = item["approval_request_id"]
            if request_id in decisions:
                raise InvalidRequest(f"The approval request {request_id!r} is decided twice.", param="input")
            decisions[request_id] = item
    return decisions


def _calls(requests: dict[str, Item], decisions: dict[str, Item]) -> Iterator[CarriedCall]:
    seen: set[str] = set()
    for request_id, request in requests.items():
        if request_id not in decisions:
            continue
        kept, decision = _kept(request), decisions[request_id]
        yield CarriedCall(
            call_id=kept.get("call_id") or request_id,
            name=str(request.get("name")),
            arguments=str(request.get("arguments") or ""),
            idempotency_key=kept.get("idempotency_key") or request_id,
            kind=kept.get("kind") or "mcp",
            namespace=request.get("server_label") or None,
            repeatable=kept.get("repeatable") is True,
            approval_id=request_id,
            approved=decision["approve"],
            reason=decision.get("reason"),
            new_arguments=decision.get("arguments"),
        )
        for beside in kept.get("beside", ()):
            if beside["idempotency_key"] not in seen:
                seen.add(beside["idempotency_key"])
                yield CarriedCall(**beside)


def _kept(item: Item) -> dict[str, Any]:
    kept = item.get(PRIVATE)
    return kept if isinstance(kept, dict) else {}
