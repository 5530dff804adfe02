"""Dialects for people and programs: what is known about upstreams and models, why, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from antiphon.dialects import Entry, choose, matching

_LABEL_COLUMNS = 7


def listing(entries: Sequence[Entry]) -> Iterator[RenderableType]:
    """One renderable for each entry, for a terminal of 80 columns."""
    for entry in entries:
        table = _grid()
        table.add_row("where", " and ".join(_places(entry)) or "wherever a setting names it")
        table.add_row("what", "\n".join(f"{field} = {_shown(value)}" for field, value in _fields(entry)) or "nothing")
        table.add_row("why", " ".join((entry.reason, f"({entry.since})" if entry.since else "")).strip() or "not said")
        table.add_row("source", "\n".join((*entry.sources, entry.origin)))
        yield Group(Rule(Text(entry.id, style="bold"), align="left", style="dim"), table, Text())


def explanation(entries: Sequence[Entry], *, base_url: str, model: str) -> Iterator[RenderableType]:
    """What the entries amount to for a model at an upstream: each field that is not the default, and its entry."""
    found = matching(entries, base_url=base_url, model=model)
    decided = {field: (value, entry.id) for entry in found for field, value in _fields(entry)}
    place = f"{model or 'any model'} at {base_url or 'any upstream'}"
    if not decided:
        yield Text(f"Nothing is known to be different about {place}.")
        return
    can = msgspec.structs.asdict(choose(entries, base_url=base_url, model=model).capabilities)
    told = ", ".join(f"{name} {_shown(value)}" for name, value in can.items())
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("by", no_wrap=True, style="dim")
    for field, (value, name) in sorted(decided.items()):
        table.add_row(Text(field), Text(_shown(value)), Text(name))
    yield Text(f"{place}:\n", style="bold")
    yield table
    yield Text(f"\nWhat it can: {told}.")


def entry_object(entry: Entry) -> dict[str, Any]:
    """An entry as a JSON object, its keys those of a dialect file, and ``origin``."""
    built: dict[str, Any] = msgspec.to_builtins(entry, order="deterministic")
    return built


def dialect_object(entries: Sequence[Entry], *, base_url: str, model: str) -> dict[str, Any]:
    """The dialect of a model at an upstream as a JSON object: its two kinds of rules, its entries, what it can."""
    dialect = choose(entries, base_url=base_url, model=model)
    built: dict[str, Any] = msgspec.to_builtins(dialect, order="deterministic")
    built["capabilities"] = msgspec.to_builtins(dialect.capabilities)
    return built


def _fields(entry: Entry) -> Iterator[tuple[str, Any]]:
    yield from ((f"answers.{field}", value) for field, value in entry.answers.items())
    yield from ((f"requests.{field}", value) for field, value in entry.requests.items())


def _places(entry: Entry) -> Iterator[str]:
    if entry.match.host:
        yield f"host {', '.join(entry.match.host)}"
    if entry.match.model:
        yield f"model {', '.join(entry.match.model)}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(value) if isinstance(value, frozenset) else value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=_LABEL_COLUMNS, justify="right", no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    return table
