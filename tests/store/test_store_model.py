"""Whatever is done in whatever order, the store shows what a few plain dicts would."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_contract import finished, message, started

from antiphon.clock import FakeClock
from antiphon.errors import Conflict, NotFound
from antiphon.events import RunEvent, TextDelta
from antiphon.store.base import UnfinishedRun
from antiphon.store.sqlite import SqliteStore


@dataclass
class Run:
    """What the model knows of a run. Nothing is ever removed from it: the store must only look as if."""

    parent: str | None
    events: list[RunEvent]
    items: list[dict[str, object]]
    ended: bool = False
    deleted: bool = False


@dataclass
class Model:
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)

    def visible(self, owner: str, run: str | None) -> Run:
        found = self.runs.get((owner, run or ""))
        if found is None or found.deleted:
            raise NotFound("response", run or "")
        return found

    def going(self, owner: str, run: str, *, wanted: bool) -> Run:
        found = self.visible(owner, run)
        if found.ended == wanted:
            raise Conflict
        return found

    def history(self, owner: str, run: str | None) -> list[dict[str, object]]:
        found = self.runs.get((owner, run or ""))
        return [*self.history(owner, found.parent), *found.items] if found else []

    def kept(self) -> set[tuple[str, str]]:
        """What must still be on disk: the runs that can be seen, and all that they build on."""
        kept = set()
        for (owner, run), known in self.runs.items():
            link: str | None = None if known.deleted else run
            while link is not None:
                kept.add((owner, link))
                link = self.runs[owner, link].parent
        return kept

    def apply(self, verb: str, owner: str, run: str, parent: str | None) -> None:
        if verb == "begin":
            if parent is not None:
                self.going(owner, parent, wanted=False)
            if (owner, run) in self.runs:
                raise Conflict
            self.runs[owner, run] = Run(parent, [started(run)], [message(f"{owner} {run}")])
        elif verb == "append":
            self.going(owner, run, wanted=True).events.append(TextDelta(block="0.0", text=run))
        elif verb == "finish":
            found = self.going(owner, run, wanted=True)
            found.events.append(finished())
            found.items.append(message(f"{run} out"))
            found.ended = True
        elif verb == "delete":
            self.going(owner, run, wanted=False).deleted = True


async def apply(store: SqliteStore, verb: str, owner: str, run: str, parent: str | None) -> None:
    if verb == "begin":
        await store.begin(owner, started(run), parent=parent, input_items=[message(f"{owner} {run}")])
    elif verb == "append":
        await store.append(owner, run, [TextDelta(block="0.0", text=run)])
    elif verb == "finish":
        await store.finish(owner, run, [finished()], finished(), output_items=[message(f"{run} out")])
    elif verb == "delete":
        await store.delete(owner, run)


async def compare_call(store: SqliteStore, model: Model, *call: Any) -> None:
    try:
        model.apply(*call)
    except (NotFound, Conflict) as refusal:
        with pytest.raises(type(refusal)):
            await apply(store, *call)
    else:
        await apply(store, *call)


async def compare(store: SqliteStore, model: Model) -> None:
    going = [UnfinishedRun(owner, run) for (owner, run), known in model.runs.items() if not known.ended]
    assert await store.unfinished() == going
    rows = await store._database.transact(lambda db: db.execute("SELECT owner, run FROM runs").fetchall())
    assert set(rows) == model.kept()
    for (owner, run), known in model.runs.items():
        if known.deleted:
            continue
        assert await store.events(owner, run) == known.events
        if known.ended:
            assert await store.history(owner, run) == model.history(owner, run)


# A run is named by how many runs of its owner ago it began, so that most commands hit one.
commands = st.tuples(
    st.sampled_from([("begin",), ("begin", "finish"), ("begin", "finish"), ("finish",), ("append",), ("delete",)]),
    st.sampled_from(["ada", "ada", "bob"]),
    st.integers(0, 3),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(commands, min_size=10, max_size=40))
def test_the_store_shows_what_plain_dicts_would(sequence: list[tuple[tuple[str, ...], str, int, int]]) -> None:
    async def run() -> None:
        store, model = SqliteStore.open(None, clock=FakeClock()), Model()
        for verbs, owner, ago, parent_ago in sequence:
            begun = sum(of == owner for of, _ in model.runs)
            number = begun if "begin" in verbs else begun - 1 - ago
            parent = f"r{begun - parent_ago}" if parent_ago else None
            for verb in verbs:
                await compare_call(store, model, verb, owner, f"r{number}", parent)
        await compare(store, model)
        await store.close()

    asyncio.run(run())
