"""Whatever is added, removed, run and deleted in whatever order, a conversation is what a plain list would be."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from conversation_contract import EVERYTHING, end, items, start
from hypothesis import given, settings
from hypothesis import strategies as st
from store_contract import started

from antiphon.clock import FakeClock
from antiphon.events import RunStatus
from antiphon.store.base import ItemPage, Store
from antiphon.store.sqlite import SqliteStore
from antiphon.wire.lists import ListQuery

Order = Literal["asc", "desc"]


class Model:
    """A plain list of ids, what of it each run saw, and which runs are going or deleted."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.going: list[str] = []
        self.ended: list[str] = []
        self.saw: dict[str, list[str]] = {}
        self.made = 0

    def new(self) -> str:
        self.made += 1
        return f"n{self.made}"


async def apply(store: Store, model: Model, verb: str, number: int, status: RunStatus) -> None:
    if verb == "add":
        added = [model.new() for _ in range(number % 4)]
        await store.conversations.add("ada", "c", items(*added))
        model.ids += added
    elif verb == "remove" and model.ids:
        await store.conversations.remove("ada", "c", model.ids.pop(number % len(model.ids)))
    elif verb == "begin":
        run = model.new()
        model.going.append(run)
        model.saw[run] = list(model.ids)
        await start(store, run)
    elif verb == "end" and model.going:
        run = model.going.pop(number % len(model.going))
        await end(store, run, status)
        model.ended.append(run)
        if status in ("completed", "incomplete"):
            model.ids += [f"{run}_in", f"{run}_out"]
    elif verb == "delete" and model.ended:
        await store.delete("ada", model.ended.pop(number % len(model.ended)))


async def compare(store: Store, model: Model) -> None:
    page = await store.conversations.items("ada", "c", EVERYTHING)
    assert [item["id"] for item in page.items] == model.ids[:100]
    assert [item["id"] for item in (await store.conversations.history("ada", "c")).items] == model.ids
    for run in model.ended:
        left = [item_id for item_id in model.saw[run] if item_id in model.ids]
        history = [item["id"] for item in await store.history("ada", run)]
        assert history == [*left, f"{run}_in", f"{run}_out"]


commands = st.tuples(
    st.sampled_from(["add", "add", "remove", "begin", "begin", "end", "end", "delete"]),
    st.integers(0, 100),
    st.sampled_from(["completed", "completed", "completed", "incomplete", "failed", "cancelled"]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(commands, min_size=5, max_size=40))
def test_a_conversation_is_what_a_plain_list_would_be(sequence: list[tuple[str, int, RunStatus]]) -> None:
    async def run() -> None:
        store, model = SqliteStore.open(None, clock=FakeClock()), Model()
        await store.conversations.create("ada", "c", metadata={}, items=[])
        for command in sequence:
            await apply(store, model, *command)
        await compare(store, model)
        # What the list does not hold any more and no run has is on no disk either.
        rows = await store._database.transact(
            lambda db: db.execute(
                "SELECT item_id FROM items JOIN runs USING (owner, run) WHERE deleted_at_s"
            ).fetchall()
        )
        assert {item_id for (item_id,) in rows} <= set(model.ids)
        await store.conversations.delete("ada", "c")
        rows = await store._database.transact(lambda db: db.execute("SELECT run FROM runs").fetchall())
        assert sorted(run for (run,) in rows) == sorted(model.going + model.ended)
        await store.close()

    asyncio.run(run())


Page = Callable[[ListQuery], Awaitable[ItemPage]]


async def walk(page: Page, *, limit: int, order: Order) -> list[str]:
    """Follow the cursors to the end."""
    found: list[str] = []
    while True:
        part = await page(ListQuery(limit=limit, order=order, after=found[-1] if found else None))
        assert len(part.items) == limit or not part.has_more
        found += [item["id"] for item in part.items]
        if not part.has_more:
            return found


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 13),
    removed=st.sets(st.integers(0, 12), max_size=5),
    limit=st.integers(1, 15),
    order=st.sampled_from(["asc", "desc"]),
)
def test_pages_walk_every_item_once(count: int, removed: set[int], limit: int, order: Order) -> None:
    async def run() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        given_ids = [f"i{n}" for n in range(count)]
        await store.conversations.create("ada", "c", metadata={}, items=items(*given_ids))
        await start(store, "r")
        for n in sorted(removed & set(range(count))):
            await store.conversations.remove("ada", "c", given_ids[n])
        left = [item_id for n, item_id in enumerate(given_ids) if n not in removed]
        expected = left if order == "asc" else left[::-1]

        async def page(query: ListQuery) -> ItemPage:
            return await store.conversations.items("ada", "c", query)

        assert await walk(page, limit=limit, order=order) == expected
        for position, item_id in enumerate(expected):  # a page before an item ends right before it
            part = await page(ListQuery(limit=limit, order=order, before=item_id))
            assert [item["id"] for item in part.items] == expected[max(0, position - limit) : position]
            assert part.has_more == (position > limit)
        if expected:
            between = await page(ListQuery(order=order, after=expected[0], before=expected[-1]))
            assert [item["id"] for item in between.items] == expected[1:-1]
        await store.close()

    asyncio.run(run())


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 9), limit=st.integers(1, 10), order=st.sampled_from(["asc", "desc"]))
def test_pages_of_a_runs_input_walk_every_item_once(count: int, limit: int, order: Order) -> None:
    async def run() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        given_ids = [f"i{n}" for n in range(count)]
        await store.begin("ada", started("r"), parent=None, input_items=items(*given_ids))

        async def page(query: ListQuery) -> ItemPage:
            return await store.input_items("ada", "r", query)

        expected = given_ids if order == "asc" else given_ids[::-1]
        assert await walk(page, limit=limit, order=order) == expected
        await store.close()

    asyncio.run(run())
