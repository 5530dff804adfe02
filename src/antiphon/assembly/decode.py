"""The data of one event, or a whole body, as the JSON objects it holds.

Upstreams split characters that the tokenizer split (Q95), put two objects into one event (Q98), and send JSON that is
not quite JSON. What can be read without guessing is read; everything else is `InvalidEvent`.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec

from antiphon.errors import InvalidEvent

# A value nested deeper could not be written to a journal again: every JSON library stops somewhere near 1000.
MAX_DEPTH = 128

decode = msgspec.json.Decoder().decode
_BLANK = " \t\r\n"

# What `decode` raises where `decode_leniently` should be asked.
NOT_PLAIN = (msgspec.DecodeError, UnicodeError, RecursionError)


def _finite(number: str) -> float | None:
    """A number, or None if it is too large to be one: a journal has no word for infinity."""
    value = float(number)
    return value if isfinite(value) else None


_raw_decode = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=lambda _: None).raw_decode


def check_depth(value: object) -> None:
    """Refuse what is nested too deep to be kept.

    Raises:
        InvalidEvent: it is.
    """
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise InvalidEvent(f"The upstream sent JSON nested deeper than {MAX_DEPTH} levels.")
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += 1


def is_shallow(data: bytes) -> bool:
    """Whether JSON cannot be nested too deep to be kept: it has no more brackets than that."""
    return data.count(b"{") + data.count(b"[") <= MAX_DEPTH


def clean(value: Any) -> Any:
    """A value that somebody else decoded, fit for a journal.

    Raises:
        InvalidEvent: there is something in it that is no JSON.
    """
    check_depth(value)
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return _without_surrogates(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidEvent(f"The upstream's answer holds what is no JSON: {error}") from None
    return value


def decode_leniently(data: bytes) -> tuple[list[Any], str]:
    """All JSON values of ``data``, one after the other, and the quirk that made this necessary.

    Raises:
        InvalidEvent: there is something in it that is no JSON.
    """
    quirk = "Q98"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text, quirk = data.decode("utf-8", "replace"), "Q95"
    values: list[Any] = []
    at = 0
    try:
        while rest := text[at:].lstrip(_BLANK):
            at = len(text) - len(rest)
            value, at = _raw_decode(text, at)
            values.append(clean(value))
            # Half a surrogate pair is legal JSON and no legal text.
            quirk = quirk if values[-1] is value else "Q95"
    except RecursionError:
        raise InvalidEvent(f"The upstream sent JSON nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError:
        raise InvalidEvent(f"The upstream sent an event that is not JSON: {_excerpt(text)}") from None
    return values, quirk


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(entry) for entry in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(entry) for key, entry in value.items()}
    return value


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:119] + "…")
