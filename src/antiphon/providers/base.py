"""What a provider of model answers is: one call in, a stream of events out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any, Protocol

import msgspec

from antiphon.events import ModelEvent
from antiphon.transport import HttpResponse
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.responses import CreateResponse, Item


class ModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """One turn's question to a model.

    ``model`` is the upstream's own name for it. ``items`` is everything the model must see, oldest first: items of
    earlier responses, then this request's input, then the output of this run's earlier turns. Settings, tools and
    instructions stand in ``request``, and so do the messages of a chat completion. ``authorization`` is the client's
    own header, only under ``--forward-auth``.
    """

    model: str
    request: CreateResponse | CreateChatCompletion
    items: list[Item]
    turn: int = 0
    interaction: str = ""
    authorization: str | None = None


class Provider(Protocol):
    """Something that answers model calls: an upstream over HTTP, or a script in a test."""

    @property
    def name(self) -> str:
        """What the configuration calls it; shown in journals and errors."""
        ...

    def stream(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        """Ask the model; give the events of each read as one list.

        The first list is empty and comes as soon as the upstream has accepted the call. The last one ends with
        exactly one `TurnFinished` or `TurnFailed`: failures are events, not exceptions. Closing the iterator, or
        cancelling the task, gives up the upstream call at once.
        """
        ...

    def models(self) -> Awaitable[list[dict[str, Any]]]:
        """The upstream's model objects, as it lists them.

        Raises:
            TransportError, ProviderError: the upstream gave no list.
        """
        ...

    def forward(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        interaction: str,
        headers: tuple[tuple[str, str], ...] = (),
        authorization: str | None = None,
    ) -> Awaitable[HttpResponse]:
        """Send bytes as they are to ``path`` below the upstream's base URL; bytes come back as they are.

        ``headers`` (names in lower case) replace our own of the same name, but not those of the configuration.
        """
        ...

    def close(self) -> Awaitable[None]:
        """Release connections."""
        ...
