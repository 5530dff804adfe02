"""A data directory, looked at: the runs in it, of every owner, also while a server is using it. Nothing is written.

For whoever has the files already: an operator, or a tool on their machine. What a server answers to its clients goes
through `antiphon.store.base.Store`, which shows each owner their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from antiphon.errors import NotFound, SchemaOutOfDate, StoreError
from antiphon.events import Api, RunEvent, RunStarted, TextDelta
from antiphon.store import queries, segments
from antiphon.store.database import BUSY_TIMEOUT_MS, driver_errors
from antiphon.store.items import for_the_model
from antiphon.store.migrations import MIGRATIONS
from antiphon.wire.responses import Item

# Runs newest first, that are not deleted; what is null does not count. ``has_text`` is about items, which chat
# completions do not have.
_RUNS = """
SELECT owner, run, api, model, status, created_at_s, finished_at_s, parent, conversation, EXISTS (
    SELECT 1 FROM items
    WHERE items.owner = runs.owner AND items.run = runs.run AND items.data LIKE :text ESCAPE '\\'
) AS has_text
FROM runs
WHERE deleted_at_s IS NULL
    AND (:owner IS NULL OR owner = :owner)
    AND (:run IS NULL OR run = :run)
    AND (:model IS NULL OR model GLOB :model)
    AND (:status IS NULL OR status = :status)
    AND (:since_s IS NULL OR created_at_s >= :since_s)
ORDER BY number DESC
"""

_INPUT = """
SELECT data FROM items WHERE owner = :owner AND run = :run AND direction = 'input' ORDER BY position
"""


class ArchivedRun(NamedTuple):
    """A run as the archive lists it. ``model`` is what was asked for; older versions did not write it here."""

    owner: str
    run: str
    api: Api
    model: str | None
    status: str
    created_at_s: int
    finished_at_s: int | None
    parent: str | None
    conversation: str | None


class Archive:
    """The runs of a data directory; of one owner, if that is given."""

    def __init__(self, data_dir: Path, *, owner: str | None = None) -> None:
        self._path = data_dir / "antiphon.db"
        self._owner = owner

    def search(
        self,
        text: str | None = None,
        *,
        model: str | None = None,
        status: str | None = None,
        since_s: int | None = None,
        limit: int = 20,
    ) -> list[ArchivedRun]:
        """The newest runs that were asked or answered ``text``, whichever case it is in.

        ``model`` is a name, or a pattern such as ``gpt-*``.

        Raises:
            StoreError: there is no database, or it cannot be read.
        """
        found: list[ArchivedRun] = []
        with self._open() as db:
            asked = {"owner": self._owner, "run": None, "model": model, "status": status, "since_s": since_s}
            for *row, has_text in db.execute(_RUNS, {**asked, "text": None if text is None else _like(text)}):
                run = ArchivedRun(*row)
                if text is None or has_text or (run.api == "chat" and _says(db, run, text)):
                    found.append(run)
                if len(found) == limit:
                    break
        return found

    def find(self, run: str) -> ArchivedRun:
        """The run of an id.

        Raises:
            NotFound: there is none, or it was deleted.
            StoreError: as `search`.
        """
        asked = {"owner": self._owner, "run": run, "model": None, "status": None, "since_s": None, "text": None}
        with self._open() as db:
            row = db.execute(_RUNS, asked).fetchone()
        if row is None:
            raise NotFound("run", run)
        return ArchivedRun(*row[:-1])

    def events(self, run: ArchivedRun) -> list[RunEvent]:
        """Its journal, as far as it is written.

        Raises:
            StoreError: as `search`; or the journal is damaged.
        """
        with self._open() as db:
            return [event for blob in _blobs(db, run) for event in segments.unpack(blob, run=run.run)]

    def input_items(self, run: ArchivedRun) -> list[Item]:
        """What it was asked, without what came before it.

        Raises:
            StoreError: as `search`.
        """
        with self._open() as db:
            rows = db.execute(_INPUT, {"owner": run.owner, "run": run.run}).fetchall()
        return [msgspec.json.decode(data, type=Item) for (data,) in rows]

    def asked_items(self, run: ArchivedRun) -> list[Item]:
        """All that its model saw first: what came before it, and its own input.

        Raises:
            StoreError: as `search`.
        """
        with self._open() as db:
            rows = db.execute(queries.HISTORY, {"owner": run.owner, "run": run.run}).fetchall()
        # At distance 0 and place 2 stands the run's own output.
        return for_the_model(row for row in rows if (row[4], row[5]) != (0, 2))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            raise StoreError(f"There is no database {self._path}. Name the data directory of a server (--data-dir).")
        with driver_errors(str(self._path)):
            connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True)
            with closing(connection):
                connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
                self._check_schema(connection)
                yield connection

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        applied = {name for (name,) in connection.execute("SELECT name FROM migrations")}
        known = {migration.__name__ for migration in MIGRATIONS}
        if applied - known:
            raise SchemaOutOfDate(f"A newer version of Antiphon wrote {self._path}. Update Antiphon to read it.")
        if known - applied:
            raise StoreError(f"An older version of Antiphon wrote {self._path}. Start its server once with this one.")


def _like(text: str) -> str:
    """The pattern that finds the text in JSON: as it is written there, between anything."""
    written = msgspec.json.encode(text).decode()[1:-1]
    for special in ("\\", "%", "_"):
        written = written.replace(special, f"\\{special}")
    return f"%{written}%"


def _says(db: sqlite3.Connection, run: ArchivedRun, wanted: str) -> bool:
    """Whether a chat completion was asked or answered the text; what was streamed is in pieces in its journal."""
    events = [event for blob in _blobs(db, run) for event in segments.unpack(blob, run=run.run)]
    asked = [text for event in events if isinstance(event, RunStarted) for text in _texts(event.request)]
    return any(wanted.casefold() in each.casefold() for each in [*asked, answered_text(events)])


def answered_text(events: Iterable[RunEvent]) -> str:
    """All that a model said in a run, put together."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(each)


def _blobs(db: sqlite3.Connection, run: ArchivedRun) -> list[Any]:
    return [blob for _, blob in db.execute(queries.SEGMENTS, {"owner": run.owner, "run": run.run})]
