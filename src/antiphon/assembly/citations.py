"""Citations in all their forms, as annotations in the Responses shape (Q59, Q60)."""

from __future__ import annotations

from typing import Any


def flatten(seen: dict[str, Any]) -> dict[str, Any]:
    """Chat's ``{"type": "url_citation", "url_citation": {...}}`` without the level between.

    One that does not say its type is a ``url_citation``, and gets the fields this shape requires: offsets that are not
    known are 0.
    """
    kind = seen.get("type")
    if not isinstance(kind, str):
        kind = "url_citation"
    inner = seen.get(kind)
    annotation = {**(inner if isinstance(inner, dict) else seen), "type": kind}
    if kind == "url_citation":
        for field in ("start_index", "end_index"):
            if type(annotation.get(field)) is not int:
                annotation[field] = 0
        annotation["title"] = annotation.get("title") or ""
    return annotation


def from_sources(citations: object, search_results: object) -> list[dict[str, Any]]:
    """Annotations of top-level ``citations`` (URLs) and ``search_results``, without offsets, each URL once."""
    titles: dict[str, str] = {}
    for source in [*_list(search_results), *_list(citations)]:
        url = source.get("url") if isinstance(source, dict) else source
        title = source.get("title") if isinstance(source, dict) else None
        if isinstance(url, str) and url and not titles.get(url):
            titles[url] = title if isinstance(title, str) else ""
    return [flatten({"type": "url_citation", "url": url, "title": title}) for url, title in titles.items()]


def _list(seen: object) -> list[Any]:
    return seen if isinstance(seen, list) else []
