"""Bytes as text: which encoding they are in, and whether they are text at all."""

from __future__ import annotations

import codecs
import re

from antiphon.errors import ExtractionError

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_C1 = re.compile("[\x80-\x9f]")
# Of random bytes a tenth are controls; a log with escape codes and form feeds has fewer than one in a hundred.
_MOST_CONTROLS = 0.02


def decode(data: bytes, *, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text, and notes about what was guessed; ``declared`` is an encoding that the file itself names.

    Raises:
        ExtractionError: it is not text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return _text(data[len(mark) :].decode(encoding)), ()
            except UnicodeDecodeError as error:
                message = f"The file says that it is {encoding.upper()} and is not, from byte {error.start} on."
                raise ExtractionError("invalid_file", message) from error
    for encoding in filter(None, (declared, "utf-8")):
        try:
            return _text(data.decode(encoding)), ()
        except (UnicodeDecodeError, LookupError):
            continue
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    text = _text(text, more_controls=_C1)
    return text, ("The file is not UTF-8; it was read as Latin-1 (Windows-1252).",)


def _text(text: str, *, more_controls: re.Pattern[str] | None = None) -> str:
    controls = len(_CONTROL.findall(text))
    if more_controls is not None:
        controls += len(more_controls.findall(text))
    if "\x00" in text or controls > _MOST_CONTROLS * len(text):
        raise ExtractionError("unsupported_file", "The file holds binary data, not text.")
    return text
