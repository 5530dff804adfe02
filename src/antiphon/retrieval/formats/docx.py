"""Word documents: paragraphs, headings, lists and tables, in their order, as Markdown."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from antiphon.errors import ExtractionError
from antiphon.retrieval.documents import Extracted, TextBuilder, clean

# A document is a ZIP archive, and a small one can unpack to anything. What is declared here is checked while
# unpacking, so a lie about it ends in an error.
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
MAX_PART_BYTES = 64 * 1024 * 1024
_MAIN = "word/document.xml"
_HEADING = re.compile(r"heading ([1-6])", re.IGNORECASE)


def is_docx(archive: zipfile.ZipFile) -> bool:
    """Whether a ZIP archive is a Word document."""
    return _MAIN in archive.NameToInfo


def read(data: bytes) -> Extracted:
    """The text of the document's body.

    Raises:
        ExtractionError: it is broken, unpacks to too much, or has no text.
    """
    import docx

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(archive)
        document = docx.Document(io.BytesIO(data))
        text = _body(document)
        title = clean(document.core_properties.title or "").strip()
    except ExtractionError:
        raise
    except Exception as error:  # a broken archive fails in every way there is
        message = f"The Word document is damaged ({type(error).__name__})."
        raise ExtractionError("invalid_file", message) from error
    if not text:
        raise ExtractionError("no_text", "The Word document has no text.")
    return Extracted(text=text, kind="docx", title=title)


def _check(archive: zipfile.ZipFile) -> None:
    sizes = [info.file_size for info in archive.infolist()]
    if sum(sizes) > MAX_UNPACKED_BYTES or max(sizes, default=0) > MAX_PART_BYTES:
        raise ExtractionError(
            "file_too_large", f"The Word document unpacks to {sum(sizes):,} bytes, which is too much."
        )
    if any(info.flag_bits & 1 for info in archive.infolist()):
        raise ExtractionError("encrypted_file", "The Word document is encrypted. Upload a copy without a password.")


def _body(document: Any) -> str:
    out = TextBuilder()
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            for row in _rows(block):
                out.add(f"{row}\n")
            out.add("\n")
        elif text := clean(block.text).strip():
            out.add(f"{_prefix(block)}{text}\n\n")
    return out.text().strip()


def _prefix(paragraph: Any) -> str:
    style = paragraph.style
    name = (style.name or "") if style is not None else ""
    if heading := _HEADING.match(name):
        return "#" * int(heading.group(1)) + " "
    if name == "Title":
        return "# "
    return "- " if name.startswith("List") else ""


def _rows(table: Any) -> Iterator[str]:
    """Rows as the XML has them: python-docx's own cells take quadratic time, and repeat merged ones."""
    from docx.oxml.ns import qn

    for row in table._tbl.tr_lst:
        cells = ("".join(node.text or "" for node in cell.iter(qn("w:t"))).strip() for cell in row.tc_lst)
        yield clean(" | ".join(cells))
