"""HTML as Markdown: what a reader would read, with its headings, lists and tables."""

from __future__ import annotations

import re
from typing import Any

from antiphon.errors import ExtractionError
from antiphon.retrieval.documents import Extracted, TextBuilder, clean
from antiphon.retrieval.formats.plain import decode

# Nothing in them is part of what the page says.
_NOISE = {
    *("script", "style", "noscript", "template", "nav", "footer", "aside", "form", "button", "select"),
    *("svg", "canvas", "iframe", "object", "audio", "video", "dialog", "head", "menu"),
}
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
# Where a new line begins before and after.
_BLOCKS = {
    *_HEADINGS,
    *("address", "article", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt"),
    *("fieldset", "figcaption", "figure", "header", "hgroup", "hr", "html", "legend", "main", "ol", "p"),
    *("pre", "section", "summary", "table", "ul"),
}
# Where an empty line does.
_PARAGRAPHS = {*_HEADINGS, *("p", "pre", "table", "ul", "ol", "dl", "blockquote", "article", "section", "figure")}
# What stands before an element, where that is not what stands after it too.
_FIRST = {"br": "\n", "li": "\n- ", "tr": "\n", "td": " | ", "th": " | "}
# Only names of character sets: Python's codecs have others, which are none.
_META = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?((?:iso-8859|windows|cp|koi8|gb|big5|euc|shift)[\w-]{0,20})", re.IGNORECASE
)
# 5,000 take the parser 0.2 s, 20,000 take it 3 s.
MAX_DEPTH = 5_000
_TAG = re.compile(r"<(/?)([a-zA-Z]\w*)")
# Elements that hold nothing, or that the next of their kind ends: pages leave them open by the thousand.
_ENDS_BY_ITSELF = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    *("p", "li", "td", "th", "tr", "dd", "dt", "option", "thead", "tbody", "tfoot", "body", "html", "head"),
}
_SPACE = re.compile(r"\s+")
_LINES = re.compile(r" *\n *")
_BLANKS = re.compile(r" {2,}")
_GAPS = re.compile(r"\n{3,}")
_FIRST_CELL = re.compile(r"^\| ", re.MULTILINE)
# Stands for a blank that stays, of preformatted text.
_BLANK = "\ue000"
# A page whose <main> is shorter keeps its text elsewhere.
_SHORTEST_MAIN = 200


def read(data: bytes) -> Extracted:
    """What the page says.

    Raises:
        ExtractionError: it has no text.
    """
    from selectolax.lexbor import LexborHTMLParser

    declared = _META.search(data[:4096])
    source, notes = decode(data, declared=declared.group(1).decode() if declared else None)
    _check_depth(source)
    tree = LexborHTMLParser(source)
    title = tree.css_first("head > title")
    text = ""
    for selector in ("main", "body"):
        root = tree.css_first(selector)
        text = _markdown(root) if root is not None else ""
        if len(text) >= _SHORTEST_MAIN:
            break
    if not text:
        raise ExtractionError("no_text", "The page has no text besides scripts, styles and navigation.")
    return Extracted(
        text=text, kind="html", notes=notes, title=_SPACE.sub(" ", clean(title.text())).strip() if title else ""
    )


def _check_depth(source: str) -> None:
    """Refuse what would keep the parser busy for hours: its time grows with the square of the depth."""
    depth = 0
    for tag in _TAG.finditer(source):
        if tag.group(2).lower() not in _ENDS_BY_ITSELF:
            depth = max(0, depth - 1) if tag.group(1) else depth + 1
            if depth > MAX_DEPTH:
                raise ExtractionError("invalid_file", f"The page is nested more than {MAX_DEPTH:,} elements deep.")


def _markdown(root: Any) -> str:
    """The text below a node. Not recursive: pages nest thousands deep."""
    out = TextBuilder()
    todo: list[tuple[Any, bool, bool]] = [(root, False, False)]  # node, whether it is the way back, inside <pre>
    while todo:
        node, is_back, is_pre = todo.pop()
        tag = node.tag
        if tag == "-text":
            text = node.text_content or ""
            out.add(text.expandtabs(4).replace(" ", _BLANK) if is_pre else _SPACE.sub(" ", text))
        elif is_back:
            out.add(_after(tag))
        elif tag not in _NOISE and not tag.startswith(("-", "_")):
            out.add(_before(tag))
            todo.append((node, True, is_pre))
            children = reversed(list(node.iter(include_text=True)))
            todo += [(child, False, is_pre or tag == "pre") for child in children]
    text = _GAPS.sub("\n\n", _LINES.sub("\n", _BLANKS.sub(" ", clean(out.text()))))
    return _FIRST_CELL.sub("", text).replace(_BLANK, " ").strip()


def _before(tag: str) -> str:
    if tag in _HEADINGS:
        return f"\n\n{_HEADINGS[tag]}"
    return _FIRST.get(tag) or _after(tag)


def _after(tag: str) -> str:
    return "\n\n" if tag in _PARAGRAPHS else "\n" if tag in _BLOCKS else ""
