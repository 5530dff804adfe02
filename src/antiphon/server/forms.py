"""Forms with a file in them (``multipart/form-data``), read while they come: the file goes where it is kept.

The parsing is `python_multipart`'s; here it is decided what is taken and how much.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from antiphon.errors import InvalidRequest, RequestTooLarge
from antiphon.server.exchange import ClientGone, Exchange
from antiphon.store.blobs import Blobs, BlobWriter

# What a form has besides the file: its fields, the headers of its parts, the boundaries.
MAX_BESIDE_BYTES = 64 * 1024
_MAX_FIELDS = 64

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_FILENAME = 255


class ReceivedFile(NamedTuple):
    """A file that came with a form, and that is kept by now."""

    filename: str
    media_type: str
    bytes: int
    sha256: str


class Form(NamedTuple):
    """What came: the fields, and the file, if there was one."""

    fields: dict[str, str]
    file: ReceivedFile | None


async def receive_form(exchange: Exchange, blobs: Blobs, blob: str, *, file_field: str, max_bytes: int) -> Form:
    """Read the form of a request, and keep the file that is its part ``file_field`` as ``blob``.

    A form that says beforehand that it is too large is not read at all. If this raises, nothing is kept.

    Raises:
        RequestTooLarge: the file has more than ``max_bytes``, or there is too much beside it.
        InvalidRequest: it is no such form, or not a whole one.
        StorageFailed: the file cannot be kept.
        ClientGone: it stopped coming.
    """
    boundary = _boundary(exchange)
    declared = exchange.header(b"content-length") or ""
    if declared.isdecimal() and int(declared) > max_bytes + MAX_BESIDE_BYTES:
        raise RequestTooLarge(
            f"The request has {int(declared):,} bytes, but a file may have {max_bytes:,}. Nothing of it was read."
        )
    async with blobs.create(blob) as writer:
        reader = _FormReader(boundary, file_field, writer, max_bytes)
        async for piece in _pieces(exchange):
            await reader.feed(piece)
        form = reader.finish()
        if form.file is None:
            raise InvalidRequest(
                f"Missing required parameter: '{file_field}'.", param=file_field, code="missing_required_parameter"
            )
    return form


def safe_filename(name: str) -> str:
    """A file's name without a path, without what would break a header or a log, and not endless."""
    name = _CONTROL.sub("", posixpath.basename(name.replace("\\", "/"))).strip()
    if len(name) > _MAX_FILENAME:
        stem, extension = posixpath.splitext(name)
        name = stem[: _MAX_FILENAME - len(extension)] + extension if len(extension) < 20 else name[:_MAX_FILENAME]
    return name or "file"


def _boundary(exchange: Exchange) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(exchange.header(b"content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        shown = kind.decode("latin-1") or "nothing"
        raise InvalidRequest(
            f"The body must be a form with a file: 'content-type: multipart/form-data; boundary=...', but it says"
            f" {shown!r}.",
            code="invalid_content_type",
        )
    return options[b"boundary"]


async def _pieces(exchange: Exchange) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        yield message.get("body", b"")


class _Part:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.name = ""
        self.filename: str | None = None
        self.value = bytearray()
        self.is_file = False

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class _FormReader:
    """Takes a form piece by piece. What the parser finds in one is collected, and written before the next is taken."""

    def __init__(self, boundary: bytes, file_field: str, writer: BlobWriter, max_bytes: int) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        self._file_field = file_field
        self._writer = writer
        self._max_bytes = max_bytes
        self._error = FormParserError
        self._fields: dict[str, str] = {}
        self._file: _Part | None = None
        self._part = _Part()
        self._header = (bytearray(), bytearray())
        self._found: list[bytes] = []
        self._bytes = 0
        self._beside_bytes = 0
        self._hash = hashlib.sha256()
        self._is_whole = False
        callbacks: Any = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _malformed(str(error)) from None

    async def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(piece)
        except self._error as error:
            raise _malformed(str(error)) from None
        for data in self._found:
            self._hash.update(data)
            await self._writer.write(data)
        self._found.clear()

    def finish(self) -> Form:
        """What the whole form was."""
        if not self._is_whole:
            raise _malformed("it ends in the middle")
        if self._file is None:
            return Form(self._fields, None)
        filename = safe_filename(self._file.filename or "")
        return Form(self._fields, ReceivedFile(filename, self._file.media_type, self._bytes, self._hash.hexdigest()))

    def _on_part_begin(self) -> None:
        self._part = _Part()

    def _on_header_end(self) -> None:
        name, value = self._header
        self._part.headers[name.decode("latin-1").lower()] = _text(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        # The parser of options works on Latin-1; names of files come as UTF-8.
        _, options = parse_options_header(self._part.headers.get("content-disposition", "").encode().decode("latin-1"))
        part = self._part
        part.name = _text(options.get(b"name", b""))
        part.filename = _text(options[b"filename"]) if b"filename" in options else None
        part.is_file = part.name == self._file_field
        if part.is_file and self._file is not None:
            raise InvalidRequest(f"There is more than one '{part.name}' in the form. Send them one by one.")
        if part.is_file:
            self._file = part
        elif len(self._fields) >= _MAX_FIELDS:
            raise InvalidRequest(f"The form has more than {_MAX_FIELDS} fields.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._part.is_file:
            self._bytes += len(piece)
            if self._bytes > self._max_bytes:
                raise RequestTooLarge(f"The file is larger than the limit of {self._max_bytes:,} bytes.")
            self._found.append(piece)
            return
        self._beside_bytes += len(piece)
        if self._beside_bytes > MAX_BESIDE_BYTES:
            raise RequestTooLarge(f"The fields of the form have more than {MAX_BESIDE_BYTES:,} bytes together.")
        self._part.value += piece

    def _on_part_end(self) -> None:
        if not self._part.is_file:
            self._fields[self._part.name] = _text(self._part.value)

    def _on_end(self) -> None:
        self._is_whole = True


def _text(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _malformed(what: str) -> InvalidRequest:
    return InvalidRequest(f"The form in the body cannot be read: {what}.", code="invalid_form")
