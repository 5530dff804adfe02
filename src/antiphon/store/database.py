"""One SQLite file, its only connection, and the only thread that touches it.

SQLite takes one writer at a time, so a pool would only queue inside SQLite, where waiting is polling. All work, reading
too, goes through one queue: whatever was written before can be read after.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TextIO, TypeVar

from antiphon.clock import Clock
from antiphon.errors import StoreError
from antiphon.store.locking import lock_directory
from antiphon.store.migrations import migrate, require_current

Result = TypeVar("Result")
Synchronous = Literal["normal", "full"]

# Only other programs (a backup, the sqlite3 shell) can hold the file: the lock keeps other servers out.
BUSY_TIMEOUT_MS = 5_000

# SQLite's primary result code -> what happened and what to do; {path} is the database file.
_ERRORS = {
    sqlite3.SQLITE_FULL: "The disk of {path} is full; nothing of this write was kept. Free some space and try again.",
    sqlite3.SQLITE_CORRUPT: "The database {path} is damaged. Restore a copy, or try `sqlite3 {path} .recover`.",
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database. Move it away, or choose another data directory.",
    sqlite3.SQLITE_BUSY: "Another program is writing to {path} and does not let go of it. Close it and try again.",
    sqlite3.SQLITE_READONLY: "The database {path} cannot be written. Give this user the right to write there.",
    sqlite3.SQLITE_CANTOPEN: "The database {path} cannot be opened. Check that this user may read and write there.",
    sqlite3.SQLITE_IOERR: "The disk under {path} failed to read or write. Check it before going on.",
}


class Database:
    """Runs work in transactions on its own thread; made by `open`."""

    def __init__(
        self,
        name: str,
        connection: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        opened: ExitStack,
        *,
        begin: str = "BEGIN IMMEDIATE",
    ) -> None:
        self._name = name
        self._connection = connection
        self._thread = thread
        self._opened = opened
        self._begin = begin

    @classmethod
    def read(cls, data_dir: Path) -> Database:
        """Open ``data_dir/antiphon.db`` to be read only, whoever else has it.

        Raises:
            SchemaOutOfDate, StoreError: see `antiphon.store.sqlite.SqliteStore.read`.
        """
        path = data_dir / "antiphon.db"
        if not path.exists():
            raise StoreError(f"There is no database {path}. Name the server's data directory.")
        with ExitStack() as opened, driver_errors(str(path)):
            thread = opened.enter_context(ThreadPoolExecutor(1, thread_name_prefix="antiphon-store"))
            uri = f"{path.absolute().as_uri()}?mode=ro"
            connection = thread.submit(sqlite3.connect, uri, isolation_level=None, uri=True).result()
            opened.callback(lambda: thread.submit(connection.close).result())
            thread.submit(require_current, connection).result()
            return cls(str(path), connection, thread, opened.pop_all(), begin="BEGIN")

    @classmethod
    def open(cls, data_dir: Path | None, *, clock: Clock, synchronous: Synchronous) -> Database:
        """Open ``data_dir/antiphon.db``, or a database in memory, and bring its schema up to date.

        Raises:
            StoreLocked, SchemaOutOfDate, StoreError: see `antiphon.store.sqlite.SqliteStore.open`.
        """
        name = ":memory:" if data_dir is None else str(data_dir / "antiphon.db")
        with ExitStack() as opened, driver_errors(name):
            if data_dir is not None:
                opened.enter_context(_prepare(data_dir, Path(name)))
            thread = opened.enter_context(ThreadPoolExecutor(1, thread_name_prefix="antiphon-store"))
            connection = thread.submit(sqlite3.connect, name, isolation_level=None).result()
            opened.callback(lambda: thread.submit(connection.close).result())
            thread.submit(_set_up, connection, clock.now_s(), synchronous).result()
            return cls(name, connection, thread, opened.pop_all())

    async def transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What ``work`` returns, once everything it wrote is committed; when it raises, nothing of it is kept.

        Work that was handed over is done, even if its caller is cancelled meanwhile: a run's end must not depend on
        how long the queue was when its client left.

        Raises:
            StoreError: SQLite failed, or the database was closed.
        """
        return await self._submit(lambda: self._transact(work))

    async def forget(self) -> None:
        """Empty the write-ahead log into the file: what was deleted is then in neither of them."""
        await self._submit(lambda: self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def close(self) -> None:
        """Do all work that was handed over before, then let go of the file. Closing twice is harmless."""
        await asyncio.to_thread(self._opened.close)

    def _transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._connection:  # commits, or rolls back
            self._connection.execute(self._begin)
            return work(self._connection)

    async def _submit(self, call: Callable[[], Result]) -> Result:
        try:
            future = self._thread.submit(call)
        except RuntimeError as error:  # the thread was shut down
            raise StoreError("The store is closed.") from error
        with driver_errors(self._name):
            return await asyncio.shield(asyncio.wrap_future(future))


@contextmanager
def driver_errors(name: str) -> Iterator[None]:
    """Raise what the SQLite driver raises as `StoreError`, its cause kept; ``name`` is the file."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary part of an extended code
        message = _ERRORS.get(code, "SQLite refused to work on {path}.").format(path=name)
        raise StoreError(f"{message} (SQLite: {error})") from error


def _set_up(connection: sqlite3.Connection, now_s: float, synchronous: Synchronous) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    migrate(connection, now_s)


def _prepare(data_dir: Path, path: Path) -> TextIO:
    """Make the directory and the file, both for this user alone (they hold what people said), and lock them."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return lock_directory(data_dir)
    except OSError as error:
        raise StoreError(f"The data directory {data_dir} cannot be used: {error}. Choose another one.") from error
