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


def create_files(connection: sqlite3.Connection) -> None:
    """Files and the parts of uploads say in which blob their bytes lie."""
    connection.execute(
        """CREATE TABLE files (
            number INTEGER PRIMARY KEY,  -- order of arrival
            owner TEXT NOT NULL,
            file TEXT NOT NULL,
            filename TEXT NOT NULL,
            media_type TEXT NOT NULL,
            purpose TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            blob TEXT NOT NULL,
            created_at_s INTEGER NOT NULL,
            expires_at_s INTEGER,
            UNIQUE (owner, file)
        )"""
    )
    connection.execute("CREATE INDEX files_by_expiry ON files (expires_at_s) WHERE expires_at_s IS NOT NULL")
    connection.execute(
        """CREATE TABLE uploads (
            number INTEGER PRIMARY KEY,
            owner TEXT NOT NULL,
            upload TEXT NOT NULL,
            request TEXT NOT NULL,  -- as JSON
            status TEXT NOT NULL,  -- pending, completed or cancelled; expired goes by the time
            created_at_s INTEGER NOT NULL,
            expires_at_s INTEGER NOT NULL,
            file TEXT,  -- as it was when it was completed, as JSON: the file itself may be deleted
            UNIQUE (owner, upload)
        )"""
    )
    connection.execute(
        """CREATE TABLE upload_parts (
            owner TEXT NOT NULL,
            upload TEXT NOT NULL,
            part TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            blob TEXT NOT NULL,
            created_at_s INTEGER NOT NULL,
            PRIMARY KEY (owner, upload, part),
            FOREIGN KEY (owner, upload) REFERENCES uploads (owner, upload) ON DELETE CASCADE
        )"""
    )


def create_vector_stores(connection: sqlite3.Connection) -> None:
    """Which files are in which store, and how far each is; ``index_changes`` is what indexes have to follow."""
    connection.execute(
        """CREATE TABLE vector_stores (
            number INTEGER PRIMARY KEY,  -- order of arrival
            owner TEXT NOT NULL,
            vector_store TEXT NOT NULL,
            name TEXT NOT NULL,
            description TEXT,
            metadata TEXT NOT NULL,  -- as JSON
            created_at_s INTEGER NOT NULL,
            last_active_at_s INTEGER NOT NULL,
            expires_days INTEGER,
            expired_at_s INTEGER,  -- when it was emptied
            UNIQUE (owner, vector_store)
        )"""
    )
    connection.execute(
        """CREATE TABLE file_batches (
            owner TEXT NOT NULL,
            batch TEXT NOT NULL,
            vector_store TEXT NOT NULL,
            created_at_s INTEGER NOT NULL,
            cancelled_at_s INTEGER,
            PRIMARY KEY (owner, batch),
            FOREIGN KEY (owner, vector_store) REFERENCES vector_stores (owner, vector_store) ON DELETE CASCADE
        )"""
    )
    connection.execute("CREATE INDEX file_batches_by_store ON file_batches (owner, vector_store)")
    # AUTOINCREMENT: who works at a file knows it by its number, which must not be given to another.
    connection.execute(
        """CREATE TABLE vector_store_files (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            owner TEXT NOT NULL,
            vector_store TEXT NOT NULL,
            file TEXT NOT NULL,
            batch TEXT,
            status TEXT NOT NULL,  -- in_progress, completed, failed or cancelled
            is_claimed INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            error TEXT,  -- as JSON
            chunking TEXT NOT NULL,  -- as JSON
            attributes TEXT NOT NULL,  -- as JSON
            usage_bytes INTEGER NOT NULL DEFAULT 0,
            created_at_s INTEGER NOT NULL,
            UNIQUE (owner, vector_store, file),
            FOREIGN KEY (owner, vector_store) REFERENCES vector_stores (owner, vector_store) ON DELETE CASCADE,
            FOREIGN KEY (owner, file) REFERENCES files (owner, file) ON DELETE CASCADE
        )"""
    )
    connection.execute("CREATE INDEX vector_store_files_by_file ON vector_store_files (owner, file)")
    connection.execute("CREATE INDEX vector_store_files_by_batch ON vector_store_files (owner, batch)")
    connection.execute(
        """CREATE INDEX vector_store_files_to_do ON vector_store_files (is_claimed, owner, number)
        WHERE status = 'in_progress'"""
    )
    connection.execute(
        """CREATE TABLE index_changes (
            number INTEGER PRIMARY KEY,
            owner TEXT NOT NULL,
            vector_store TEXT NOT NULL,
            file TEXT NOT NULL
        )"""
    )


def add_forks(connection: sqlite3.Connection) -> None:
    """A run may begin as another did; in a conversation that one stands, not its forks."""
    connection.execute("ALTER TABLE runs ADD COLUMN forked_from TEXT")


MIGRATIONS: tuple[Migration, ...] = (
    *(create_runs, create_items, create_segments, create_conversations, add_api_to_runs),
    *(create_files, create_vector_stores, add_forks),
)


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
        applied = _applied(connection, migrations)
        for migration in migrations:
            if migration.__name__ not in applied:
                migration(connection)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (migration.__name__, int(now_s)))


def require_current(connection: sqlite3.Connection) -> None:
    """Refuse a database that has not seen exactly the steps that are known here.

    Raises:
        SchemaOutOfDate: it has seen more, or fewer.
    """
    missing = [each.__name__ for each in MIGRATIONS if each.__name__ not in _applied(connection, MIGRATIONS)]
    if missing:
        raise SchemaOutOfDate(
            f"The database has an older schema (without step {missing[0]!r}). Start this version's server on it once."
        )


def _applied(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> set[str]:
    applied = {name for (name,) in connection.execute("SELECT name FROM migrations")}
    if newer := applied - {migration.__name__ for migration in migrations}:
        raise SchemaOutOfDate(
            f"The database has a newer schema (step {sorted(newer)[0]!r}) than this version of Antiphon knows."
            " Update Antiphon, or choose another data directory."
        )
    return applied
