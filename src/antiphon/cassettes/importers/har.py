"""HAR 1.2, as browsers, proxies and Polly.JS write it: fidelity ``body``. Text, or base64 where the entry says so."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from antiphon.cassettes.format import Headers, Interaction, RecordedRequest, RecordedResponse
from antiphon.cassettes.importers.bodies import undo_encoding, whole


class _Pair(msgspec.Struct, frozen=True):
    name: str
    value: str = ""


class _PostData(msgspec.Struct, frozen=True):
    text: str = ""
    encoding: str | None = None


class _Request(msgspec.Struct, rename={"post_data": "postData"}):
    method: str
    url: str
    headers: list[_Pair] = []
    post_data: _PostData | None = None


class _Response(msgspec.Struct):
    status: int
    headers: list[_Pair] = []
    content: _PostData = _PostData()


class _Timings(msgspec.Struct, frozen=True):
    wait: float | None = None


class _Entry(msgspec.Struct, rename={"started_at": "startedDateTime", "duration_ms": "time"}):
    request: _Request
    response: _Response
    started_at: datetime | None = None
    duration_ms: float | None = None
    timings: _Timings = _Timings()


class _Log(msgspec.Struct):
    entries: list[_Entry]


class _Archive(msgspec.Struct):
    log: _Log


def interactions(document: Any) -> Iterator[Interaction]:
    """The interactions of a parsed archive.

    Raises:
        msgspec.ValidationError, ValueError: the document is not a HAR.
    """
    for index, entry in enumerate(msgspec.convert(document, _Archive).log.entries):
        headers, body = undo_encoding(_headers(entry.response.headers), _body(entry.response.content))
        yield Interaction(
            id=str(index),
            fidelity="body",
            request=RecordedRequest(
                method=entry.request.method,
                url=entry.request.url,
                headers=_headers(entry.request.headers),
                body=_body(entry.request.post_data),
            ),
            response=RecordedResponse(
                status=entry.response.status,
                headers=headers,
                chunks=whole(body),
                delay_ms=max(0.0, entry.timings.wait or 0.0),  # -1 is "does not apply"
            ),
            started_at=entry.started_at,
            duration_ms=entry.duration_ms,
        )


def _headers(pairs: list[_Pair]) -> Headers:
    return tuple((pair.name.lower(), pair.value) for pair in pairs)


def _body(data: _PostData | None) -> bytes:
    if data is None:
        return b""
    return b64decode(data.text) if data.encoding == "base64" else data.text.encode()
