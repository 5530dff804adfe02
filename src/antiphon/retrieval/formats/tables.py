"""CSV: every row a line that says the name of each value, as a row is found without its header."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator

from antiphon.errors import ExtractionError
from antiphon.retrieval.documents import Extracted, TextBuilder, clean
from antiphon.retrieval.formats.plain import decode

_DELIMITERS = ",;\t|"
_SAMPLE_CHARS = 64 * 1024


def read(data: bytes) -> Extracted:
    """The rows, each as ``name: value; name: value``.

    Raises:
        ExtractionError: it is not text, or cannot be read as rows.
    """
    source, notes = decode(data)
    source = clean(source)
    rows = _rows(source)
    out = TextBuilder()
    try:
        first = next(rows, [])
        header = _header(first)
        for row in itertools.chain([] if header else [first], rows):
            if line := _line(header, row):
                out.add(f"{line}\n")
    except csv.Error as error:
        raise ExtractionError("invalid_file", f"The rows cannot be read: {error}.") from error
    text = out.text().rstrip()
    if header and not text:  # a header alone is all there is
        text = "; ".join(header)
    return Extracted(text=text, kind="csv", notes=notes)


def _rows(source: str) -> Iterator[list[str]]:
    try:
        dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(source[:_SAMPLE_CHARS], delimiters=_DELIMITERS)
    except csv.Error:
        dialect = "excel"
    rows = csv.reader(io.StringIO(source), dialect)
    return (row for row in rows if any(cell.strip() for cell in row))


def _header(first: list[str]) -> list[str]:
    """The first row, if it names columns: each cell something, no two alike, none a number."""
    names = [cell.strip() for cell in first]
    if not all(names) or len(set(names)) < len(names) or any(_is_number(name) for name in names):
        return []
    return names


def _line(header: list[str], row: list[str]) -> str:
    cells = [" ".join(cell.split()) for cell in row]
    named = (f"{header[n]}: {cell}" if n < len(header) else cell for n, cell in enumerate(cells) if cell)
    return "; ".join(named)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
