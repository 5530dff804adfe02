"""What a store keeps: runs with their journals and items, conversations, and what it knows of files.

One contract; `antiphon.store.sqlite` is the embedded store. A run's journal is kept in segments: compressed blobs of
consecutive events. Each run owns its input and output items, in order, and points to its parent; the model's input is
derived by following the pointers. A conversation is an ordered list of references to items: those of the runs that were
made in it, and its own. Every method takes the owner, and nobody sees another's rows: what belongs to someone else is
`NotFound`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from antiphon.events import Api, RunEvent, RunFinished, RunStarted
from antiphon.store.files import Files, Uploads
from antiphon.store.vector_stores import IngestionQueue, VectorStores
from antiphon.wire.conversations import Conversation
from antiphon.wire.lists import ChatListQuery, ListQuery
from antiphon.wire.responses import Item


class UnfinishedRun(msgspec.Struct, frozen=True):
    """A run whose journal has no end: its process died, or it is still going."""

    owner: str
    run: str
    api: Api = "responses"


class StoredChat(msgspec.Struct, frozen=True):
    """A chat completion that was stored: its journal, and what the client has written on it since."""

    events: list[RunEvent]
    metadata: dict[str, str]


class ChatPage(NamedTuple):
    """A part of a list of chat completions; ``has_more`` says whether the list goes on."""

    chats: list[StoredChat]
    has_more: bool


class ConversationHistory(NamedTuple):
    """What a model must see of a conversation, oldest first; ``end`` says which moment of it this is."""

    conversation: str
    end: int
    items: list[Item]


class ItemPage(NamedTuple):
    """A part of a list of items; ``has_more`` says whether the list goes on in the direction that was asked for."""

    items: list[Item]
    has_more: bool


class Store(Protocol):
    """Durable memory of runs, and of conversations beside them.

    A run of one API is not there for the other: ``api`` says whose runs are meant.
    """

    @property
    def conversations(self) -> Conversations:
        """The conversations in this store."""
        ...

    @property
    def files(self) -> Files:
        """The files in this store; their bytes are elsewhere."""
        ...

    @property
    def uploads(self) -> Uploads:
        """The files that come in parts."""
        ...

    @property
    def vector_stores(self) -> VectorStores:
        """The vector stores in this store."""
        ...

    @property
    def ingestion(self) -> IngestionQueue:
        """The files that wait to be indexed."""
        ...

    async def begin(
        self,
        owner: str,
        started: RunStarted,
        *,
        parent: str | None,
        input_items: Sequence[Item],
        conversation: ConversationHistory | None = None,
    ) -> None:
        """Write a new run: its first event, its input items, and its parent or the conversation it is made in.

        Raises:
            NotFound: the parent or the conversation is not there for this owner, or it was deleted.
            Conflict: the parent has not ended, or this owner has a run of that id already.
            DuplicateItem: the conversation has one of the items, or a run that is going in it has.
        """
        ...

    async def fork(self, owner: str, run: str, events: Sequence[RunEvent]) -> None:
        """Write a new run that begins as ``run`` did: with its input, after its parent or in its conversation.

        ``events`` are its journal so far; they begin with its `RunStarted`. A conversation goes on without it.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: this owner has a run of the new one's id already.
        """
        ...

    async def append(self, owner: str, run: str, events: Sequence[RunEvent], *, merge_from: int | None = None) -> None:
        """Write the next events of a run as one segment, durably, before this returns.

        Segments that begin at the event numbered ``merge_from`` (from 0) or after it become one with it.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: the run has ended.
        """
        ...

    async def finish(
        self, owner: str, run: str, events: Sequence[RunEvent], finished: RunFinished, *, output_items: Sequence[Item]
    ) -> None:
        """Write the last events (``finished`` is the last of them) and the output items in one transaction.

        The segments of the run are merged into one. A run that ends completed or incomplete adds its input and output
        to its conversation, with nothing between them; one that failed or was cancelled adds nothing, so that trying
        again does not say everything twice.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: the run has ended.
        """
        ...

    async def events(self, owner: str, run: str, *, api: Api = "responses") -> list[RunEvent]:
        """The journal of a run, whole.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
        """
        ...

    async def history(self, owner: str, run: str) -> list[Item]:
        """What a model must see before the next input: items of all ancestors and of this run, oldest first.

        Deleted ancestors count; a chain that began in a conversation begins with what is left of what that held then.
        Output items that a crash, a failure or a cancel cut off (status ``incomplete``) do not count; text that ran
        into the token limit does, a call that did never.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
            Conflict: the run has not ended.
        """
        ...

    async def context(self, owner: str, run: str) -> list[Item]:
        """What the model saw first of a run: what came before it (see `history`), and its own input.

        Raises:
            NotFound: no such run for this owner, or it was deleted.
        """
        ...

    async def input_items(self, owner: str, run: str, query: ListQuery) -> ItemPage:
        """A page of a run's own input.

        Raises:
            NotFound: no such run for this owner, or it was deleted; or its input has no item to begin the page at.
        """
        ...

    async def items(self, owner: str, item_ids: Sequence[str]) -> dict[str, Item]:
        """Items by their ids, of all runs and conversations of this owner; of several with one id, the newest.

        Ids of nothing are left out, and so is what no model may see (see `history`).
        """
        ...

    async def delete(self, owner: str, run: str, *, api: Api = "responses") -> None:
        """Forget a run: its journal goes at once.

        Its items stay only as long as a later run builds on them; those that a conversation shows stay with that.

        Raises:
            NotFound: no such run for this owner, or it was deleted before.
            Conflict: the run has not ended.
        """
        ...

    async def chat(self, owner: str, run: str) -> StoredChat:
        """One stored chat completion.

        Raises:
            NotFound: no such chat completion for this owner, it was deleted, or it has no answer (yet).
        """
        ...

    async def chats(self, owner: str, query: ChatListQuery) -> ChatPage:
        """A page of the stored chat completions that have an answer, in order of arrival.

        Raises:
            NotFound: there is no chat completion of this owner to begin the page after.
        """
        ...

    async def set_metadata(self, owner: str, run: str, metadata: Mapping[str, str]) -> None:
        """Write on a stored chat completion, over what was written there.

        Raises:
            NotFound: no such chat completion for this owner, or it was deleted.
        """
        ...

    async def unfinished(self) -> list[UnfinishedRun]:
        """Runs of all owners without an end, oldest first: what a restart has to settle."""
        ...

    async def close(self) -> None:
        """Finish writing and release the files. Closing twice is harmless."""
        ...


class Conversations(Protocol):
    """Durable memory of conversations. Items that are put into one have ids, and an id names one item in it."""

    async def create(
        self, owner: str, conversation: str, *, metadata: Mapping[str, str], items: Sequence[Item]
    ) -> Conversation:
        """Write a new conversation; ``conversation`` is an id that nothing else has."""
        ...

    async def get(self, owner: str, conversation: str) -> Conversation:
        """A conversation without its items.

        Raises:
            NotFound: no such conversation for this owner.
        """
        ...

    async def update(self, owner: str, conversation: str, metadata: Mapping[str, str]) -> Conversation:
        """Put ``metadata`` in the place of what was there.

        Raises:
            NotFound: no such conversation for this owner.
        """
        ...

    async def delete(self, owner: str, conversation: str) -> None:
        """Forget a conversation and the items that were put into it; those of its runs stay with the runs.

        Raises:
            NotFound: no such conversation for this owner.
        """
        ...

    async def add(self, owner: str, conversation: str, items: Sequence[Item]) -> None:
        """Put items into a conversation, after everything else.

        Raises:
            NotFound: no such conversation for this owner.
            DuplicateItem: the conversation has one of the items, or a run that is going in it has.
        """
        ...

    async def remove(self, owner: str, conversation: str, item_id: str) -> Conversation:
        """Take an item out of a conversation; one of a run stays with the run.

        Raises:
            NotFound: no such conversation for this owner, or no such item in it.
        """
        ...

    async def item(self, owner: str, conversation: str, item_id: str) -> Item:
        """One item of a conversation.

        Raises:
            NotFound: no such conversation for this owner, or no such item in it.
        """
        ...

    async def items(self, owner: str, conversation: str, query: ListQuery) -> ItemPage:
        """A page of a conversation's items.

        Raises:
            NotFound: no such conversation for this owner, or no such item in it to begin the page at.
        """
        ...

    async def history(self, owner: str, conversation: str) -> ConversationHistory:
        """What a model must see before the next input; see `Store.history` for what it must not.

        Raises:
            NotFound: no such conversation for this owner.
        """
        ...
