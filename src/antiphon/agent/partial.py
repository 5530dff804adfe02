"""JSON that is not whole: what a text that is still coming holds so far, and what little may be mended in one. Pure.

Mending takes off a code fence, drops commas before a bracket, and closes brackets that were never closed. It adds no
value and no text: a string that was not closed was cut, and whoever closes it makes up its end.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

NOTHING: Any = object()  # there is no value yet; None is one

_CLOSERS = {"{": "}", "[": "]"}
_BLANK = " \t\r\n"
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


class PartialJson:
    """Takes a JSON text in pieces; `value` is what of it is certain so far.

    What stands before the first bracket or quote, such as a code fence, is passed over, and so is a comma too many.
    An unfinished string counts as far as it came; an unfinished number or word does not, nor a key without a value.
    """

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._open: list[str] = []  # brackets
        self._string: str | None = None  # the open string: "key" or "value"
        self._wants_key = False
        self._escape = -1  # where an escape began that is not over
        self._comma = -1  # where a comma stands that nothing has followed yet
        self._start = -1  # where the value begins
        self._whole = 0  # up to here, with brackets closed, it is JSON
        self._closers = ""  # those brackets

    def feed(self, piece: str) -> None:
        """Take more of the text."""
        self._text += piece
        while self._at < len(self._text):
            character = self._text[self._at]
            if self._string is not None:
                self._in_string(character)
            elif character not in _BLANK:
                self._between(character)
            self._at += 1

    @property
    def value(self) -> Any:
        """What is certain so far, or `NOTHING`."""
        if self._start < 0:
            return NOTHING
        text = self._text[self._start : self._whole] + self._closers
        if self._string == "value":
            end = self._escape if self._escape >= 0 else len(self._text)
            text = f'{self._text[self._start : end]}"{self._closing()}'
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return NOTHING

    def _in_string(self, character: str) -> None:
        if self._escape >= 0:
            escaped = self._text[self._escape : self._at + 1]
            if escaped[1] != "u" or len(escaped) == 6:
                self._escape = -1
        elif character == "\\":
            self._escape = self._at
        elif character == '"':
            is_value, self._string = self._string == "value", None
            if is_value:
                self._mark(self._at + 1)

    def _between(self, character: str) -> None:
        if self._start < 0:
            if character not in '{["':
                return
            self._start = self._at
        if character in "}]" and self._comma >= 0:
            self._text = self._text[: self._comma] + self._text[self._comma + 1 :]
            self._at -= 1
        self._comma = self._at if character == "," else -1
        if character == '"':
            self._string = "key" if self._wants_key else "value"
        elif character in _CLOSERS:
            self._open.append(character)
            self._wants_key = character == "{"
            self._mark(self._at + 1)
        elif character in "}]":
            if self._open:
                self._open.pop()
            self._wants_key = False
            self._mark(self._at + 1)
        elif character == ",":
            self._mark(self._at)
            self._wants_key = self._open[-1:] == ["{"]
        elif character == ":":
            self._wants_key = False

    def _mark(self, end: int) -> None:
        self._whole, self._closers = end, self._closing()

    def _closing(self) -> str:
        return "".join(_CLOSERS[bracket] for bracket in reversed(self._open))


def mended(text: str) -> str | None:
    """The JSON that a text was meant to be, where little is wrong with it; None where it is not, or nothing is."""
    fenced = _FENCED.fullmatch(text)
    inner = (fenced[1] if fenced else text).strip()
    if _is_json(inner):
        return inner if fenced else None
    without = _without_trailing_commas(inner)
    for candidate in (without, without + _missing_brackets(without)):
        if candidate != text and _is_json(candidate):
            return candidate
    return None


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


# A string, or a comma with nothing behind it but a closing bracket.
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


def _without_trailing_commas(text: str) -> str:
    return _STRING_OR_COMMA.sub(lambda found: found[1] or "", text.rstrip().removesuffix(","))


def _missing_brackets(text: str) -> str:
    missing: list[str] = []
    for found in _STRING_OR_BRACKET.finditer(text):
        character = found[0]
        if character in _CLOSERS:
            missing.append(_CLOSERS[character])
        elif character in "}]" and missing:
            missing.pop()
    return "".join(reversed(missing))
