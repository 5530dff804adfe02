"""Recordings written for other tools: go-vcr and vcrpy. Both keep bodies whole, so chunks and their times are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from antiphon.cassettes.format import Headers, Interaction, RecordedRequest, RecordedResponse, encode_header
from antiphon.cassettes.format import encode_interaction as encode

Target = Literal["native", "go-vcr", "vcrpy"]

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write(path: Path, interactions: Iterable[Interaction], to: Target) -> list[str]:
    """Write a recording; gives, in a line each, what the format has no place for and was left out.

    Raises:
        OSError: it cannot be written.
    """
    left_out: list[str] = []
    if to == "native":
        with open(path, "wb") as file:
            file.write(encode_header())
            file.writelines(encode(each) for each in interactions)
        return left_out
    document = {"go-vcr": _go_vcr, "vcrpy": _vcrpy}[to](_exchanges(interactions, left_out.append))
    with open(path, "w", encoding="utf-8") as text:
        yaml.dump(document, text, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=to == "go-vcr")
    return left_out


Exchanges = Iterator[tuple[RecordedRequest, RecordedResponse]]


def _exchanges(interactions: Iterable[Interaction], leave_out: Callable[[str], None]) -> Exchanges:
    for index, each in enumerate(interactions):
        request, response = each.request, each.response
        if each.kind != "http":
            leave_out(f"interaction {index}: {each.kind} has no place there")
        elif request is None or response is None or response.status is None:
            leave_out(f"interaction {index}: it has no {'request' if request is None else 'status'}")
        else:
            if response.error is not None:
                leave_out(f"interaction {index}: that it was cut ({response.error.code}); its body ends there")
            yield request, response


def _go_vcr(exchanges: Exchanges) -> dict[str, Any]:
    interactions = [
        {
            "id": index,
            "request": {
                "proto": "HTTP/1.1",
                "proto_major": 1,
                "proto_minor": 1,
                "content_length": len(request.body),
                "host": urlsplit(request.url).netloc,
                "body": _data(request.body),
                "headers": _listed(request.headers, titled=True),
                "url": request.url,
                "method": request.method,
            },
            "response": {
                "proto": "HTTP/1.1",
                "proto_major": 1,
                "proto_minor": 1,
                "content_length": len(response.body),
                "body": _data(response.body),
                "headers": _listed(response.headers, titled=True),
                "status": f"{response.status} {_phrase(response.status)}".strip(),
                "code": response.status,
                "duration": f"{response.delay_ms:g}ms",
            },
        }
        for index, (request, response) in enumerate(exchanges)
    ]
    return {"version": 2, "interactions": interactions}


def _vcrpy(exchanges: Exchanges) -> dict[str, Any]:
    interactions = [
        {
            "request": {
                "body": _data(request.body) or None,
                "headers": _listed(request.headers),
                "method": request.method,
                "uri": request.url,
            },
            "response": {
                "body": {"string": _data(response.body)},
                "headers": _listed(response.headers),
                "status": {"code": response.status, "message": _phrase(response.status)},
            },
        }
        for request, response in exchanges
    ]
    return {"interactions": interactions, "version": 1}


def _data(body: bytes) -> str | bytes:
    """Text where it is text that YAML keeps; bytes become ``!!binary``."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    # YAML reads a carriage return as a line end, and refuses other control characters.
    is_kept = "\r" not in text and all(each.isprintable() or each in "\n\t" or each > "\xa0" for each in text)
    return text if is_kept else body


def _listed(headers: Headers, *, titled: bool = False) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.title() if titled else name, []).append(value)
    return found


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return ""
