"""The text of a file, whatever format it has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["text", "markdown", "code", "html", "pdf", "docx", "csv", "json"]

# What a file may become; a larger text is an error, as half a file that looks whole would be worse.
MAX_TEXT_CHARS = 50_000_000


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says.

    ``pages`` holds the offset in ``text`` at which each page begins, of files that have pages. ``title`` is the
    document's own, or ``""``. ``notes`` says what was guessed, such as an encoding.
    """

    text: str
    kind: Kind
    pages: tuple[int, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()


def extract(source: Path | bytes, *, filename: str, media_type: str | None = None) -> Extracted:
    """The text of a file; takes time, so call it in a thread.

    Raises:
        ExtractionError: it has none that can be read; ``reason`` and message say why.
    """
    raise NotImplementedError
