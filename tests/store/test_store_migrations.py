"""The schema is the sum of its steps, whenever they were applied."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import SchemaOutOfDate
from antiphon.store.migrations import MIGRATIONS, migrate


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def schema(connection: sqlite3.Connection) -> str:
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
    return "".join(re.sub(r"\n {8}", r"\n", sql) + ";\n" for (sql,) in rows)


def add_titles(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE runs ADD COLUMN title TEXT")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE runs ADD COLUMN half_done TEXT")
    raise sqlite3.OperationalError("the step failed")


def test_the_schema_is_the_one_written_beside_this_test(connection: sqlite3.Connection) -> None:
    migrate(connection, 0)
    assert schema(connection) == (Path(__file__).parent / "schema.sql").read_text()


def test_an_old_database_becomes_what_a_new_one_is(connection: sqlite3.Connection) -> None:
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    migrate(fresh, 0, [*MIGRATIONS, add_titles])
    for steps in range(len(MIGRATIONS) + 1):
        migrate(connection, 0, MIGRATIONS[:steps])
    migrate(connection, 0, [*MIGRATIONS, add_titles])
    assert schema(connection) == schema(fresh)
    fresh.close()


def test_items_of_before_there_were_conversations_are_kept_and_get_ids(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, MIGRATIONS[:3])
    connection.execute("INSERT INTO runs (owner, run, status, created_at_s) VALUES ('ada', 'resp_7f', 'completed', 0)")
    insert = "INSERT INTO items VALUES ('ada', 'resp_7f', ?, ?, ?, 'message', ?)"
    connection.execute(insert, ("input", 10, None, '{"type":"message","x":[1.5]}'))
    connection.execute(insert, ("output", 0, "msg_7f0000", '{"id":"msg_7f0000"}'))
    migrate(connection, 0)
    assert connection.execute("SELECT direction, position, item_id, data FROM items ORDER BY number").fetchall() == [
        ("input", 10, "item_7fi000a", '{"type":"message","x":[1.5],"id":"item_7fi000a"}'),
        ("output", 0, "msg_7f0000", '{"id":"msg_7f0000"}'),
    ]


def test_a_step_is_applied_once(connection: sqlite3.Connection) -> None:
    migrate(connection, 100)
    migrate(connection, 200)
    assert connection.execute("SELECT DISTINCT applied_at_s FROM migrations").fetchall() == [(100,)]


def test_a_step_that_fails_leaves_the_database_as_it_was(connection: sqlite3.Connection) -> None:
    migrate(connection, 0)
    before = schema(connection)
    with pytest.raises(sqlite3.OperationalError, match="the step failed"):
        migrate(connection, 0, [*MIGRATIONS, add_titles, fail])
    assert schema(connection) == before
    migrate(connection, 0, [*MIGRATIONS, add_titles])


def test_a_database_with_an_unknown_step_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, 0, [*MIGRATIONS, add_titles])
    with pytest.raises(SchemaOutOfDate, match="add_titles"):
        migrate(connection, 0)


def test_every_table_has_an_owner(connection: sqlite3.Connection) -> None:
    migrate(connection, 0)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    owned = {
        table
        for table in tables
        if "owner" in {column for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")}
    }
    assert tables - owned == {"migrations", "sqlite_sequence"}  # the last is SQLite's own
