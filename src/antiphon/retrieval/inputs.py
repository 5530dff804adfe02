"""Files that a request names by their ids, in the place of which a model needs the data."""

from __future__ import annotations

import binascii
import mimetypes
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from antiphon.errors import InvalidRequest, NotFound
from antiphon.store.blobs import Blobs
from antiphon.store.files import Files, StoredFile
from antiphon.wire.responses import Item

# A model's request is held in memory whole; OpenAI takes as much of files in one.
DEFAULT_MAX_BYTES = 50 * 1024 * 1024

_PARTS = ("input_image", "input_file")

# How files of the kinds that models see begin; what a client says of a file may be wrong.
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
}


class NamedFile(NamedTuple):
    """Where an item names a file by its id; ``path`` is the place in the request."""

    path: str
    kind: str
    file_id: str


def named_files(items: Sequence[Item], *, param: str = "input") -> list[NamedFile]:
    """All files that these items name by their ids."""
    return [
        NamedFile(f"{param}[{position}].{path}.file_id", part["type"], part["file_id"])
        for position, item in enumerate(items)
        for path, part in _parts(item)
    ]


async def check_files(files: Files, owner: str, items: Sequence[Item], *, param: str = "input") -> None:
    """See that the files are there which a request names.

    Raises:
        InvalidRequest: one is not, or not for this owner.
    """
    for named in named_files(items, param=param):
        try:
            await files.get(owner, named.file_id)
        except NotFound as error:
            raise InvalidRequest(error.message, param=named.path, code="file_not_found") from None


async def resolved_files(
    files: Files, blobs: Blobs, owner: str, items: Sequence[Item], *, max_bytes: int = DEFAULT_MAX_BYTES
) -> list[Item]:
    """The items with the data of files in the place of their ids; those that name none are given as they are.

    A file that is gone is replaced by a line of text that says so: a conversation goes on when a file of its beginning
    was deleted.

    Raises:
        InvalidRequest: the files are larger than ``max_bytes`` together, or an image is none.
        StorageFailed: a file cannot be read.
    """
    loaded: dict[str, tuple[StoredFile, bytes] | None] = {}
    left = max_bytes
    for named in named_files(items):
        if named.file_id not in loaded:
            loaded[named.file_id] = await _load(files, blobs, owner, named.file_id, most=left)
        if (found := loaded[named.file_id]) is not None:
            left -= found[0].file.bytes  # each time: the model is sent it as often as it is named
        if left < 0:
            raise InvalidRequest(
                f"The files of the input have more than {max_bytes:,} bytes together: a model cannot be sent them all."
                " Put large files into a vector store, and let the model search it.",
                param=named.path,
                code="files_too_large",
            )
    return [_resolved(item, loaded) for item in items]


async def _load(files: Files, blobs: Blobs, owner: str, file_id: str, *, most: int) -> tuple[StoredFile, bytes] | None:
    """A file with its bytes; None if it is not there. One that is larger than ``most`` comes without them."""
    try:
        stored = await files.get(owner, file_id)
    except NotFound:
        return None
    if stored.file.bytes > most:
        return stored, b""
    return stored, b"".join([piece async for piece in blobs.read(stored.blob)])


def _resolved(item: Item, loaded: dict[str, tuple[StoredFile, bytes] | None]) -> Item:
    if not any(True for _ in _parts(item)):
        return item
    changed = dict(item)
    for name in ("content", "output"):
        if isinstance(parts := item.get(name), list):
            changed[name] = [
                _resolved_part(part, loaded[part["file_id"]]) if _names_a_file(part) else part for part in parts
            ]
    return changed


def _resolved_part(part: dict[str, Any], found: tuple[StoredFile, bytes] | None) -> dict[str, Any]:
    if found is None:
        return {"type": "input_text", "text": f"[file {part['file_id']} omitted: it was deleted]"}
    stored, data = found
    media_type = media_type_of(stored, data)
    url = f"data:{media_type};base64,{binascii.b2a_base64(data, newline=False).decode()}"
    rest = {name: value for name, value in part.items() if name != "file_id"}
    if part["type"] == "input_file":
        return rest | {"filename": part.get("filename") or stored.file.filename, "file_data": url}
    if not media_type.startswith("image/"):
        raise InvalidRequest(
            f"File {stored.file.id!r} ({stored.file.filename}) is no image, but {media_type}. Send it as an"
            " 'input_file'.",
            code="invalid_image",
        )
    return rest | {"image_url": url}


def media_type_of(stored: StoredFile, data: bytes) -> str:
    """What a file is, by its first bytes, else by what was said of it, else by its name."""
    for magic, media_type in _MAGIC.items():
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    told = stored.media_type if stored.media_type != "application/octet-stream" else ""
    return told or mimetypes.guess_type(stored.file.filename)[0] or "application/octet-stream"


def _parts(item: Item) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("content", "output"):
        parts = item.get(name)
        for position, part in enumerate(parts if isinstance(parts, list) else ()):
            if _names_a_file(part):
                yield f"{name}[{position}]", part


def _names_a_file(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in _PARTS and isinstance(part.get("file_id"), str)
