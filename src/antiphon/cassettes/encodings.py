"""Content-encodings undone, chunk by chunk, so that a recording can be read and its chunks are those that came."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Protocol

import msgspec

from antiphon.cassettes.format import Chunk, Headers, Interaction, RecordedRequest, RecordedResponse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP = zlib.MAX_WBITS | 16


class Decoder(Protocol):
    """Undoes one encoding; ``is_complete`` says whether its end was seen."""

    @property
    def is_complete(self) -> bool:
        """Nothing is missing."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The bytes that this piece amounts to, maybe none.

        Raises:
            ValueError: it is not so encoded.
        """
        ...


class _Zlib:
    """gzip, also of several members, and deflate, with or without the zlib header: servers send both."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._decoder = zlib.decompressobj(bits)
        self._start = b""  # what was fed before anything came out: to be tried again without a header
        self._is_begun = False
        self._has_given = False

    @property
    def is_complete(self) -> bool:
        return self._decoder.eof or not self._is_begun

    def feed(self, data: bytes) -> bytes:
        self._is_begun = self._is_begun or bool(data)
        if not self._has_given:
            self._start += data
        try:
            out = self._decompressed(data)
        except zlib.error as error:
            if self._has_given or self._bits != zlib.MAX_WBITS:
                raise ValueError(str(error)) from error
            self._bits = -zlib.MAX_WBITS
            self._decoder = zlib.decompressobj(self._bits)
            return self.feed(self._start)
        self._has_given = self._has_given or bool(out)
        return out

    def _decompressed(self, data: bytes) -> bytes:
        out = b""
        while data:
            if self._decoder.eof:
                self._decoder = zlib.decompressobj(self._bits)
            out += self._decoder.decompress(data)
            data = self._decoder.unused_data
        return out


class _Zstd:
    def __init__(self) -> None:
        self._decoder = zstd.ZstdDecompressor()
        self._is_begun = False

    @property
    def is_complete(self) -> bool:
        return self._decoder.eof or not self._is_begun

    def feed(self, data: bytes) -> bytes:
        out = b""
        while data:
            if self._decoder.eof:
                self._decoder = zstd.ZstdDecompressor()
            self._is_begun = True
            try:
                out += self._decoder.decompress(data)
            except zstd.ZstdError as error:
                raise ValueError(str(error)) from error
            data = self._decoder.unused_data
        return out


class _Brotli:
    def __init__(self) -> None:
        self._brotli = import_module("brotli")  # it has no types
        self._decoder = self._brotli.Decompressor()
        self._is_begun = False

    @property
    def is_complete(self) -> bool:
        return bool(self._decoder.is_finished()) or not self._is_begun

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._is_begun = True
        try:
            return bytes(self._decoder.process(data))
        except self._brotli.error as error:
            raise ValueError(str(error)) from error


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Zlib(_GZIP),
    "x-gzip": lambda: _Zlib(_GZIP),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
    "zstd": _Zstd,
}
KNOWN = frozenset(_DECODERS)

# No longer true of a body whose encoding has been undone.
ENCODING_HEADERS = frozenset({"content-encoding", "content-length"})


def names(header: str) -> list[str]:
    """The encodings that a content-encoding header names, the outermost first."""
    found = [each.strip().lower() for each in reversed(header.split(","))]
    return [each for each in found if each not in ("", "identity")]


def undo(encoding: str, pieces: Iterable[bytes], *, partial: bool = False) -> list[bytes]:
    """The decoded bytes of each piece; ``partial`` allows a body that was cut.

    Raises:
        ValueError: the encoding is not known, the bytes are not of it, or their end is missing.
    """
    if encoding not in _DECODERS:
        raise ValueError(f"the content-encoding {encoding!r} is not known here")
    decoder = _DECODERS[encoding]()
    decoded = [decoder.feed(piece) for piece in pieces]
    if not partial and not decoder.is_complete:
        raise ValueError(f"the {encoding} body ends too early")
    return decoded


def decoded(interaction: Interaction) -> Interaction:
    """The interaction with its content-encodings undone and noted.

    A body that cannot be decoded stays as it is, with its ``content-encoding`` header: it is replayed encoded.
    """
    request, response = interaction.request, interaction.response
    return msgspec.structs.replace(
        interaction,
        request=None if request is None else _request(request),
        response=None if response is None else _response(response),
    )


def decoded_body(headers: Headers, body: bytes) -> tuple[str, bytes]:
    """The encoding that a request's body came in, undone, and the body; ``""`` where there is none to undo."""
    named = next((value for name, value in headers if name == "content-encoding"), "")
    try:
        for encoding in names(named):
            body = b"".join(undo(encoding, [body]))
    except ValueError:
        return "", body
    return named if names(named) else "", body


def _request(request: RecordedRequest) -> RecordedRequest:
    encoding, body = decoded_body(request.headers, request.body)
    if not encoding:
        return request
    return msgspec.structs.replace(request, headers=_plain(request.headers), body=body, content_encoding=encoding)


def _response(response: RecordedResponse) -> RecordedResponse:
    named = response.header("content-encoding") or ""
    if not names(named) or not response.chunks:
        return response
    pieces = [chunk.data for chunk in response.chunks]
    try:
        for encoding in names(named):
            pieces = undo(encoding, pieces, partial=response.error is not None)
    except ValueError:
        return response
    return msgspec.structs.replace(
        response,
        headers=_plain(response.headers),
        chunks=_rejoined(response.chunks, pieces),
        content_encoding=named,
    )


def _plain(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0] not in ENCODING_HEADERS)


def _rejoined(chunks: tuple[Chunk, ...], pieces: list[bytes]) -> tuple[Chunk, ...]:
    """A chunk for each piece that holds something; the delay of one that does not belongs to the next."""
    found, waited_ms = [], 0.0
    for chunk, piece in zip(chunks, pieces, strict=True):
        waited_ms += chunk.delay_ms
        if piece:
            found.append(Chunk(round(waited_ms, 3), piece))
            waited_ms = 0.0
    return tuple(found)
