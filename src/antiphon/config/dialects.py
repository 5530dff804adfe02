"""Dialect data: the entries that are shipped, and those a user adds or replaces.

A file holds ``version = 1`` and entries under ``[[dialects]]``; antiphon.toml holds such entries too. Later entries
override fields of earlier ones, so the order of the shipped files is that of precedence: what a host does, what a
model does wherever it is served, what applies by name only. See docs/dialects.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import replace

from antiphon.config.files import nearest, read_toml
from antiphon.dialects import AnswerRules, ChatRules, Entry, Match
from antiphon.errors import ConfigError

VERSION = 1
SHIPPED = ("hosts.toml", "models.toml", "named.toml")

_RULES: dict[str, type[msgspec.Struct]] = {"answers": AnswerRules, "requests": ChatRules}
_KEYS = ("id", "match", "answers", "requests", "reason", "sources", "since")


@cache
def shipped() -> tuple[Entry, ...]:
    """The entries that come with the package, in order."""
    data = Path(str(files("antiphon.dialects") / "data"))
    return tuple(replace(entry, origin=f"shipped in {name}") for name in SHIPPED for entry in read_entries(data / name))


def with_users(users: Iterable[Entry]) -> tuple[Entry, ...]:
    """The shipped entries and behind them a user's, which also replace those whose ``id`` they bear."""
    own = {entry.id: entry for entry in users}
    return (*(entry for entry in shipped() if entry.id not in own), *own.values())


def read_entries(path: Path) -> list[Entry]:
    """The entries of a dialect file.

    Raises:
        ConfigError: the file cannot be read or is wrong; the message names file, entry and key.
    """
    table = read_toml(path)
    if table.get("version") != VERSION:
        raise ConfigError(f"{path}: version is {table.get('version')!r}, but must be {VERSION}, a number.")
    for key in table:
        if key not in ("version", "dialects"):
            raise ConfigError(f"{path}: {key} is not a key of a dialect file. {nearest(key, ('version', 'dialects'))}")
    return check_entries(table.get("dialects", []), path)


def check_entries(tables: object, path: Path) -> list[Entry]:
    """Entries from the tables that stand under ``[[dialects]]`` in ``path``.

    Raises:
        ConfigError: one is wrong; the message names file, entry and key.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: dialects must be tables, each under [[dialects]].")
    entries = [_entry(table, path, number) for number, table in enumerate(tables, start=1)]
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ConfigError(f"{path}: dialect {entry.id!r} stands there twice. Give one of them another id.")
        seen.add(entry.id)
    return entries


def _entry(table: dict[str, Any], path: Path, number: int) -> Entry:
    name = table.get("id")
    where = f"{path}: dialect {name!r}" if isinstance(name, str) else f"{path}: dialect number {number}"
    _check_keys(table, _KEYS, f"{where}:")
    if not isinstance(name, str) or not name:
        raise ConfigError(f'{where} has no id. Give it one, such as id = "my-gateway".')
    match = _table(table, "match", where)
    _check_keys(match, ("host", "model"), f"{where}: match.")
    return Entry(
        id=name,
        match=Match(**{key: _patterns(value, f"{where}: match.{key}") for key, value in match.items()}),
        answers=_fields(table, "answers", where),
        requests=_fields(table, "requests", where),
        reason=_checked(table.get("reason", ""), str, f"{where}: reason"),
        sources=_checked(table.get("sources", []), tuple[str, ...], f"{where}: sources"),
        since=_checked(table.get("since"), date | None, f"{where}: since"),
        origin=str(path),
    )


def _fields(table: Mapping[str, Any], part: str, where: str) -> dict[str, Any]:
    """The values of one part, each checked against its field."""
    hints = get_type_hints(_RULES[part])
    values = _table(table, part, where)
    _check_keys(values, _RULES[part].__struct_fields__, f"{where}: {part}.")
    return {key: _checked(value, hints[key], f"{where}: {part}.{key}") for key, value in values.items()}


def _table(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {key} is {value!r}, but must be a table.")
    return value


def _patterns(value: object, where: str) -> tuple[str, ...]:
    """Patterns in lower case; one may stand without a list."""
    patterns = _checked([value] if isinstance(value, str) else value, tuple[str, ...], where)
    return tuple(pattern.lower() for pattern in patterns)


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            place = f"{where}{key}" if where.endswith(".") else f"{where} {key}"
            raise ConfigError(f"{place} is not a key of a dialect. {nearest(key, known)}")


def _checked(value: object, hint: Any, where: str) -> Any:
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {value!r} is not allowed; it must be {allowed(hint)}.") from error


def allowed(hint: Any) -> str:
    """What may stand for a type of a field, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(repr(value) for value in arguments)
    if origin in (tuple, frozenset):
        each = allowed(arguments[0])
        return "a list of text" if each == "text" else f"a list of {each}"
    if origin is UnionType:
        return allowed(arguments[0])
    return {bool: "true or false", int: "a whole number", str: "text", date: "a date"}.get(hint, "a table of text")
