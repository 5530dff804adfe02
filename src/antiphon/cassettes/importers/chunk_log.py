"""Streams as they stand in logs: no request, no status, no headers.

Three shapes: the body of an event stream as it is (fidelity ``body``); JSON Lines, a chunk a line; and the output of a
development server, where chunks stand behind a label (``api:dev: ``), a time, or the ``+`` of a diff, pretty-printed
over many lines or behind ``data:``, among lines that have nothing to do with them (both fidelity ``parsed``). Chunks
keep the text of their numbers and strings; white space between tokens is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.cassettes.format import Chunk, Fidelity, Interaction, RecordedResponse
from antiphon.cassettes.importers.bodies import EVENT_STREAM, event_stream, whole
from antiphon.errors import TruncatedStream
from antiphon.events import ErrorInfo

_EVENT_STREAM = re.compile(rb"(?:data|event|id|retry)?:")
_DATA_LINE = re.compile(rb"^data:", re.MULTILINE)
_DIFF = re.compile(rb"^(?:diff --git |--- |\+\+\+ |@@ )", re.MULTILINE)
_JSON_START = re.compile(rb"^(?P<label>[^{]*?)(?P<data>data:[ ]?)?(?P<rest>\{.*)$")
_DONE_LINE = re.compile(rb"data:[ ]?\[DONE\]\s*$")
_CHUNK_LIKE = re.compile(rb'"(?:choices|candidates)"\s*:')

# What tells a chunk of a chat, Gemini, Responses or Messages stream from a structured log line next to it.
_CHUNK_KEYS = ("choices", "candidates")
_CHUNK_TYPES = ("response.", "message_", "content_block_")

# What the first line of a file of JSON Lines must have one of, for the file to be a stream: every API's chunks do.
_FIRST_KEYS = (*_CHUNK_KEYS, "type", "event_type", "error", "done", "messageStart")
_FIRST_PREFIX = "contentBlock"  # Bedrock Converse


class NoChunk(ValueError):
    """There is nothing in the text that could be a chunk."""


def interactions(raw: bytes) -> Iterator[Interaction]:
    """The streams in a log; a ``[DONE]`` ends one.

    Raises:
        NoChunk: it is no log of a stream.
        ValueError: a chunk in it is broken, and more comes behind it.
    """
    if _EVENT_STREAM.match(raw) and _DATA_LINE.search(raw):
        yield _interaction(0, "body", whole(raw))
        return
    index = -1
    for index, (objects, is_cut) in enumerate(_streams(raw)):
        yield _interaction(index, "parsed", event_stream(objects), is_cut=is_cut)
    if index < 0:
        raise NoChunk("there is no chunk of a stream in it")


def _interaction(index: int, fidelity: Fidelity, chunks: tuple[Chunk, ...], *, is_cut: bool = False) -> Interaction:
    cut = ErrorInfo(code=TruncatedStream.code, message="The log stops in the middle of a chunk.")
    headers = (("content-type", EVENT_STREAM),)
    response = RecordedResponse(status=None, headers=headers, chunks=chunks, error=cut if is_cut else None)
    return Interaction(id=str(index), fidelity=fidelity, response=response)


Line = tuple[int, bytes]
Object = tuple[bytes, dict[str, Any]]


def _streams(raw: bytes) -> Iterator[tuple[list[Object], bool]]:
    """The objects of each stream, and whether the log stops within one."""
    objects: list[Object] = []
    broken_line = 0
    for number, found in _found(_undiff(raw)):
        if broken_line:
            raise ValueError(f"line {broken_line}: a chunk is broken off, and the log goes on")
        if found is None:
            broken_line = number
        elif found == _DONE:
            if objects:
                yield objects, False
            objects = []
        else:
            objects.append(found)
    if objects:
        yield objects, bool(broken_line)


def _undiff(raw: bytes) -> list[Line]:
    """The lines with their numbers; of a diff, those that it adds or leaves."""
    numbered = [(number, line.removesuffix(b"\r")) for number, line in enumerate(raw.split(b"\n"), start=1)]
    if not _DIFF.search(raw):
        return numbered
    return [(number, line[1:]) for number, line in numbered if line[:1] in b"+ " and not line.startswith(b"+++ ")]


_DONE: Object = (b"[DONE]", {})


def _found(numbered: list[Line]) -> Iterator[tuple[int, Object | None]]:
    """The chunks in the lines, `_DONE` after each stream, and None where a chunk is broken off."""
    is_pure = _is_json_lines(numbered)
    label, opened, opened_at = b"", list[bytes](), 0
    for number, line in numbered:
        if opened:
            if not line.startswith(label.rstrip()):
                continue  # another process's line in between
            rest = line[len(label) :].rstrip()
            opened.append(rest.strip())
            if rest in (b"}", b"},"):  # pretty-printers put the last brace under the first
                text, opened = b"".join(opened).removesuffix(b","), []
                if value := _chunk(text, is_pure):
                    yield opened_at, (text, value)
                elif _CHUNK_LIKE.search(text) and not _object(text):
                    yield opened_at, None
        elif _DONE_LINE.search(line):
            yield number, _DONE
        elif start := _JSON_START.match(line):
            text = start["rest"].strip()
            if value := _chunk(text, is_pure):
                yield number, (text, value)
            elif text == b"{":
                label, opened, opened_at = start["label"], [text], number
            elif is_pure or start["data"]:
                yield number, None
    if opened:
        yield opened_at, None


def _is_json_lines(numbered: list[Line]) -> bool:
    """Whether there is nothing but chunks, one a line; then each line is taken for one, whatever it holds."""
    texts = [line for _, line in numbered if line.strip()]
    if not texts or any(line[:1] != b"{" for line in texts):
        return False
    first = _object(texts[0])
    return any(key in first for key in _FIRST_KEYS) or any(key.startswith(_FIRST_PREFIX) for key in first)


def _chunk(text: bytes, is_pure: bool) -> dict[str, Any]:
    """The JSON object if it is whole and, among other lines, one that a stream could hold; else an empty one."""
    value = _object(text)
    kind = value.get("type")
    is_chunk = (
        is_pure
        or any(key in value for key in _CHUNK_KEYS)
        or isinstance(value.get("error"), dict)
        or (isinstance(kind, str) and kind.startswith(_CHUNK_TYPES))
    )
    return value if is_chunk else {}


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object, or an empty one where the text is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
