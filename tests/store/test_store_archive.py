"""A data directory, looked at without a store: what is refused, and that nothing is written."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from store_contract import begin, complete, message

from antiphon.clock import FakeClock
from antiphon.errors import NotFound, SchemaOutOfDate, StoreError
from antiphon.events import RunStarted
from antiphon.store.archive import Archive
from antiphon.store.sqlite import SqliteStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    async def fill() -> None:
        store = SqliteStore.open(tmp_path, clock=FakeClock())
        await complete(store, "r1")
        await complete(store, "r2", parent="r1")
        await complete(store, "gone")
        await store.delete("ada", "gone")
        await begin(store, "going", parent="r2")
        await store.close()

    asyncio.run(fill())
    return tmp_path


def changed(directory: Path, sql: str) -> Archive:
    with sqlite3.connect(directory / "antiphon.db") as connection:
        connection.execute(sql)
    connection.close()
    return Archive(directory)


def test_a_deleted_run_is_not_found_and_one_that_is_going_is(directory: Path) -> None:
    archive = Archive(directory)
    assert [run.run for run in archive.search()] == ["going", "r2", "r1"]
    with pytest.raises(NotFound):
        archive.find("gone")
    assert [type(event) for event in archive.events(archive.find("going"))] == [RunStarted]


def test_what_a_model_saw_first_is_all_that_came_before_and_no_output_of_the_run(directory: Path) -> None:
    archive = Archive(directory)
    assert archive.asked_items(archive.find("r2")) == [message(f"r1 {did}") for did in ("asks", "answers")] + [
        message("r2 asks")
    ]
    assert archive.input_items(archive.find("r2")) == [message("r2 asks")]


@pytest.mark.parametrize(("text", "found"), [("R2 ASKS", ["r2"]), ("r_", []), ("%", []), ('asks"', []), ("r\\", [])])
def test_a_text_is_looked_for_as_it_is_written(directory: Path, text: str, found: list[str]) -> None:
    assert [run.run for run in Archive(directory).search(text)] == found


def test_looking_changes_no_file(directory: Path) -> None:
    before = (directory / "antiphon.db").read_bytes()
    Archive(directory).search("asks")
    assert (directory / "antiphon.db").read_bytes() == before


def test_a_database_of_a_newer_version_is_refused(directory: Path) -> None:
    archive = changed(directory, "INSERT INTO migrations VALUES ('add_dreams', 1)")
    with pytest.raises(SchemaOutOfDate, match="A newer version"):
        archive.search()


def test_a_database_of_an_older_version_is_refused_with_what_to_do(directory: Path) -> None:
    archive = changed(directory, "DELETE FROM migrations WHERE name = 'add_api_to_runs'")
    with pytest.raises(StoreError, match="Start its server once"):
        archive.search()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "antiphon.db").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="is not a SQLite database"):
        Archive(tmp_path).search()
