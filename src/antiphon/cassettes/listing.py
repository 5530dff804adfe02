"""A recording as a list: an interaction a line, in columns that fit 80 characters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from antiphon.cassettes.format import Interaction
from antiphon.cassettes.picture import clean
from antiphon.cassettes.reading import read
from antiphon.cassettes.view import describe, model_of

# Heading, columns; numbers stand to the right.
_COLUMNS = (
    ("#", -4),
    ("method", 6),
    ("endpoint", 20),
    ("st.", -3),
    ("model", 18),
    ("~", 1),
    ("tokens", -9),
    ("s", -6),
    ("known", 5),
)
_KNOWN = {"wire": "wire", "body": "body", "parsed": "parts"}


def listing(path: str | Path) -> Iterator[Text]:
    """A heading, then a line for each interaction; ``~`` marks a stream, tokens are input and output.

    Raises:
        CassetteError: the recording cannot be read; what was read before is given first.
    """
    for index, interaction in enumerate(read(path)):
        if index == 0:
            yield _line([name for name, _ in _COLUMNS], "bold dim")
        yield _line(_cells(index, interaction), _style(interaction))


def _cells(index: int, interaction: Interaction) -> list[str]:
    said = describe(interaction)
    duration_ms = interaction.duration_ms
    method = interaction.request.method if interaction.request else interaction.kind
    return [
        str(index),
        "ws" if interaction.kind == "websocket" else method,
        said["endpoint"],
        "" if said["status"] is None else str(said["status"]),
        model_of(interaction),
        "~" if said["stream"] or interaction.websocket else "",
        _tokens(said["usage"]),
        "" if duration_ms is None else f"{duration_ms / 1000:.2f}",
        "cut" if interaction.response and interaction.response.error else _KNOWN[interaction.fidelity],
    ]


# Input and output, in the words of each wire.
_COUNTS = (
    ("prompt_tokens", "input_tokens", "promptTokenCount"),
    ("completion_tokens", "output_tokens", "candidatesTokenCount"),
)


def _tokens(usage: Any) -> str:
    if not isinstance(usage, dict):
        return ""
    counts = [next((usage[name] for name in names if name in usage), None) for names in _COUNTS]
    return "+".join(str(each) for each in counts if isinstance(each, int))


def _style(interaction: Interaction) -> str:
    response = interaction.response
    failed = response is not None and (response.error is not None or (response.status or 0) >= 400)
    return "red" if failed else ""


def _line(cells: list[str], style: str) -> Text:
    shown = [_cell(clean(cell), width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True)]
    return Text(" ".join(shown).rstrip(), style=style, no_wrap=True)


def _cell(text: str, width: int) -> str:
    """The text in that many columns: to the right where the width is negative, with … where it is cut."""
    columns = abs(width)
    if cell_len(text) > columns:
        text = set_cell_size(text, columns - 1) + "…"
    return " " * (columns - cell_len(text)) + text if width < 0 else set_cell_size(text, columns)
