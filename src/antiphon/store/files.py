"""What a store keeps of files and of uploads: rows that say where the bytes lie; the bytes are in `Blobs`.

Every method takes the owner, as in `antiphon.store.base`; those that do not serve whoever keeps the house.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from antiphon.wire.files import File, FilesQuery
from antiphon.wire.uploads import CreateUpload, Upload, UploadPart


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file and where its bytes lie; ``sha256`` is the hexadecimal hash of them."""

    file: File
    blob: str
    media_type: str
    sha256: str


class StoredPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an upload and where its bytes lie."""

    part: UploadPart
    blob: str
    bytes: int


class FilePage(NamedTuple):
    """A part of the list of files; ``has_more`` says whether the list goes on."""

    files: list[File]
    has_more: bool


class Owned(NamedTuple):
    """The id of something, and whose it is."""

    owner: str
    id: str


class DeletedFile(NamedTuple):
    """What is left to do when a file is deleted: its bytes, and the vector stores it was in."""

    blob: str
    vector_stores: list[str]


class Files(Protocol):
    """Durable memory of files. One that has expired is not there."""

    async def add(self, owner: str, stored: StoredFile, *, max_total_bytes: int) -> None:
        """Write a new file; its bytes are in place already.

        Raises:
            RequestTooLarge: with it, the owner's files would be larger than ``max_total_bytes``.
        """
        ...

    async def get(self, owner: str, file_id: str) -> StoredFile:
        """One file.

        Raises:
            NotFound: no such file for this owner, or it has expired.
        """
        ...

    async def page(self, owner: str, query: FilesQuery) -> FilePage:
        """A page of the files.

        Raises:
            NotFound: there is no file of this owner to begin the page after.
        """
        ...

    async def delete(self, owner: str, file_id: str) -> DeletedFile:
        """Forget a file, and take it out of all vector stores.

        Raises:
            NotFound: no such file for this owner.
        """
        ...

    async def used_bytes(self, owner: str) -> int:
        """How large the files of an owner are together, parts of uploads included."""
        ...

    async def expired(self) -> Sequence[Owned]:
        """Files of all owners whose time has come."""
        ...

    async def blobs(self) -> set[str]:
        """All blobs that belong to something, of all owners."""
        ...


class Uploads(Protocol):
    """Durable memory of files that come in parts."""

    async def create(self, owner: str, upload_id: str, request: CreateUpload, *, expires_at_s: int) -> Upload:
        """Write a new upload that waits for its parts."""
        ...

    async def get(self, owner: str, upload_id: str) -> Upload:
        """One upload.

        Raises:
            NotFound: no such upload for this owner.
        """
        ...

    async def request(self, owner: str, upload_id: str) -> CreateUpload:
        """What the upload was begun with, while it waits for its parts.

        Raises:
            NotFound: no such upload for this owner.
            InvalidRequest: it has ended.
        """
        ...

    async def add_part(self, owner: str, upload_id: str, stored: StoredPart, *, max_total_bytes: int) -> None:
        """Write a part; its bytes are in place already.

        Raises:
            NotFound: no such upload for this owner.
            InvalidRequest: it has ended, or has more bytes than it said.
            RequestTooLarge: the owner's files would be larger than ``max_total_bytes``.
        """
        ...

    async def parts(self, owner: str, upload_id: str) -> dict[str, StoredPart]:
        """The parts by their ids.

        Raises:
            NotFound: no such upload for this owner.
        """
        ...

    async def complete(self, owner: str, upload_id: str, stored: StoredFile) -> Upload:
        """Make the file of it, and forget the parts.

        Raises:
            NotFound: no such upload for this owner.
            InvalidRequest: it has ended.
        """
        ...

    async def cancel(self, owner: str, upload_id: str) -> Upload:
        """End it without a file, and forget the parts.

        Raises:
            NotFound: no such upload for this owner.
            InvalidRequest: it has ended.
        """
        ...

    async def expired(self) -> Sequence[Owned]:
        """Uploads of all owners whose time has come and that still have parts."""
        ...

    async def drop_parts(self, owner: str, upload_id: str) -> None:
        """Forget the parts of an upload that has ended."""
        ...
