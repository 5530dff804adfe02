"""The Files API: its requests as checked Structs, and the objects that answer them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from antiphon.errors import InvalidRequest
from antiphon.wire.bodies import checked
from antiphon.wire.lists import Order

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]

CHOICES = {"purpose": get_args(Purpose), "anchor": ("created_at",), "order": get_args(Order)}

# A member of an object in a form: ``expires_after[seconds]``.
_MEMBER = re.compile(r"(\w+)\[(\w+)\]")


class FileExpiration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a file is kept: an hour to thirty days."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class CreateFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields beside the file in the form of ``POST /v1/files``."""

    purpose: Purpose
    expires_after: FileExpiration | None = None


class FilesQuery(Struct, frozen=True, kw_only=True):
    """Which page of the list of files."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    order: Order = "desc"
    after: str | None = None
    purpose: str | None = None


class File(Struct, frozen=True, kw_only=True):
    """A file that was uploaded, without its content."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | UnsetType = UNSET
    status: Literal["uploaded", "processed", "error"] = "processed"
    object: Literal["file"] = "file"


def checked_form(fields: Mapping[str, str]) -> CreateFile:
    """The fields of the form that a file came with. An object among them is given by members, or as JSON.

    Raises:
        InvalidRequest: one is missing, unknown, of the wrong type or out of range.
    """
    raw: dict[str, Any] = {}
    for name, value in fields.items():
        if member := _MEMBER.fullmatch(name):
            within = raw.setdefault(member[1], {})
            if isinstance(within, dict):
                within[member[2]] = int(value) if value.isascii() and value.isdecimal() else value
        elif name == "expires_after":
            raw[name] = _json(name, value)
        else:
            raw[name] = value
    return checked(raw, CreateFile, choices=CHOICES)


def _json(name: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        message = f"Invalid type for '{name}': expected an object, but got a string instead."
        raise InvalidRequest(message, param=name, code="invalid_type") from None
