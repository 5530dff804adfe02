"""The journal under what goes wrong: a caller who is cancelled, a store that fails, a run that is let go of."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from antiphon.agent import journal as journal_module
from antiphon.agent.journal import Journal
from antiphon.clock import FakeClock
from antiphon.errors import StoreError
from antiphon.events import RunEvent, RunFinished, RunStarted, TextDelta, TextStarted, TurnFinished, TurnStarted
from antiphon.store.sqlite import SqliteStore

STARTED = RunStarted(run="resp_1", created_at_s=1, model="m", request={})
FINISHED = RunFinished(status="completed", finished_at_s=2)
EVENTS: list[RunEvent] = [TextStarted(block="0.0"), *(TextDelta(block="0.0", text=str(n)) for n in range(6))]


class SlowStore(SqliteStore):
    """Takes its time to append, once, and fails as often as it is told."""

    entered: asyncio.Event
    go_on: asyncio.Event
    failures = 0

    async def append(self, owner: str, run: str, events: Sequence[RunEvent], **options: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("The disk is full.")
        await super().append(owner, run, events, **options)
        self.entered.set()
        await self.go_on.wait()


async def begun(*, flushes: bool = False) -> tuple[Journal, SlowStore]:
    store = SlowStore.open(None, clock=FakeClock())
    assert isinstance(store, SlowStore)
    store.entered, store.go_on = asyncio.Event(), asyncio.Event()
    journal = Journal(store, "me", STARTED, flushes=flushes)
    await journal.begin()
    return journal, store


def test_a_caller_who_is_cancelled_in_a_barrier_leaves_no_event_written_twice() -> None:
    async def main() -> list[RunEvent]:
        journal, store = await begun()
        journal.add(EVENTS[:3])
        committing = asyncio.create_task(journal.commit())
        await store.entered.wait()
        committing.cancel()
        await asyncio.wait((committing,))
        journal.add(EVENTS[3:])
        store.go_on.set()
        await journal.finish(FINISHED)
        return await store.events("me", "resp_1")

    assert asyncio.run(main()) == [STARTED, *EVENTS, FINISHED]


def test_the_segments_of_a_turn_are_one_when_it_ends() -> None:
    async def main() -> list[tuple[int, int]]:
        journal, store = await begun(flushes=True)
        store.go_on.set()
        turn = TurnStarted(turn=0, interaction="int_1", upstream="u", model="m")
        for event in (turn, *EVENTS, TurnFinished(turn=0, finish_reason="stop")):
            journal.add([event])
            await journal.commit()
        spans = "SELECT first_seq, last_seq FROM segments ORDER BY first_seq"
        return await store._database.transact(lambda db: db.execute(spans).fetchall())

    assert asyncio.run(main()) == [(0, 0), (1, len(EVENTS) + 2)]


def test_what_is_added_while_a_commit_goes_is_in_the_next_one() -> None:
    async def main() -> None:
        journal, store = await begun()
        journal.add(EVENTS[:3])
        committing = asyncio.create_task(journal.commit())
        await store.entered.wait()
        journal.add(EVENTS[3:])
        store.go_on.set()
        await committing
        assert await store.events("me", "resp_1") == [STARTED, *EVENTS[:3]]
        await journal.commit()
        assert await store.events("me", "resp_1") == [STARTED, *EVENTS]

    asyncio.run(main())


def test_a_flush_that_fails_is_told_and_made_good_with_the_next_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "FLUSH_EVERY_S", 0)

    async def main() -> None:
        journal, store = await begun(flushes=True)
        store.failures = 1
        store.go_on.set()
        journal.add(EVENTS[:1])
        while not caplog.records:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0)
        journal.add(EVENTS[1:])
        await store.entered.wait()
        assert await store.events("me", "resp_1") == [STARTED, *EVENTS]

    asyncio.run(main())
    assert "could not be flushed" in caplog.text


def test_readers_of_a_journal_that_is_left_are_let_go_with_what_is_durable() -> None:
    async def main() -> list[list[RunEvent]]:
        journal, _ = await begun()
        read: list[list[RunEvent]] = []

        async def reading() -> None:
            async for batch in journal.committed():
                read.append(batch)

        reader = asyncio.create_task(reading())
        await asyncio.sleep(0)
        journal.add(EVENTS)
        journal.leave()
        await asyncio.wait_for(reader, 5)
        return read

    assert asyncio.run(main()) == [[STARTED]]
