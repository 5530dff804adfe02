"""A provider over an upstream that speaks the Responses API itself: items go as items, and come as events."""

from __future__ import annotations

from antiphon.assembly.responses import ResponsesAssembler
from antiphon.dialects import Dialect
from antiphon.providers.base import ModelCall
from antiphon.providers.upstream import HttpProvider, used_call_ids
from antiphon.translation.call import ChatCall
from antiphon.translation.responses import to_responses


class ResponsesProvider(HttpProvider):
    """One upstream that speaks the Responses API; see `HttpProvider`."""

    path = "/responses"

    def _translated(self, call: ModelCall, dialect: Dialect) -> ChatCall:
        return to_responses(call.request, call.items, model=call.model, dialect=dialect, upstream=self.name)

    def _assembler(self, call: ModelCall, sent: ChatCall, dialect: Dialect) -> ResponsesAssembler:
        return ResponsesAssembler(
            turn=call.turn,
            dialect=dialect,
            offered=sent.offered,
            used_call_ids=used_call_ids(call),
            max_event_bytes=self._max_event_bytes,
        )
