"""What a user says to an agent: text, images and files, as input items."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.errors import UsageError
from antiphon.wire.responses import Item

Part = dict[str, Any]
Input = str | Sequence[str | Mapping[str, Any]]

_PARTS = ("input_text", "input_image", "input_file", "input_audio", "input_video")
_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


def image(source: str | Path | bytes, *, detail: str | None = None) -> Part:
    """An image: a URL, a file's path, or the bytes of a PNG, JPEG, GIF or WebP.

    Raises:
        UsageError: bytes of no known kind.
        OSError: the file cannot be read.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
        url = source
    else:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        kind = next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), None)
        if kind is None:
            raise UsageError("This is no PNG, JPEG, GIF or WebP image. Other kinds are given as a data URL.")
        url = _data_url(data, kind)
    return {"type": "input_image", "image_url": url} | ({"detail": detail} if detail else {})


def file(source: str | Path | bytes, *, name: str | None = None) -> Part:
    """A file for the model to read: a URL, a path, or bytes, which need a ``name`` such as ``report.pdf``.

    Raises:
        UsageError: bytes without a name.
        OSError: the file cannot be read.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return {"type": "input_file", "file_url": source}
    if isinstance(source, bytes):
        if name is None:
            raise UsageError("A file of bytes needs a name, such as file(data, name='report.pdf').")
        data = source
    else:
        data, name = Path(source).read_bytes(), name or Path(source).name
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"type": "input_file", "filename": name, "file_data": _data_url(data, kind)}


def as_items(said: Input) -> list[Item]:
    """The items that an input is: texts and parts that follow each other are one message of the user."""
    items: list[Item] = []
    message: list[Part] | None = None
    for each in [said] if isinstance(said, str) else said:
        if isinstance(each, str):
            part: Part | None = {"type": "input_text", "text": each}
        else:
            part = dict(each) if each.get("type") in _PARTS else None
        if part is None:
            items.append(dict(each))  # type: ignore[arg-type]  # a text is a part
            message = None
        elif message is None:
            message = [part]
            items.append({"type": "message", "role": "user", "content": message})
        else:
            message.append(part)
    return items


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
