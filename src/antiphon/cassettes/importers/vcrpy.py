"""vcrpy cassettes, ``version: 1``, in YAML or JSON: fidelity ``body``, or ``parsed`` where only objects were kept.

Bodies are text, bytes, ``{"string": …}``, in old httpx cassettes ``content``, and with pydantic-ai's serializer
``parsed_body``: the decoded JSON in place of the bytes. Encoded bodies (gzip, deflate, br, zstd) are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.cassettes.format import Interaction, RecordedRequest, RecordedResponse
from antiphon.cassettes.importers.bodies import as_bytes, flatten_headers, undo_encoding, whole


class _Request(msgspec.Struct):
    uri: str
    method: str = "GET"
    headers: dict[str, Any] | None = None
    body: Any = None
    parsed_body: Any = msgspec.UNSET


class _Status(msgspec.Struct):
    code: int
    message: str | None = None


class _Response(msgspec.Struct):
    status: _Status | None = None
    status_code: int | None = None
    headers: dict[str, Any] | None = None
    body: Any = msgspec.UNSET
    content: Any = msgspec.UNSET
    parsed_body: Any = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.status is None and self.status_code is None:
            raise ValueError("the response has no status")
        if msgspec.UNSET is self.body is self.content is self.parsed_body:
            raise ValueError("the response has no body")


class _Interaction(msgspec.Struct):
    request: _Request
    response: _Response


class _Cassette(msgspec.Struct):
    interactions: list[_Interaction]


def interactions(document: Any) -> Iterator[Interaction]:
    """The interactions of a parsed cassette.

    Raises:
        msgspec.ValidationError, ValueError: the document is not a vcrpy cassette, or a body cannot be decoded.
    """
    for index, each in enumerate(msgspec.convert(document, _Cassette).interactions):
        request, response = each.request, each.response
        headers = flatten_headers(response.headers)
        is_parsed = response.parsed_body is not msgspec.UNSET
        if is_parsed:
            body = msgspec.json.encode(response.parsed_body)
            headers = tuple(pair for pair in headers if pair[0] not in ("content-encoding", "content-length"))
        else:
            headers, body = undo_encoding(
                headers, as_bytes(response.content if response.body is msgspec.UNSET else response.body)
            )
        yield Interaction(
            id=str(index),
            fidelity="parsed" if is_parsed else "body",
            request=RecordedRequest(
                method=request.method,
                url=request.uri,
                headers=flatten_headers(request.headers),
                body=_request_body(request),
            ),
            response=RecordedResponse(
                status=response.status.code if response.status else response.status_code,
                headers=headers,
                chunks=whole(body),
            ),
        )


def _request_body(request: _Request) -> bytes:
    if request.parsed_body is not msgspec.UNSET:
        return msgspec.json.encode(request.parsed_body)
    return as_bytes(request.body)
