"""How the schema came to be: named steps, each applied once, in order.

A new database goes through the same steps as an old one, so there is no second description of the schema that could
differ. A step that was released is never edited; what it built is changed by a further step. No ``STRICT`` tables and
no ``RETURNING``: some systems still run SQLite 3.34.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from antiphon.errors import SchemaOutOfDate

Migration = Callable[[sqlite3.Connection], None]


def create_runs(connection: sqlite3.Connection) -> None:
    """Runs point to their parent. A run that was deleted stays as a mark while later runs build on its items."""
    connection.execute(
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY,  -- order of arrival
            owner TEXT NOT NULL,
            run TEXT NOT NULL,
            parent TEXT,
            status TEXT NOT NULL,  -- in_progress, or what its run.finished says
            created_at_s INTEGER NOT NULL,
            finished_at_s INTEGER,
            deleted_at_s INTEGER,
            UNIQUE (owner, run),
            FOREIGN KEY (owner, parent) REFERENCES runs (owner, run)
        )"""
    )
    connection.execute("CREATE INDEX runs_by_parent ON runs (owner, parent) WHERE parent IS NOT NULL")
    connection.execute("CREATE INDEX runs_unfinished ON runs (number) WHERE status = 'in_progress'")


def create_items(connection: sqlite3.Connection) -> None:
    """Items belong to one run; ``position`` counts from 0 within its input, and within its output."""
    connection.execute(
        """CREATE TABLE items (
            owner TEXT NOT NULL,
            run TEXT NOT NULL,
            direction TEXT NOT NULL CHECK (direction IN ('input', 'output')),
            position INTEGER NOT NULL,
            item_id TEXT,
            type TEXT,
            data TEXT NOT NULL,  -- the item, as JSON
            PRIMARY KEY (owner, run, direction, position),
            FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE
        )"""
    )


def create_segments(connection: sqlite3.Connection) -> None:
    """A segment holds a run's events ``first_seq`` to ``last_seq``, both included, counted from 0."""
    connection.execute(
        """CREATE TABLE segments (
            owner TEXT NOT NULL,
            run TEXT NOT NULL,
            first_seq INTEGER NOT NULL,
            last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
            blob BLOB NOT NULL,
            PRIMARY KEY (owner, run, first_seq),
            FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE
        )"""
    )


def create_conversations(connection: sqlite3.Connection) -> None:
    """A conversation is a list of references to items: those of its runs, and those that were put into it directly.

    So an item belongs to a run or to a conversation. A run that reads a conversation remembers where it ended then.
    """
    connection.execute(
        """CREATE TABLE conversations (
            owner TEXT NOT NULL,
            conversation TEXT NOT NULL,
            metadata TEXT NOT NULL,  -- as JSON
            created_at_s INTEGER NOT NULL,
            next_position INTEGER NOT NULL DEFAULT 0,  -- a position is never given twice
            PRIMARY KEY (owner, conversation)
        )"""
    )
    connection.execute("ALTER TABLE items RENAME TO items_of_runs")
    connection.execute(
        """CREATE TABLE items (
            number INTEGER PRIMARY KEY,  -- order of arrival
            owner TEXT NOT NULL,
            run TEXT,
            direction TEXT CHECK (direction IN ('input', 'output')),
            position INTEGER,
            conversation TEXT CHECK ((conversation IS NULL) <> (run IS NULL)),
            item_id TEXT,
            type TEXT,
            data TEXT NOT NULL,  -- the item, as JSON
            UNIQUE (owner, run, direction, position),
            FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE,
            FOREIGN KEY (owner, conversation) REFERENCES conversations (owner, conversation) ON DELETE CASCADE
        )"""
    )
    # Input items had no ids of ours before.
    connection.execute(
        """UPDATE items_of_runs SET item_id = 'item_' || replace(run, 'resp_', '') || printf('i%04x', position)
        WHERE item_id IS NULL"""
    )
    connection.execute(
        """INSERT INTO items (owner, run, direction, position, item_id, type, data)
        SELECT owner, run, direction, position, item_id, type, json_set(data, '$.id', item_id)
        FROM items_of_runs ORDER BY rowid"""
    )
    connection.execute("DROP TABLE items_of_runs")
    connection.execute("CREATE INDEX items_by_id ON items (owner, item_id)")
    connection.execute(
        "CREATE INDEX items_by_conversation ON items (owner, conversation) WHERE conversation IS NOT NULL"
    )
    connection.execute(
        """CREATE TABLE conversation_items (
            owner TEXT NOT NULL,
            conversation TEXT NOT NULL,
            position INTEGER NOT NULL,
            item_id TEXT NOT NULL,
            item INTEGER NOT NULL REFERENCES items (number) ON DELETE CASCADE,
            PRIMARY KEY (owner, conversation, position),
            UNIQUE (owner, conversation, item_id),
            FOREIGN KEY (owner, conversation) REFERENCES conversations (owner, conversation) ON DELETE CASCADE
        )"""
    )
    connection.execute("CREATE INDEX conversation_items_by_item ON conversation_items (item)")
    # Not a foreign key: the conversation may be deleted while responses that were made in it stay.
    connection.execute("ALTER TABLE runs ADD COLUMN conversation TEXT")
    connection.execute("ALTER TABLE runs ADD COLUMN conversation_end INTEGER")
    connection.execute("CREATE INDEX runs_by_conversation ON runs (owner, conversation) WHERE conversation IS NOT NULL")


def add_api_to_runs(connection: sqlite3.Connection) -> None:
    """Which API a run was asked for by, and what stored chat completions are listed by."""
    connection.execute("ALTER TABLE runs ADD COLUMN api TEXT NOT NULL DEFAULT 'responses'")
    connection.execute("ALTER TABLE runs ADD COLUMN model TEXT")
    connection.execute("ALTER TABLE runs ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'")  # as JSON
    connection.execute("CREATE INDEX runs_of_chats ON runs (owner, number) WHERE api = 'chat'")


MIGRATIONS: tuple[Migration, ...] = (create_runs, create_items, create_segments, create_conversations, add_api_to_runs)


def migrate(connection: sqlite3.Connection, now_s: float, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the steps that this database has not seen, all of them or none.

    Raises:
        SchemaOutOfDate: the database has seen a step that is not in ``migrations``.
    """
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at_s INTEGER NOT NULL)"
        )
        applied = {name for (name,) in connection.execute("SELECT name FROM migrations")}
        if newer := applied - {migration.__name__ for migration in migrations}:
            raise SchemaOutOfDate(
                f"The database has a newer schema (step {sorted(newer)[0]!r}) than this version of Antiphon knows."
                " Update Antiphon, or choose another data directory."
            )
        for migration in migrations:
            if migration.__name__ not in applied:
                migration(connection)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (migration.__name__, int(now_s)))
