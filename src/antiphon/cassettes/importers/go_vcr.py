"""go-vcr cassettes, ``version: 2`` (and the older 1): fidelity ``body``.

go-vcr reads a body whole before it gives it on, so the chunks are lost; ``duration`` is the time to the headers only.
Bodies are text, or ``!!binary`` where they are not (Bedrock's event streams).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.cassettes.format import Interaction, RecordedRequest, RecordedResponse
from antiphon.cassettes.importers.bodies import as_bytes, flatten_headers, undo_encoding, whole


class _Request(msgspec.Struct):
    url: str
    method: str = "GET"
    body: Any = ""
    headers: dict[str, Any] | None = None
    form: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    code: int
    body: Any
    headers: dict[str, Any] | None = None
    duration: str | int = ""


class _Interaction(msgspec.Struct):
    request: _Request
    response: _Response
    id: int | None = None


class _Cassette(msgspec.Struct):
    interactions: list[_Interaction]


def interactions(document: Any) -> Iterator[Interaction]:
    """The interactions of a parsed cassette.

    Raises:
        msgspec.ValidationError, ValueError: the document is not a go-vcr cassette.
    """
    for index, each in enumerate(msgspec.convert(document, _Cassette).interactions):
        request, response = each.request, each.response
        headers, body = undo_encoding(flatten_headers(response.headers), as_bytes(response.body))
        yield Interaction(
            id=str(index if each.id is None else each.id),
            fidelity="body",
            request=RecordedRequest(
                method=request.method or "GET",
                url=request.url,
                headers=flatten_headers(request.headers),
                body=as_bytes(request.body),
            ),
            response=RecordedResponse(
                status=response.code,
                headers=headers,
                chunks=whole(body),
                delay_ms=duration_ms(response.duration),
            ),
        )


_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def duration_ms(text: str | int) -> float:
    """Milliseconds of a Go duration such as ``1m18.00699275s``; go-vcr 3 wrote nanoseconds as a number."""
    if isinstance(text, int):
        return text * _UNIT_MS["ns"]
    return sum(float(number) * _UNIT_MS[unit] for number, unit in _PART.findall(text))
