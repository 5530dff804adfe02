"""Shows that every row counts: disables each row of the decision tables in turn and looks for a test that notices.

Nothing is edited. Each row is tried in a process of its own, forked from this one after the tests were collected:
there the row is taken out of its table, and the tests that are named for it are run. Where none of them fails, all
tests of its rooms are run. A row that no test notices proves nothing, and the exit code is 1.

Usage: scripts/prove-rows [PART OF A ROW'S NAME]...   for example `scripts/prove-rows tool_calls.ROWS dialects`
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from antiphon.config import dialects as dialect_files
from antiphon.dialects import OPENAI, ChatRules, Dialect

ROOT = Path(__file__).parents[2]
# Properties draw and corpora read what comes along: that they notice a row would prove little, and takes long.
LEFT_OUT = ("properties", "corpus", "fuzz", "hostile", "sdk", "schemas")


class Row(NamedTuple):
    """One row: ``disable`` takes it out of the process; tests whose names hold one of ``named`` are named for it."""

    name: str
    disable: Callable[[], None]
    named: tuple[str, ...]
    rooms: tuple[str, ...]


# --- tables -------------------------------------------------------------------------------------


class Table(NamedTuple):
    """A table in a module: a sequence, a mapping or a set; ``quirks`` is for rows that name none."""

    module: str
    attribute: str
    quirks: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ("assembly",)


TABLES = [
    Table("assembly.tool_calls", "ROWS"),
    Table("assembly.arguments", "RULES"),
    Table("assembly.finish", "FINISH_REASONS", ("Q45", "Q37", "Q29")),
    Table("assembly.finish", "CUT", ("Q25", "Q45")),
    Table("assembly.errors", "PHRASES", ("Q90", "Q91")),
    Table("assembly.errors", "CODES", ("Q89", "Q90", "Q91")),
    Table("assembly.errors", "STATUSES", ("Q89",)),
    Table("assembly.errors", "SHAPES", ("Q83", "Q89")),
    Table("assembly.retry", "HEADERS", ("Q90",)),
    Table("assembly.markup", "MARKUPS", ("Q27",)),
    Table("assembly.chat", "_LATCHED_KEYS", ("Q51", "Q56", "Q57")),
    Table("assembly.chat", "_READ_KEYS", ("Q57", "Q99")),
    Table("providers.learning", "LESSONS", rooms=("providers",)),
    Table("providers.learning", "_DISPENSABLE", ("Q106",), rooms=("providers",)),
    Table("dialects.requests", "COMMON_PARAMETERS", ("Q106", "Q112"), rooms=("translation",)),
]


def rows_of(table: Table) -> Iterator[Row]:
    """A row for each entry of a table."""
    module = importlib.import_module(f"antiphon.{table.module}")
    whole = getattr(module, table.attribute)
    for number, entry in enumerate(sorted(whole) if isinstance(whole, frozenset) else whole):
        label = getattr(entry, "meaning", None) or _label(entry)
        quirk = getattr(entry, "quirk", None)
        yield Row(
            name=f"{table.module}.{table.attribute}: {f'{quirk} ' if quirk else ''}{label}",
            disable=_setter(module, table.attribute, _without(whole, number, entry)),
            named=_words(table.quirks or (str(quirk),)),
            rooms=table.rooms,
        )


def _without(whole: Any, number: int, entry: Any) -> Any:
    if isinstance(whole, dict):
        return {key: value for key, value in whole.items() if key != entry}
    if isinstance(whole, frozenset):
        return whole - {entry}
    return whole[:number] + whole[number + 1 :]


def _setter(module: Any, attribute: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(module, attribute, value)


def _label(entry: Any) -> str:
    if isinstance(entry, tuple) and isinstance(entry[0], re.Pattern):
        return str(entry[0].pattern)
    return str(getattr(entry, "__name__", entry))


def _words(quirks: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{quirk.lower()}_" for quirk in quirks)


# --- rows that are no entries of one table ------------------------------------------------------


def rows_of_usage() -> Iterator[Row]:
    """A row for each place where upstreams put a count."""
    from antiphon.assembly import usage

    for field, places in usage.PLACES.items():
        for place in places:
            left = {**usage.PLACES, field: tuple(other for other in places if other != place)}
            name = f"assembly.usage.PLACES: {field} from {'.'.join(place)}"
            yield Row(name, _setter(usage, "PLACES", left), _words(("Q75", "Q78", "Q79", "Q81")), ("assembly",))


def rows_of_dialects() -> Iterator[Row]:
    """A row for each field of each shipped entry; the test that bears the entry's name is the one that counts."""
    test = "test_a_shipped_entry_changes_what_it_says_where_it_says"
    for entry in dialect_files.shipped():
        for part in ("answers", "requests"):
            for field in getattr(entry, part):
                left = {name: value for name, value in getattr(entry, part).items() if name != field}
                changed = replace(entry, **{part: left})
                yield Row(
                    name=f"dialects: {entry.id} {part}.{field}",
                    disable=_entry_setter(changed),
                    named=(f"{test}[{entry.id}]",),
                    rooms=("dialects", "config", "providers"),
                )


def _entry_setter(changed: Any) -> Callable[[], None]:
    def disable() -> None:
        read = dialect_files.read_entries
        dialect_files.read_entries = lambda path: [changed if entry.id == changed.id else entry for entry in read(path)]
        dialect_files.shipped.cache_clear()
        sys.modules["test_dialects_shipped"].BY_ID[changed.id] = changed

    return disable


def rows_of_requests() -> Iterator[Row]:
    """A row for each rule of requests: nobody can depart from its default any more."""
    quirks = re.findall(r"^    (\w+): .*#(.*)$", Path(_source(ChatRules)).read_text(encoding="utf-8"), re.MULTILINE)
    for field, comment in quirks:
        named = _words(re.findall(r"Q\d+", comment))
        yield Row(f"dialects.ChatRules: {field}", _rule_setter(field), named, ("translation",))


def _source(thing: type) -> str:
    return str(sys.modules[thing.__module__].__file__)


def _rule_setter(field: str) -> Callable[[], None]:
    default = getattr(OPENAI.requests, field)

    def disable() -> None:
        for name in ("antiphon.translation.chat", "antiphon.translation.chat_requests"):
            module: Any = importlib.import_module(name)
            for attribute in ("to_chat", "chat_to_chat"):
                if hasattr(module, attribute):
                    _replace_everywhere(getattr(module, attribute), _with_default(getattr(module, attribute)))

    def _with_default(translate: Callable[..., Any]) -> Callable[..., Any]:
        def translated(*arguments: Any, dialect: Dialect, **options: Any) -> Any:
            plain = replace(dialect, requests=replace(dialect.requests, **{field: default}))
            return translate(*arguments, dialect=plain, **options)

        return translated

    return disable


def _replace_everywhere(old: Any, new: Any) -> None:
    """Put ``new`` in the place of ``old`` under every name that a module of ours or a test has for it."""
    ours = [module for name, module in sys.modules.items() if name.startswith(("antiphon", "test_"))]
    for module in ours:
        for name in [name for name, value in vars(module).items() if value is old]:
            setattr(module, name, new)


def all_rows() -> Iterator[Row]:
    """Every row there is."""
    for table in TABLES:
        yield from rows_of(table)
    yield from rows_of_usage()
    yield from rows_of_requests()
    yield from rows_of_dialects()


# --- running ------------------------------------------------------------------------------------


def tests_of(rooms: tuple[str, ...]) -> list[str]:
    """The test files of some rooms, without those that are left out."""
    files = sorted(file for room in rooms for file in (ROOT / "tests" / room).glob("test_*.py"))
    return [str(file) for file in files if not any(word in file.name for word in LEFT_OUT)]


class Trial:
    """A plugin that runs the collected tests once for each row, and not for themselves."""

    def __init__(self, rows: list[Row], found: dict[str, list[str]]) -> None:
        self._rows = rows
        self._found = found

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try all rows; every test must pass while all of them are in their place."""
        if session.testsfailed or _fails(session, session.items, lambda: None):
            raise pytest.UsageError
        for row in self._rows:
            named = [item for item in session.items if any(word in item.name for word in row.named)]
            if _fails(session, named, row.disable):
                kind = "named"
            else:
                kind = "room" if _fails(session, session.items, row.disable) else "nobody"
            self._found[kind].append(row.name)
        return True


def _fails(session: pytest.Session, items: list[pytest.Item], disable: Callable[[], None]) -> bool:
    """Whether one of the tests fails, in a process of its own, after something was disabled there."""
    child = os.fork()
    if child == 0:
        code = 1  # whatever goes wrong on the way is seen, too
        with contextlib.suppress(BaseException):
            reporter: Any = session.config.pluginmanager.unregister(name="terminalreporter")
            assert reporter is not None  # or each dot of each trial would be printed
            disable()
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    break
            code = 1 if session.testsfailed else 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def main() -> int:
    """Try every row, or those whose name holds one of the arguments."""
    parser = argparse.ArgumentParser(prog="scripts/prove-rows", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="*", help="only rows whose names hold this")
    options = parser.parse_args()
    os.chdir(ROOT)
    rows = [row for row in all_rows() if not options.part or any(part in row.name for part in options.part)]
    began = time.monotonic()
    found: dict[str, list[str]] = {"named": [], "room": [], "nobody": []}
    for rooms in sorted({row.rooms for row in rows}):
        trial = Trial([row for row in rows if row.rooms == rooms], found)
        # The distribution has a pytest plugin, so pytest would rewrite its modules; the rows have imported them before.
        quiet = ("-q", "--no-header", "--timeout=20", "-p", "no:cacheprovider", "--show-capture=no")
        quiet += ("-W", "ignore::pytest.PytestAssertRewriteWarning")
        if pytest.main([*quiet, *tests_of(rooms)], plugins=[trial]):
            print(f"the tests of {', '.join(rooms)} fail with every row in its place: nothing can be shown")
            return 2
    for kind, meaning in (("room", "noticed, but by no test that is named for it"), ("nobody", "NOTICED BY NO TEST")):
        for name in found[kind]:
            print(f"{meaning}: {name}")
    counts = f"{len(found['named'])} noticed by a test named for them, {len(found['room'])} by another"
    print(f"{len(rows)} rows: {counts}, {len(found['nobody'])} by none ({time.monotonic() - began:.0f} s)")
    return 1 if found["nobody"] else 0


if __name__ == "__main__":
    sys.exit(main())
