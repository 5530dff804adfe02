"""Chunks that differ from the one before in their text only, read without being decoded.

Most of a stream is one chunk over and over: the same envelope, the same choice, another word. JSON that is equal but
for the inside of one string is decoded to values that are equal but for that string; so where the bytes around it are
the same, only the string has to be decoded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from antiphon.assembly.decode import NOT_PLAIN

_STRING = re.compile(rb':\s*("(?:[^"\\]|\\.)*")')
_PADDING = re.compile(rb'"obfuscation"' + _STRING.pattern)  # of random length, in each chunk (Q99)
_decode = msgspec.json.Decoder(str).decode


class ChunkPattern(NamedTuple):
    """What stands before, between and behind the strings of a chunk that may change: its text, then its padding.

    ``between`` is empty where there is no padding.
    """

    before: bytes
    between: bytes
    behind: bytes

    def text_in(self, data: bytes) -> str | None:
        """The text of a chunk of this pattern; None for every other, and where the text is empty."""
        before, between, behind = self
        if not data.startswith(before) or not data.endswith(behind):
            return None
        start, end = len(before), len(data) - len(behind)
        try:
            if between:
                at = data.find(between, start, end)
                if at < 0:
                    return None
                _decode(data[at + len(between) : end])
                end = at
            return _decode(data[start:end]) or None
        except NOT_PLAIN:
            return None


def pattern_of(data: bytes, field: str, text: str) -> ChunkPattern | None:
    """The pattern of a chunk that says ``text`` under ``field``, or None where it cannot be told for certain.

    For certain: the field stands there once. Without escapes around them, keys are what they look like, and within a
    string there is no quote that ends in a colon.
    """
    name = msgspec.json.encode(field)
    at = data.find(name)
    string = _STRING.match(data, at + len(name))
    if at < 0 or string is None or data.find(name, at + 1) >= 0:
        return None
    start, end = string.span(1)
    padding = _PADDING.search(data, end)
    before, between, behind = data[:start], b"", data[end:]
    if padding is not None:
        between, behind = data[end : padding.start(1)], data[padding.end(1) :]
    pattern = ChunkPattern(before, between, behind)
    if b"\\" in before or b"\\" in between or b"\\" in behind or pattern.text_in(data) != text:
        return None
    return pattern
