"""The text of a file, whatever format it has.

What a file is, its first bytes say before its name, and its name before the media type that came with it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePath

import msgspec

from antiphon.errors import ExtractionError
from antiphon.retrieval.documents import MAX_FILE_BYTES, MAX_TEXT_CHARS, Extracted, Kind, check_length, clean
from antiphon.retrieval.formats import docx, html, pdf, records, tables
from antiphon.retrieval.formats.plain import decode

__all__ = ["MAX_FILE_BYTES", "MAX_TEXT_CHARS", "Extracted", "Kind", "extract"]

# Extension -> language.
_LANGUAGES = {
    **{
        name: name
        for name in (
            *("c", "css", "go", "java", "kt", "lua", "php", "pl", "proto", "r", "rb", "scala", "sh", "sql"),
            *("swift", "tex", "toml", "yaml", "xml", "zig"),
        )
    },
    **dict.fromkeys(("py", "pyi"), "python"),
    **dict.fromkeys(("js", "mjs", "jsx"), "javascript"),
    **dict.fromkeys(("ts", "tsx"), "typescript"),
    **dict.fromkeys(("cc", "cpp", "cxx", "hpp"), "cpp"),
    **dict.fromkeys(("bash", "zsh"), "sh"),
    "rs": "rust",
    "h": "c",
    "cs": "csharp",
    "yml": "yaml",
    "ex": "elixir",
    "hs": "haskell",
}
_FORMATS: dict[str, str] = {
    **dict.fromkeys(_LANGUAGES, "code"),
    **dict.fromkeys(("md", "markdown", "mdx"), "markdown"),
    **dict.fromkeys(("html", "htm", "xhtml"), "html"),
    **dict.fromkeys(("csv", "tsv"), "csv"),
    **dict.fromkeys(("jsonl", "ndjson"), "jsonl"),
    **dict.fromkeys(("txt", "text", "log", "rst"), "text"),
    "json": "json",
}
_MEDIA_TYPES = {
    "text/markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
}
# First bytes of formats that are not read -> what they are.
_UNSUPPORTED = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"{\\rtf", "a Rich Text document; save it as .docx or .pdf"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"SQLite format 3\x00", "a SQLite database"),
)
_ARCHIVES = {
    "ppt/": "a presentation; export it as .pdf",
    "xl/": "a spreadsheet; export it as .csv",
    "mimetype": "an OpenDocument or EPUB file; export it as .docx or .pdf",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OLE = "EncryptedPackage".encode("utf-16-le")

Reader = Callable[[bytes], Extracted]


def extract(source: Path | bytes, *, filename: str, media_type: str | None = None) -> Extracted:
    """The text of a file; takes time, so call it in a thread.

    Raises:
        ExtractionError: it has none that can be read; ``reason`` and message say why.
    """
    data = _bytes(source)
    if not data.strip(b"\x00 \t\r\n\x0b\x0c"):
        raise ExtractionError("empty_file", "The file is empty.")
    extension = PurePath(filename).suffix.lower().removeprefix(".")
    extracted = _reader(data, extension, media_type)(data)
    check_length(len(extracted.text))
    if not extracted.text.strip():
        raise ExtractionError("empty_file", "The file holds nothing but blanks.")
    if extracted.kind == "code":
        return msgspec.structs.replace(extracted, language=_LANGUAGES[extension])
    return extracted


def _bytes(source: Path | bytes) -> bytes:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_FILE_BYTES:
        message = f"The file has {size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}."
        raise ExtractionError("file_too_large", message)
    return source if isinstance(source, bytes) else source.read_bytes()


def _reader(data: bytes, extension: str, media_type: str | None) -> Reader:
    if b"%PDF-" in data[:1024]:
        return pdf.read
    if data.startswith(b"PK\x03\x04"):
        return _archive_reader(data)
    if data.startswith(_OLE):
        raise _refused_ole(data)
    for start, what in _UNSUPPORTED:
        if data.startswith(start):
            raise ExtractionError("unsupported_file", f"The file is {what}.")
    if extension in ("pdf", "docx"):
        raise ExtractionError("invalid_file", f"The file is called .{extension} and is none.")
    media = (media_type or "").partition(";")[0].strip().lower()
    return _TEXT_READERS[_FORMATS.get(extension) or _MEDIA_TYPES.get(media) or _looked_at(data)]


def _archive_reader(data: bytes) -> Reader:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if docx.is_docx(archive):
                return docx.read
    except Exception as error:  # a broken archive fails in every way there is
        raise ExtractionError("invalid_file", "The file is a damaged ZIP archive.") from error
    what = next((what for name, what in _ARCHIVES.items() if any(each.startswith(name) for each in names)), None)
    raise ExtractionError("unsupported_file", f"The file is {what or 'a ZIP archive; upload what is in it'}.")


def _refused_ole(data: bytes) -> ExtractionError:
    if _ENCRYPTED_OLE in data:
        return ExtractionError("encrypted_file", "The document is encrypted. Upload a copy without a password.")
    return ExtractionError("unsupported_file", "The file is of an old version of Office; save it as .docx or .pdf.")


def _looked_at(data: bytes) -> str:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" if start.startswith((b"<!doctype html", b"<html")) else "text"


def _plain(kind: Kind) -> Reader:
    def read(data: bytes) -> Extracted:
        text, notes = decode(data)
        return Extracted(text=clean(text), kind=kind, notes=notes)

    return read


_TEXT_READERS: dict[str, Reader] = {
    "text": _plain("text"),
    "markdown": _plain("markdown"),
    "code": _plain("code"),
    "html": html.read,
    "csv": tables.read,
    "json": lambda data: records.read(data, lines=False),
    "jsonl": lambda data: records.read(data, lines=True),
}
