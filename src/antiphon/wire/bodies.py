"""Bodies of requests that are plain objects of known fields: anything else in them is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from antiphon.wire.refusals import refusal
from antiphon.wire.responses import decode_object

Shape = TypeVar("Shape", bound=msgspec.Struct)

_NO_CHOICES: Mapping[str, Iterable[str]] = {}


def decode_body(body: bytes, shape: type[Shape], *, choices: Mapping[str, Iterable[str]] = _NO_CHOICES) -> Shape:
    """The checked body of a request; no body is an empty object. ``choices`` are those of `refusal`.

    Raises:
        InvalidRequest: not a JSON object, or something in it is missing, unknown, of the wrong type or out of range.
    """
    return checked(decode_object(body) if body else {}, shape, choices=choices)


def checked(raw: dict[str, Any], shape: type[Shape], *, choices: Mapping[str, Iterable[str]] = _NO_CHOICES) -> Shape:
    """The shape that ``raw`` has.

    Raises:
        InvalidRequest: it has another.
    """
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise refusal(error, raw, choices=choices) from None
