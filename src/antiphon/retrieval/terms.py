"""What a text is searched by: words as a lexical index should see them. Pure.

The tokenizer of the index takes runs of letters and digits and stems them as English. What that would miss is written
out before: names of code in their parts, and text without spaces between its words as pairs of characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Scripts that are written without spaces between words: kana, CJK ideographs, Thai, Lao, Khmer, Myanmar.
_UNSPACED = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_RUN = re.compile(f"[{_UNSPACED}]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CAMEL = re.compile(r"\b[A-Za-z]+[a-z0-9][A-Z]\w*|\b[A-Z]{2,}[a-z]\w*")


def searchable(text: str) -> str:
    """The text with its names of code also in their parts, and its unspaced runs as pairs of characters."""
    spaced = text if text.isascii() else _RUN.sub(_pairs, text)
    parts = " ".join(_parts(spaced))
    return f"{spaced}\n{parts}" if parts else spaced


def _pairs(run: re.Match[str]) -> str:
    """``ABC`` as `` AB BC ``; a single character stays."""
    text = run.group()
    if len(text) == 1:
        return f" {text} "
    return " " + " ".join(text[n : n + 2] for n in range(len(text) - 1)) + " "


def _parts(text: str) -> Iterator[str]:
    return (_HUMP.sub(" ", name.group()) for name in _CAMEL.finditer(text))
