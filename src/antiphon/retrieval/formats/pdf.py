"""PDF, by pdfium: the text of each page. Scans have none, and are refused."""

from __future__ import annotations

import threading
from typing import Any

from antiphon.errors import ExtractionError
from antiphon.retrieval.documents import Extracted, TextBuilder, clean

# pdfium must not be called from two threads at once.
_ONE_AT_A_TIME = threading.Lock()
_PASSWORD = 4  # FPDF_ERR_PASSWORD
_BETWEEN = "\n\n"
# pdfium's mark for a hyphen that the end of a line made.
_BROKEN = "\ufffe"


def read(data: bytes) -> Extracted:
    """The text of all pages, with the offset of each.

    Raises:
        ExtractionError: it is encrypted, broken, or has no text.
    """
    import pypdfium2  # type: ignore[import-untyped]

    with _ONE_AT_A_TIME:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise _refusal(error) from error
        try:
            title = document.get_metadata_dict().get("Title", "")
            return _read_pages(document, clean(title).strip())
        except pypdfium2.PdfiumError as error:
            raise ExtractionError("invalid_file", f"The PDF is damaged: {error}.") from error
        finally:
            document.close()


def _read_pages(document: Any, title: str) -> Extracted:
    out = TextBuilder()
    pages: list[int] = []
    empty = 0
    for number in range(len(document)):
        text = _page(document, number)
        empty += not text
        pages.append(out.length)
        out.add(text + _BETWEEN if text else "")
    if empty == len(pages):
        message = "The PDF holds no text; it looks like a scan. Run text recognition (OCR) over it first."
        raise ExtractionError("no_text", message)
    notes = (f"{empty} of {len(pages)} pages hold no text.",) if empty else ()
    text = out.text().rstrip()
    return Extracted(
        text=text, kind="pdf", pages=tuple(min(page, len(text)) for page in pages), title=title, notes=notes
    )


def _page(document: Any, number: int) -> str:
    page = document[number]
    try:
        textpage = page.get_textpage()
        try:
            text = textpage.get_text_bounded()
        finally:
            textpage.close()
    finally:
        page.close()
    return clean(text.replace(f"{_BROKEN}\r\n", "").replace(f"{_BROKEN}\n", "").replace(_BROKEN, "")).strip()


def _refusal(error: Any) -> ExtractionError:
    if getattr(error, "err_code", None) == _PASSWORD:
        message = "The PDF is encrypted. Upload a copy without a password."
        return ExtractionError("encrypted_file", message)
    return ExtractionError("invalid_file", f"The PDF cannot be opened: {error}.")
