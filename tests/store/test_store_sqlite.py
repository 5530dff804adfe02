"""The SQLite store: the contract, and what only a file can show (kills, locks, full disks, damage)."""

import asyncio
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from conversation_contract import ConversationContract
from file_contract import FileContract
from store_contract import STREAM, StoreContract, begin, complete, finished, message, started, texts
from vector_store_contract import VectorStoreContract

from antiphon.clock import FakeClock
from antiphon.errors import NotFound, SchemaOutOfDate, StoreError, StoreLocked
from antiphon.store import file_queries, queries, vector_store_queries
from antiphon.store.base import UnfinishedRun
from antiphon.store.migrations import migrate
from antiphon.store.sqlite import SqliteStore


@asynccontextmanager
async def opened(data_dir: Path | None) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(data_dir, clock=FakeClock())
    try:
        yield store
    finally:
        await store.close()


def on_disk(data_dir: Path, body: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(data_dir) as store:
            await body(store)

    asyncio.run(run())


class TestSqliteFile(StoreContract, ConversationContract, FileContract, VectorStoreContract):
    def open(self, data_dir: Path) -> AbstractAsyncContextManager[SqliteStore]:
        return opened(data_dir / "new" / "directory")


class TestSqliteInMemory(StoreContract, ConversationContract, FileContract, VectorStoreContract):
    def open(self, data_dir: Path) -> AbstractAsyncContextManager[SqliteStore]:
        return opened(None)


def test_every_query_names_the_owner_but_those_that_keep_the_house() -> None:
    modules = (queries, file_queries, vector_store_queries)
    named = {
        name: sql
        for module in modules
        for name, sql in vars(module).items()
        if name.isupper() and not name.startswith("_")
    }
    of_all = {"UNFINISHED_RUNS", "EXPIRED_FILES", "EXPIRED_UPLOADS", "BLOBS", "EXPIRED_STORES", "ALL_STORES"}
    # The one worker that indexes: it asks for a number that the queue gave it.
    of_all |= {"RELEASE", "WAITING", "AT_WORK", "JOB", "CLAIM", "PUT_BACK", "IS_WANTED", "COMPLETE", "FAIL"}
    of_all |= {"CHANGES", "DELETE_CHANGE"}
    assert {name for name, sql in named.items() if ":owner" not in sql} == of_all


def test_history_is_found_by_index_alone(tmp_path: Path) -> None:
    on_disk(tmp_path, lambda store: complete(store, "r"))
    with sqlite3.connect(tmp_path / "antiphon.db") as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {queries.HISTORY}", {"owner": "ada", "run": "r"}).fetchall()
    connection.close()
    steps = [step for *_, step in plan]
    assert not [step for step in steps if re.match(r"SCAN (runs|items)", step)]
    assert any("items USING" in step and "owner=? AND run=?" in step for step in steps)


@pytest.mark.parametrize("name", [name for name in vars(queries) if name.isupper() and name[0] != "_"])
def test_no_query_walks_a_whole_table(name: str) -> None:
    sql = vars(queries)[name].replace("{order}", "ASC")
    values = dict.fromkeys(re.findall(r":(\w+)", sql), "[]")
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, 0)
    steps = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    connection.close()
    tables = "runs|items|segments|conversations|conversation_items|listed|makers"
    assert not [step for step in steps if re.match(rf"SCAN ({tables})$", step)]


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    on_disk(tmp_path, lambda store: complete(store, "r"))

    async def check(store: SqliteStore) -> None:
        assert await store.events("ada", "r") == [started("r"), finished()]
        assert await texts(store, "r") == ["r asks", "r answers"]

    on_disk(tmp_path, check)


def test_deleting_leaves_nothing_of_the_run_in_any_file(tmp_path: Path) -> None:
    def secret_is_on_disk() -> bool:
        return any(b"secret-7f3a asks" in file.read_bytes() for file in tmp_path.iterdir())

    async def body(store: SqliteStore) -> None:
        await complete(store, "secret-7f3a")
        await complete(store, "child", parent="secret-7f3a")
        await store.delete("ada", "secret-7f3a")
        assert secret_is_on_disk()
        await store.delete("ada", "child")
        assert not secret_is_on_disk()

    on_disk(tmp_path, body)
    with sqlite3.connect(tmp_path / "antiphon.db") as connection:
        rows = [row for table in ("runs", "items", "segments") for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    assert rows == []


WRITER = """
import asyncio, sys
from pathlib import Path
from store_contract import STREAM, begin, complete
from antiphon.clock import SystemClock
from antiphon.store.sqlite import SqliteStore

async def main():
    store = SqliteStore.open(Path(sys.argv[1]), clock=SystemClock())
    await complete(store, "whole")
    await begin(store, "cut", parent="whole")
    written = 0
    while True:
        await store.append("ada", "cut", STREAM)
        written += 1
        print(written, flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_nothing_that_was_promised_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        promised = int([*lines, *process.stdout][-1])

    async def check(store: SqliteStore) -> None:
        assert await texts(store, "whole") == ["whole asks", "whole answers"]
        assert await store.unfinished() == [UnfinishedRun("ada", "cut")]
        journal = await store.events("ada", "cut")
        assert journal[0] == started("cut")
        assert len(journal) - 1 in (promised * len(STREAM), (promised + 1) * len(STREAM))
        end = finished("failed")
        await store.finish("ada", "cut", [end], end, output_items=[])
        assert await store.events("ada", "cut") == [*journal, end]

    on_disk(tmp_path, check)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no flock")
def test_a_second_store_on_one_directory_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        with pytest.raises(StoreLocked, match=rf"{re.escape(str(tmp_path))}.*pid {os.getpid()}"):
            SqliteStore.open(tmp_path, clock=FakeClock())

    on_disk(tmp_path, body)
    on_disk(tmp_path, lambda store: begin(store, "r"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no permission bits")
def test_a_store_is_read_while_a_server_has_it_and_never_written_so(tmp_path: Path) -> None:
    async def main() -> None:
        server = SqliteStore.open(tmp_path, clock=FakeClock())
        await begin(server, "r")
        reader = SqliteStore.read(tmp_path, clock=FakeClock())
        assert await reader.events("ada", "r") == await server.events("ada", "r")
        with pytest.raises(StoreError, match="cannot be written"):
            await begin(reader, "s")
        await complete(server, "t")
        assert await reader.history("ada", "t") == await server.history("ada", "t")
        await reader.close()
        await server.close()

    asyncio.run(main())


def test_where_there_is_no_store_there_is_none_to_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Name the server's data directory"):
        SqliteStore.read(tmp_path, clock=FakeClock())
    assert list(tmp_path.iterdir()) == []


def test_only_the_user_may_read_the_files(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        await begin(store, "r")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "data").iterdir()}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert {name: mode for name, mode in modes.items() if name != "lock"} == dict.fromkeys(
            ("antiphon.db", "antiphon.db-wal", "antiphon.db-shm"), 0o600
        )

    on_disk(tmp_path / "data", body)


def test_a_full_disk_is_named_and_keeps_nothing_of_the_write(tmp_path: Path) -> None:
    noise = message("".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(100_000)))

    async def body(store: SqliteStore) -> None:
        await begin(store, "r")
        await store._database.transact(lambda db: db.execute("PRAGMA max_page_count = 20").fetchall())
        with pytest.raises(StoreError, match=r"is full.*Free some space") as caught:
            await store.finish("ada", "r", [finished()], finished(), output_items=[message("small"), noise])
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        await store.finish("ada", "r", [finished("failed")], finished("failed"), output_items=[])
        assert await texts(store, "r") == ["r asks"]

    on_disk(tmp_path, body)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "antiphon.db").write_bytes(b"these are not the bytes of a database\n" * 100)
    with pytest.raises(StoreError, match=r"antiphon\.db is not a SQLite database"):
        SqliteStore.open(tmp_path, clock=FakeClock())


def test_a_damaged_page_is_named_when_it_is_read(tmp_path: Path) -> None:
    on_disk(tmp_path, lambda store: complete(store, "r"))
    file = tmp_path / "antiphon.db"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(StoreError, match=r"antiphon\.db is damaged"):
        on_disk(tmp_path, lambda store: store.events("ada", "r"))


def test_a_database_of_a_newer_version_is_refused_and_let_go(tmp_path: Path) -> None:
    on_disk(tmp_path, lambda store: complete(store, "r"))
    with sqlite3.connect(tmp_path / "antiphon.db") as connection:
        connection.execute("INSERT INTO migrations VALUES ('from_the_future', 0)")
    for _ in range(2):  # the second time would find the lock, had the first kept it
        with pytest.raises(SchemaOutOfDate, match="from_the_future"):
            SqliteStore.open(tmp_path, clock=FakeClock())
    connection.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/data cannot be used"):
        SqliteStore.open(tmp_path / "file" / "data", clock=FakeClock())


def test_work_after_closing_is_refused() -> None:
    async def body() -> None:
        async with opened(None) as store:
            await store.close()
            with pytest.raises(StoreError, match="closed"):
                await store.unfinished()

    asyncio.run(body())


def test_closing_waits_for_what_was_handed_over(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        writes = [asyncio.ensure_future(begin(store, f"r{n}")) for n in range(20)]
        await asyncio.sleep(0)  # each has handed its work over
        await store.close()
        await asyncio.gather(*writes)

    on_disk(tmp_path, body)

    async def check(store: SqliteStore) -> None:
        assert len(await store.unfinished()) == 20

    on_disk(tmp_path, check)


def test_what_was_handed_over_is_written_though_its_caller_is_cancelled() -> None:
    async def body() -> None:
        async with opened(None) as store:
            await begin(store, "r")
            turn = threading.Event()
            waiting = asyncio.ensure_future(store._database.transact(lambda _: turn.wait(10)))
            write = asyncio.ensure_future(store.finish("ada", "r", [finished()], finished(), output_items=[]))
            await asyncio.sleep(0)  # both have handed their work over
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
            turn.set()
            assert await waiting
            assert await store.unfinished() == []

    asyncio.run(body())


def test_a_journal_must_end_with_what_finishes_it() -> None:
    async def body() -> None:
        async with opened(None) as store:
            await begin(store, "r")
            with pytest.raises(StoreError, match=r"must be its run\.finished"):
                await store.finish("ada", "r", STREAM, finished(), output_items=[])
            assert await store.unfinished() == [UnfinishedRun("ada", "r")]
            with pytest.raises(NotFound):
                await store.events("bob", "r")

    asyncio.run(body())
