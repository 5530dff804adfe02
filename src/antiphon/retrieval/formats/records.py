"""JSON and JSON Lines: every value a line that says its path, every record a paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.retrieval.documents import Extracted, TextBuilder, clean
from antiphon.retrieval.formats.plain import decode


def read(data: bytes, *, lines: bool) -> Extracted:
    """The values; ``lines`` says that each line is JSON of its own. What is no JSON stays as it is, with a note.

    Raises:
        ExtractionError: it is not text.
    """
    source, notes = decode(data)
    source = clean(source)
    try:
        records = _records(source, lines=lines)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        return Extracted(text=source, kind="text", notes=(*notes, f"Read as plain text, as it is not JSON: {reason}."))
    out = TextBuilder()
    for record in records:
        for path, value in _values(record):
            out.add(f"{path}: {value}\n" if path else f"{value}\n")
        out.add("\n")
    return Extracted(text=clean(out.text()).rstrip(), kind="json", notes=notes)


def _records(source: str, *, lines: bool) -> list[Any]:
    if lines:
        return [msgspec.json.decode(line) for line in source.split("\n") if line.strip()]
    whole = msgspec.json.decode(source)
    return whole if isinstance(whole, list) else [whole]


def _values(record: Any) -> Iterator[tuple[str, str]]:
    """Paths and values, in order. Not recursive: files nest deep."""
    todo: list[tuple[str, Any]] = [("", record)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{path}.{key}" if path else str(key), each) for key, each in reversed(value.items())]
        elif isinstance(value, list):
            if all(isinstance(each, str | int | float) for each in value):
                if value:
                    yield path, ", ".join(map(_shown, value))
            else:
                todo += [(f"{path}[{n}]", each) for n, each in reversed(list(enumerate(value)))]
        elif value is not None:
            yield path, _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
