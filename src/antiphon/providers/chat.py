"""A provider over any chat-completions endpoint: translate, send, assemble."""

from __future__ import annotations

from antiphon.assembly.chat import ChatAssembler
from antiphon.dialects import Dialect
from antiphon.providers.base import ModelCall
from antiphon.providers.upstream import HttpProvider, used_call_ids
from antiphon.translation.call import ChatCall
from antiphon.translation.chat import to_chat
from antiphon.translation.chat_requests import chat_to_chat
from antiphon.wire.responses import CreateResponse


class ChatProvider(HttpProvider):
    """One upstream that speaks Chat Completions; see `HttpProvider`."""

    path = "/chat/completions"

    def _translated(self, call: ModelCall, dialect: Dialect) -> ChatCall:
        if isinstance(call.request, CreateResponse):
            return to_chat(call.request, call.items, model=call.model, dialect=dialect, upstream=self.name)
        return chat_to_chat(call.request, call.items, model=call.model, dialect=dialect, upstream=self.name)

    def _assembler(self, call: ModelCall, sent: ChatCall, dialect: Dialect) -> ChatAssembler:
        return ChatAssembler(
            turn=call.turn,
            dialect=dialect,
            offered=sent.offered,
            n=sent.body.get("n", 1),
            used_call_ids=used_call_ids(call),
            max_event_bytes=self._max_event_bytes,
        )
