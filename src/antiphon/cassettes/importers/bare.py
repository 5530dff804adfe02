"""Small JSON files that hold answers: nock's, ``{"status", "headers", "body"}``, and bodies with nothing around them.

Fidelity ``parsed`` where the body is kept as a JSON value, ``body`` where it is kept as text or as bytes.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.cassettes.format import Chunk, Headers, Interaction, RecordedRequest, RecordedResponse
from antiphon.cassettes.importers.bodies import JSON, as_bytes, flatten_headers, undo_encoding, whole


class _Nock(msgspec.Struct, rename={"raw_headers": "rawHeaders", "request_headers": "reqheaders"}):
    scope: str
    path: str
    method: str = "GET"
    body: Any = ""
    status: int = 200
    response: Any = ""
    raw_headers: list[str] | dict[str, Any] = []
    request_headers: dict[str, Any] = {}


def nock_interactions(document: Any) -> Iterator[Interaction]:
    """The interactions of a list that nock recorded.

    Raises:
        msgspec.ValidationError, ValueError: the document is not nock's.
    """
    for index, each in enumerate(msgspec.convert(document, list[_Nock])):
        headers, body = undo_encoding(_nock_headers(each.raw_headers), _nock_body(each.response))
        yield Interaction(
            id=str(index),
            fidelity="body" if isinstance(each.response, str) else "parsed",
            request=RecordedRequest(
                method=each.method.upper(),
                url=each.scope.removesuffix(":443").removesuffix("/") + each.path,
                headers=flatten_headers(each.request_headers),
                body=as_bytes(each.body),
            ),
            response=RecordedResponse(status=each.status, headers=headers, chunks=whole(body)),
        )


def _nock_headers(raw: list[str] | dict[str, Any]) -> Headers:
    if isinstance(raw, dict):
        return flatten_headers(raw)
    return tuple((name.lower(), value) for name, value in zip(raw[::2], raw[1::2], strict=False))


def _nock_body(response: Any) -> bytes:
    """Bytes that are not text are kept as hex digits; encoded ones as a list of such, one for each read."""
    if isinstance(response, list) and response and all(isinstance(each, str) for each in response):
        return b"".join(_unhex(each) for each in response)
    return _unhex(response) if isinstance(response, str) else as_bytes(response)


def _unhex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        return text.encode()


class _Answer(msgspec.Struct):
    status: int
    body: Any = None
    headers: dict[str, Any] = {}


def answer_interactions(document: Any) -> Iterator[Interaction]:
    """The one interaction of ``{"status", "headers", "body"}``; the request is not known.

    Raises:
        msgspec.ValidationError, ValueError: the document has another shape.
    """
    found = msgspec.convert(document, _Answer)
    headers, body = undo_encoding(flatten_headers(found.headers), as_bytes(found.body))
    yield Interaction(
        id="0",
        fidelity="body" if isinstance(found.body, str) else "parsed",
        response=RecordedResponse(status=found.status, headers=headers, chunks=whole(body)),
    )


def body_interactions(body: bytes) -> Iterator[Interaction]:
    """The one interaction of a bare JSON body, its bytes as they are; neither request nor status is known."""
    yield Interaction(
        id="0",
        fidelity="body",
        response=RecordedResponse(status=None, headers=(("content-type", JSON),), chunks=(Chunk(0.0, body),)),
    )
