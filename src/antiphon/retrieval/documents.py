"""What a file says, as every format gives it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from antiphon.errors import ExtractionError

Kind = Literal["text", "markdown", "code", "html", "pdf", "docx", "csv", "json"]

# OpenAI's limit for a file.
MAX_FILE_BYTES = 512 * 1024 * 1024
# What a file may become. A larger text is an error: half a file that looks whole would be worse.
MAX_TEXT_CHARS = 50_000_000

# Characters that say nothing and that not every database or client takes: controls, surrogates, noncharacters.
_NOISE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says. Of ``html``, the text is Markdown.

    ``pages`` holds the offset in ``text`` at which each page begins, of files that have pages. ``title`` is the
    document's own, or ``""``; ``language`` the file extension's name for it, of code. ``notes`` says what was
    guessed or left out, such as an encoding.
    """

    text: str
    kind: Kind
    pages: tuple[int, ...] = ()
    title: str = ""
    language: str = ""
    notes: tuple[str, ...] = ()


def clean(text: str) -> str:
    """Text with LF line ends and without characters that say nothing."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _NOISE.sub("", text)


class TextBuilder:
    """Text that grows piece by piece, up to the limit."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.length = 0

    def add(self, piece: str) -> None:
        """Add a piece.

        Raises:
            ExtractionError: the text has outgrown the limit.
        """
        self._pieces.append(piece)
        self.length += len(piece)
        check_length(self.length)

    def text(self) -> str:
        """All pieces together."""
        return "".join(self._pieces)


def check_length(chars: int) -> None:
    """Hold a text to the limit.

    Raises:
        ExtractionError: it is longer.
    """
    if chars > MAX_TEXT_CHARS:
        message = f"The file holds more than {MAX_TEXT_CHARS:,} characters of text. Divide it into several files."
        raise ExtractionError("file_too_large", message)
