"""What an MCP tool gave, as parts that a model can be sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.tools.base import ToolError, ToolResult

MAX_TEXT_BYTES = 1024 * 1024
MAX_MEDIA_BYTES = 16 * 1024 * 1024

Block = Mapping[str, Any]
Part = dict[str, Any]


def to_result(given: Mapping[str, Any], *, max_text_bytes: int = MAX_TEXT_BYTES) -> ToolResult:
    """The result of a call, given as the protocol writes it (``CallToolResult``).

    Text beyond the limit is cut, and media that are too large are left out; the model is told of both.

    Raises:
        ToolError: the tool says that it failed; in its words.
    """
    parts = [_part(block) for block in given.get("content") or []]
    texts = [part["text"] for part in parts if part["type"] == "input_text"]
    structured = given.get("structuredContent")
    if not texts and structured is not None:
        texts = [msgspec.json.encode(structured).decode()]
        parts = [{"type": "input_text", "text": texts[0]}, *parts]
    has_media = any(part["type"] != "input_text" for part in parts)
    output = cut("\n".join(texts), max_text_bytes)
    if given.get("isError"):
        raise ToolError(output or "The tool failed and did not say why.")
    return ToolResult(
        output=output if output or not has_media else ", ".join(map(_shown, parts)),
        content=_limited(parts, max_text_bytes) if has_media else [],
        results=_results(structured, max_text_bytes),
    )


def cut(text: str, max_bytes: int) -> str:
    """The text, or its beginning and a word on what is missing."""
    whole = text.encode("utf-8", "replace")
    if len(whole) <= max_bytes:
        return text
    kept = whole[:max_bytes].decode("utf-8", "ignore")
    return f"{kept}\n[Cut here: the result has {len(whole):,} bytes, and the limit is {max_bytes:,}. Ask for less.]"


def _results(structured: Any, max_bytes: int) -> list[dict[str, Any]]:
    if structured is None or len(msgspec.json.encode(structured)) > max_bytes:
        return []
    return [structured if isinstance(structured, dict) else {"result": structured}]


def _limited(parts: list[Part], max_text_bytes: int) -> list[Part]:
    """The parts within the limits, counted over all of them."""
    kept, text_left, media_left = [], max_text_bytes, MAX_MEDIA_BYTES
    for part in parts:
        if part["type"] == "input_text":
            text = cut(part["text"], max(text_left, 0))
            text_left -= len(text.encode("utf-8", "replace"))
            kept.append({"type": "input_text", "text": text})
        elif (size := len(part.get("image_url") or part.get("file_data") or "")) <= media_left:
            media_left -= size
            kept.append(part)
        else:
            kept.append({"type": "input_text", "text": f"[{_shown(part)} was left out: it is too large.]"})
    return kept


# --- one block each --------------------------------------------------------------------------


def _part(block: Block) -> Part:
    return _PARTS.get(block.get("type", ""), _unknown)(block)


def _text(block: Block) -> Part:
    return {"type": "input_text", "text": block["text"]}


def _image(block: Block) -> Part:
    return {"type": "input_image", "image_url": _data_url(block["mimeType"], block["data"]), "detail": "auto"}


def _audio(block: Block) -> Part:
    kind = block["mimeType"]
    name = f"audio.{kind.partition('/')[2] or 'bin'}"
    return {"type": "input_file", "filename": name, "file_data": _data_url(kind, block["data"])}


def _link(block: Block) -> Part:
    about = ", ".join(str(block[key]) for key in ("title", "description", "mimeType") if block.get(key))
    return _said(f"[Resource {block.get('name') or ''}: {block['uri']}{f' ({about})' if about else ''}]")


def _resource(block: Block) -> Part:
    resource = block["resource"]
    uri, kind = resource["uri"], resource.get("mimeType") or "application/octet-stream"
    if "text" in resource:
        return _said(resource["text"])
    if kind.startswith("image/"):
        return _image({"mimeType": kind, "data": resource["blob"]})
    name = urlsplit(uri).path.rpartition("/")[2] or "resource"
    return {"type": "input_file", "filename": name, "file_data": _data_url(kind, resource["blob"])}


def _unknown(block: Block) -> Part:
    return _said(msgspec.json.encode(block).decode())


def _said(text: str) -> Part:
    return {"type": "input_text", "text": text}


def _data_url(kind: str, data: str) -> str:
    return f"data:{kind};base64,{data}"


def _shown(part: Part) -> str:
    url = part.get("image_url") or part.get("file_data") or ""
    kind = url.partition(";")[0].removeprefix("data:")
    return f"[{part.get('filename') or 'image'}, {kind}]"


_PARTS: dict[str, Callable[[Block], Part]] = {
    "text": _text,
    "image": _image,
    "audio": _audio,
    "resource_link": _link,
    "resource": _resource,
}
