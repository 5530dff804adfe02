"""Streams as they stand in logs: no request, no status, no headers.

Three shapes: the body of an event stream as it is (fidelity ``body``); JSON Lines, a chunk a line; and the output of a
development server, where chunks stand behind a label (``api:dev: ``), a time, or the ``+`` of a diff, pretty-printed
over many lines or behind ``data:``, among lines that have nothing to do with them (both fidelity ``parsed``). Chunks
keep the text of their numbers and strings; white space between tokens is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from antiphon.cassettes.format import Interaction, RecordedResponse
from antiphon.cassettes.importers.bodies import EVENT_STREAM, event_stream, whole
from antiphon.errors import TruncatedStream
from antiphon.events import ErrorInfo

_EVENT_STREAM = re.compile(rb"(?:data|event|id|retry)?:")
_DATA_LINE = re.compile(rb"^data:", re.MULTILINE)
_DIFF = re.compile(rb"^(?:diff --git |--- |\+\+\+ |@@ )", re.MULTILINE)
_JSON_START = re.compile(rb"^(?P<label>[^{]*?)(?P<data>data:[ ]?)?(?P<rest>\{.*)$")
_DONE = re.compile(rb"data:[ ]?\[DONE\]\s*$")

# What tells a chunk of a chat, Gemini, Responses or Messages stream from a structured log line next to it.
_CHUNK_KEYS = ("choices", "candidates")
_CHUNK_TYPES = ("response.", "message_", "content_block_")

# What the first line of a file of JSON Lines must have one of, for the file to be a stream: every API's chunks do.
_FIRST_KEYS = (*_CHUNK_KEYS, "type", "event_type", "error", "done", "messageStart")
_FIRST_PREFIX = "contentBlock"  # Bedrock Converse


def interactions(raw: bytes) -> Iterator[Interaction]:
    """The streams in a log; a ``[DONE]`` ends one.

    Raises:
        ValueError: there is nothing in it that could be a chunk.
    """
    if _EVENT_STREAM.match(raw) and _DATA_LINE.search(raw):
        yield _interaction(0, RecordedResponse(status=None, headers=_HEADERS, chunks=whole(raw)), fidelity_is_body=True)
        return
    found = False
    for index, stream in enumerate(_streams(raw)):
        found = True
        error = None
        if stream.is_torn:
            error = ErrorInfo(code=TruncatedStream.code, message="The log stops in the middle of a chunk.")
        chunks = event_stream(stream.chunks)
        yield _interaction(index, RecordedResponse(status=None, headers=_HEADERS, chunks=chunks, error=error))
    if not found:
        raise ValueError("there is no chunk of a stream in it")


_HEADERS = (("content-type", EVENT_STREAM),)


def _interaction(index: int, response: RecordedResponse, *, fidelity_is_body: bool = False) -> Interaction:
    return Interaction(id=str(index), fidelity="body" if fidelity_is_body else "parsed", response=response)


class _Stream(NamedTuple):
    chunks: list[bytes]
    is_torn: bool


def _streams(raw: bytes) -> Iterator[_Stream]:
    chunks: list[bytes] = []
    is_torn = False
    for text in _objects(_undiff(raw)):
        if text is _END:
            if chunks:
                yield _Stream(chunks, is_torn=False)
            chunks = []
        elif text is _TORN:
            is_torn = True
        else:
            chunks.append(text)
    if chunks:
        yield _Stream(chunks, is_torn)


def _undiff(raw: bytes) -> list[bytes]:
    """The lines, or what a diff adds and leaves of them."""
    all_lines = [line.removesuffix(b"\r") for line in raw.split(b"\n")]
    if not _DIFF.search(raw):
        return all_lines
    return [line[1:] for line in all_lines if line[:1] in b"+ " and not line.startswith(b"+++ ")]


_END = b"[DONE]"
_TORN = b"[TORN]"


def _objects(all_lines: list[bytes]) -> Iterator[bytes]:
    """The JSON objects in the lines that are chunks, as compact text; `_END` after each stream, `_TORN` at a cut."""
    is_pure = _is_json_lines(all_lines)
    label, opened = b"", list[bytes]()
    for line in all_lines:
        if opened:
            if not line.startswith(label.rstrip()):
                continue  # another process's line in between
            line = line[len(label) :]
            opened.append(line.strip())
            if line.rstrip() in (b"}", b"},"):  # pretty-printers put the last brace under the first
                text = b"".join(opened).removesuffix(b",")
                opened = []
                if _is_chunk(text, is_pure):
                    yield text
            continue
        if _DONE.search(line):
            yield _END
        elif start := _JSON_START.match(line):
            rest = start["rest"].strip()
            if _is_chunk(rest, is_pure):
                yield rest
            elif rest == b"{":
                label, opened = start["label"], [rest]
            elif start["data"] or is_pure:
                yield _TORN
    if opened:
        yield _TORN


def _is_json_lines(all_lines: list[bytes]) -> bool:
    """Whether there is nothing but chunks, one a line; then each line is taken for one, whatever it holds."""
    texts = [line for line in all_lines if line.strip()]
    if not texts or any(line[:1] != b"{" for line in texts):
        return False
    first = _object(texts[0])
    return any(key in first for key in _FIRST_KEYS) or any(key.startswith(_FIRST_PREFIX) for key in first)


def _is_chunk(text: bytes, is_pure: bool) -> bool:
    """Whether this is a whole JSON object and, in a log with other lines in it, one that a stream could hold."""
    value = _object(text)
    if is_pure or any(key in value for key in _CHUNK_KEYS) or isinstance(value.get("error"), dict):
        return bool(value)
    kind = value.get("type")
    return isinstance(kind, str) and kind.startswith(_CHUNK_TYPES)


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object, or an empty one where the text is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
