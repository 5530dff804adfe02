"""What a store keeps of vector stores: which files are in them, how far each is, and what is still to be done.

The chunks and vectors are in the indexes of `antiphon.retrieval`; this is the truth that they follow. A change that an
index has to follow is written in the transaction that makes it, so that a crash cannot lose it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from antiphon.store.files import Owned
from antiphon.wire.vector_stores import (
    AttachFile,
    Attribute,
    Chunking,
    CreateVectorStore,
    FileBatch,
    FileError,
    StoreFilesQuery,
    UpdateVectorStore,
    VectorStore,
    VectorStoreFile,
    VectorStoresQuery,
)


class VectorStorePage(NamedTuple):
    """A part of the list of vector stores; ``has_more`` says whether the list goes on."""

    vector_stores: list[VectorStore]
    has_more: bool


class StoreFilePage(NamedTuple):
    """A part of the list of a store's files; ``has_more`` says whether the list goes on."""

    files: list[VectorStoreFile]
    has_more: bool


class Searchable(NamedTuple):
    """What a search result shows of a file that is in a store."""

    filename: str
    attributes: dict[str, Attribute]


class IngestionJob(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to be indexed. ``number`` tells it from the same file put into the same store again.

    ``attempts`` counts this one: more than one means that the process died over it, or was stopped.
    """

    number: int
    owner: str
    vector_store: str
    file_id: str
    blob: str
    filename: str
    media_type: str
    sha256: str
    chunking: Chunking
    attributes: dict[str, Attribute]
    attempts: int


class IndexChange(NamedTuple):
    """A file whose place in an index has to follow the database."""

    number: int
    owner: str
    vector_store: str
    file_id: str


class IndexTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What an index shall have of a file: nothing, these attributes, or what the next indexing puts there."""

    action: Literal["remove", "set_attributes", "wait"]
    attributes: dict[str, Attribute] = {}


class VectorStores(Protocol):
    """Durable memory of vector stores and of the files in them."""

    async def create(self, owner: str, vector_store_id: str, request: CreateVectorStore) -> VectorStore:
        """Write a new store with its first files, which are to be indexed.

        Raises:
            NotFound: one of the files is not there for this owner.
        """
        ...

    async def get(self, owner: str, vector_store_id: str) -> VectorStore:
        """One store, with the counts of its files.

        Raises:
            NotFound: no such store for this owner.
        """
        ...

    async def page(self, owner: str, query: VectorStoresQuery) -> VectorStorePage:
        """A page of the stores.

        Raises:
            NotFound: there is no store of this owner to begin the page at.
        """
        ...

    async def update(self, owner: str, vector_store_id: str, request: UpdateVectorStore) -> VectorStore:
        """Change what is given.

        Raises:
            NotFound: no such store for this owner.
            InvalidRequest: it has expired.
        """
        ...

    async def delete(self, owner: str, vector_store_id: str) -> None:
        """Forget a store. The files stay, but for what it knew of them.

        Raises:
            NotFound: no such store for this owner.
        """
        ...

    async def use(self, owner: str, vector_store_id: str) -> VectorStore:
        """One store, which is used now: its time begins anew.

        Raises:
            NotFound: no such store for this owner.
            InvalidRequest: it has expired.
        """
        ...

    async def attach(
        self, owner: str, vector_store_id: str, files: Sequence[AttachFile], *, batch_id: str | None = None
    ) -> list[VectorStoreFile]:
        """Put files into a store; they are to be indexed, also those that are in it already.

        Raises:
            NotFound: no such store, or no such file, for this owner.
            InvalidRequest: the store has expired.
        """
        ...

    async def file(self, owner: str, vector_store_id: str, file_id: str) -> VectorStoreFile:
        """One file of a store.

        Raises:
            NotFound: no such store for this owner, or the file is not in it.
        """
        ...

    async def files(
        self, owner: str, vector_store_id: str, query: StoreFilesQuery, *, batch_id: str | None = None
    ) -> StoreFilePage:
        """A page of the files of a store, or of one batch of them.

        Raises:
            NotFound: no such store or batch for this owner, or no such file to begin the page at.
        """
        ...

    async def set_attributes(
        self, owner: str, vector_store_id: str, file_id: str, attributes: dict[str, Attribute]
    ) -> VectorStoreFile:
        """Put ``attributes`` in the place of what was there; the index has to follow.

        Raises:
            NotFound: no such store for this owner, or the file is not in it.
        """
        ...

    async def detach(self, owner: str, vector_store_id: str, file_id: str) -> None:
        """Take a file out of a store; the index has to follow.

        Raises:
            NotFound: no such store for this owner, or the file is not in it.
        """
        ...

    async def batch(self, owner: str, vector_store_id: str, batch_id: str) -> FileBatch:
        """One batch, with the counts of its files.

        Raises:
            NotFound: no such store or batch for this owner.
        """
        ...

    async def cancel_batch(self, owner: str, vector_store_id: str, batch_id: str) -> FileBatch:
        """Give up the files of a batch that are not indexed yet.

        Raises:
            NotFound: no such store or batch for this owner.
        """
        ...

    async def searchable(self, owner: str, vector_store_id: str, file_ids: Sequence[str]) -> dict[str, Searchable]:
        """Of these files, those that are in the store and may be shown."""
        ...


class IngestionQueue(Protocol):
    """What is to be indexed, and what an index has to follow: of all owners, for the one worker there is."""

    async def release(self) -> None:
        """Nobody works at anything: a process that did so is gone."""
        ...

    async def claim(self, limit: int) -> list[IngestionJob]:
        """Up to ``limit`` files that nobody works at, the oldest first, of the owners with least at work."""
        ...

    async def put_back(self, job: IngestionJob) -> None:
        """Nobody works at the file any more, and it was not its fault: the attempt does not count."""
        ...

    async def complete(self, job: IngestionJob, *, usage_bytes: int) -> bool:
        """The file is in the index; False if nobody wants it there any more: the index then has to follow."""
        ...

    async def fail(self, job: IngestionJob, error: FileError) -> None:
        """The file cannot be indexed; nothing happens if nobody wants it any more."""
        ...

    async def wanted(self, number: int) -> bool:
        """Whether the job of that number is still to be done."""
        ...

    async def requeue(self, owner: str, vector_store_id: str) -> None:
        """The index of a store is lost: all that was in it is to be indexed again."""
        ...

    async def changes(self) -> list[IndexChange]:
        """What indexes have to follow, the oldest first."""
        ...

    async def target(self, change: IndexChange) -> IndexTarget:
        """What the index shall have of the file."""
        ...

    async def settle(self, change: IndexChange) -> None:
        """The index has followed."""
        ...

    async def all(self) -> list[Owned]:
        """All vector stores."""
        ...

    async def expire(self) -> list[Owned]:
        """Empty the stores whose time has come; gives them."""
        ...
