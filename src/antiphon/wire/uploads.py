"""The Uploads API: files that come in parts."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from antiphon.wire.files import File, FileExpiration, Purpose

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]

MAX_PARTS = 10_000


class CreateUpload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/uploads``; ``bytes`` is what all parts shall make together."""

    filename: Annotated[str, Meta(min_length=1)]
    purpose: Purpose
    bytes: Annotated[int, Meta(ge=1)]
    mime_type: str
    expires_after: FileExpiration | None = None


class CompleteUpload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/uploads/{id}/complete``: the parts in the order in which they make the file."""

    part_ids: Annotated[list[str], Meta(min_length=1, max_length=MAX_PARTS)]
    md5: Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$")] | None = None


class Upload(Struct, frozen=True, kw_only=True):
    """A file that comes in parts; ``file`` is there once it is complete."""

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: UploadStatus
    file: File | UnsetType = UNSET
    object: Literal["upload"] = "upload"


class UploadPart(Struct, frozen=True, kw_only=True):
    """One part of a file."""

    id: str
    created_at: int
    upload_id: str
    object: Literal["upload.part"] = "upload.part"
