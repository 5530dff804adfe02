"""What all importers need: bodies out of the shapes tools keep them in, and streams out of parsed objects."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from antiphon.cassettes.encodings import ENCODING_HEADERS, KNOWN, names, undo
from antiphon.cassettes.format import Chunk, Headers
from antiphon.sse import encode

EVENT_STREAM = "text/event-stream"
JSON = "application/json"


def flatten_headers(headers: Mapping[str, Any] | None) -> Headers:
    """Pairs with lower-case names from the mapping a tool keeps, its values one string or a list of them."""
    pairs: list[tuple[str, str]] = []
    for name, values in (headers or {}).items():
        for value in values if isinstance(values, list) else [values]:
            pairs.append((name.lower(), value.decode("latin-1") if isinstance(value, bytes) else str(value)))
    return tuple(pairs)


def as_bytes(body: Any) -> bytes:
    """A body that a tool keeps as text, bytes, ``{"string": …}``, ``{"base64_string": …}`` or as the JSON value itself.

    Raises:
        ValueError: the base64 is malformed.
    """
    if isinstance(body, dict):
        if set(body) <= {"string", "encoding"} and "string" in body:
            return as_bytes(body["string"])
        if set(body) <= {"base64_string", "encoding"} and "base64_string" in body:
            return b64decode(body["base64_string"])
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return msgspec.json.encode(body)


def whole(body: bytes) -> tuple[Chunk, ...]:
    """A body whose chunks are not known, as one chunk."""
    return (Chunk(0.0, body),) if body else ()


# --- content-encoding ------------------------------------------------------------------------


_MAGIC = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


def undo_encoding(headers: Headers, body: bytes) -> tuple[Headers, bytes]:
    """Body and headers with content-encoding undone.

    Raises:
        ValueError: the body is not what the header says, or nothing here decodes it.
    """
    named = next((value for name, value in headers if name == "content-encoding"), "")
    for encoding in names(named):
        if _is_encoded(encoding, body):
            try:
                body = b"".join(undo(encoding, [body]))
            except ValueError as error:
                raise ValueError(f"a body cannot be decoded as {encoding}, as its header says: {error}") from error
    return tuple(pair for pair in headers if pair[0] not in ENCODING_HEADERS), body


def _is_encoded(encoding: str, body: bytes) -> bool:
    """Whether the header is still true: recorders decode bodies and leave the header as it was."""
    if encoding in _MAGIC:
        return body.startswith(_MAGIC[encoding])
    return encoding in KNOWN and not _is_text(body)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- parsed objects --------------------------------------------------------------------------


def event_stream(objects: Iterable[tuple[bytes, dict[str, Any]]]) -> tuple[Chunk, ...]:
    """Objects that a tool kept of an event stream, as text and value, framed again: a chunk each.

    The tool swallowed ``[DONE]``; it is put back behind a chat stream that came to its finish, so that clients which
    wait for it are served, and never behind one that was cut.
    """
    chunks, finished = [], False
    for text, value in objects:
        name = value.get("type") or value.get("event_type")
        chunks.append(Chunk(0.0, encode(text, name if isinstance(name, str) else None)))
        finished = finished or _has_finished(value)
    if finished:
        chunks.append(Chunk(0.0, encode(b"[DONE]")))
    return tuple(chunks)


def _has_finished(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(each, dict) and each.get("finish_reason") for each in choices)


def json_lines(objects: Iterable[tuple[bytes, dict[str, Any]]]) -> tuple[Chunk, ...]:
    """Objects that a tool kept of a stream of JSON lines, as text and value, a chunk each."""
    return tuple([Chunk(0.0, text + b"\n") for text, _ in objects])
