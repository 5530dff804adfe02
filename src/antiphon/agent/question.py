"""What a turn asks of the model: said by the request, the items it began with, and the journal up to its beginning."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from antiphon.events import RunEvent, RunStarted, TurnStarted
from antiphon.providers.base import ModelCall
from antiphon.rendering.items import is_abandoned, output_items
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.responses import CreateResponse, Item

# A call and its output in one item.
_HOSTED_CALLS = frozenset({"mcp_call", "file_search_call"})


def question(
    request: CreateResponse | CreateChatCompletion,
    items: Sequence[Item],
    events: Sequence[RunEvent],
    *,
    authorization: str | None = None,
) -> ModelCall:
    """The call of the turn that the last of ``events`` begins; ``items`` are what the model saw before the run."""
    first, started = events[0], events[-1]
    assert isinstance(first, RunStarted)
    assert isinstance(started, TurnStarted)
    said = output_items(events, first.run)  # its beginning says what becomes of a turn before it that failed
    return ModelCall(
        model=started.model,
        request=_unforced(request) if _has_acted(said) else request,
        items=[*items, *(item for item in said if not is_abandoned(item))],
        turn=started.turn,
        interaction=started.interaction,
        authorization=authorization,
    )


def _has_acted(said: Sequence[Item]) -> bool:
    return any(item["type"] in _HOSTED_CALLS or str(item["type"]).endswith("_output") for item in said)


def _unforced(request: CreateResponse | CreateChatCompletion) -> CreateResponse | CreateChatCompletion:
    """The request for a model that has called what it had to: forced again, it would call for ever."""
    choice = request.tool_choice
    if not isinstance(request, CreateResponse) or choice in (None, "none", "auto"):
        return request
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        return structs.replace(request, tool_choice={**choice, "mode": "auto"})
    return structs.replace(request, tool_choice="auto")
