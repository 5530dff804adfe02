"""Indexes are opened once, closed when nobody uses them, and deleted no sooner."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import IndexDamaged
from antiphon.retrieval.indexes import Indexes, to_thread


class FakeIndex:
    """An index that notices when its directory is opened twice, or used when it is closed."""

    opened: set[Path] = set()  # noqa: RUF012 - shared on purpose

    def __init__(self, directory: Path) -> None:
        assert directory not in self.opened, "opened twice"
        self.opened.add(directory)
        directory.mkdir(exist_ok=True)
        self.directory = directory

    def use(self) -> None:
        assert self.directory in self.opened, "used when closed"
        assert self.directory.exists(), "used when deleted"

    def close(self) -> None:
        self.opened.remove(self.directory)


def with_indexes(directory: Path, test: Callable[[Indexes], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        indexes = Indexes(directory, open_index=FakeIndex, **options)  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            await test(indexes)
        await indexes.close()
        assert FakeIndex.opened == set()

    FakeIndex.opened.clear()
    asyncio.run(main())


async def use(indexes: Indexes, name: str) -> None:
    async with indexes.lease(name) as index:
        await to_thread(index.use)  # type: ignore[attr-defined]


def test_no_more_stay_open_than_may_and_none_twice(tmp_path: Path) -> None:
    async def test(indexes: Indexes) -> None:
        for name in "abcd":
            await use(indexes, name)
        assert {path.name for path in FakeIndex.opened} == {"c", "d"}
        async with indexes.lease("a"), indexes.lease("b"), indexes.lease("c"):
            assert {path.name for path in FakeIndex.opened} == {"a", "b", "c"}

    with_indexes(tmp_path, test, max_open=2)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_side_by_side_an_index_is_open_once_while_it_is_used(tmp_path: Path, seed: int) -> None:
    async def test(indexes: Indexes) -> None:
        chance = random.Random(seed)

        async def act() -> None:
            for _ in range(20):
                name = chance.choice("abc")
                await (indexes.drop(name) if chance.random() < 0.2 else use(indexes, name))

        await asyncio.gather(*(act() for _ in range(6)))

    with_indexes(tmp_path, test, max_open=1)


def test_a_lease_that_is_cancelled_ends_when_its_thread_does(tmp_path: Path) -> None:
    async def test(indexes: Indexes) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

        async def leased() -> None:
            async with indexes.lease("a"):
                await to_thread(work)

        task = asyncio.create_task(leased())
        await begun.wait()
        task.cancel()
        dropping = asyncio.create_task(indexes.drop("a"))
        await asyncio.sleep(0)
        assert (tmp_path / "a").exists()
        go_on.set()
        await dropping
        assert task.cancelled()
        assert not (tmp_path / "a").exists()

    with_indexes(tmp_path, test)


def test_one_file_is_changed_by_one_at_a_time(tmp_path: Path) -> None:
    async def test(indexes: Indexes) -> None:
        log: list[str] = []

        async def change(name: str, file_id: str) -> None:
            async with indexes.file("vs", file_id):
                log.append(f"{name} in")
                await asyncio.sleep(0)
                log.append(f"{name} out")

        await asyncio.gather(change("a", "f"), change("b", "f"), change("c", "f"))
        assert log == ["a in", "a out", "b in", "b out", "c in", "c out"]
        log.clear()
        await asyncio.gather(change("a", "f"), change("b", "g"))
        assert log == ["a in", "b in", "a out", "b out"]
        assert indexes._files == {}

    with_indexes(tmp_path, test)


def test_what_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    failures = [IndexDamaged("Broken.")]

    def opened(directory: Path) -> FakeIndex:
        if failures:
            raise failures.pop()
        return FakeIndex(directory)

    async def test(indexes: Indexes) -> None:
        with pytest.raises(IndexDamaged):
            await use(indexes, "a")
        await use(indexes, "a")

    async def main() -> None:
        indexes = Indexes(tmp_path, open_index=opened)  # type: ignore[arg-type]
        await test(indexes)
        await indexes.close()

    FakeIndex.opened.clear()
    asyncio.run(main())
