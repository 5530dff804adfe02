"""What every `Store` must do: subclass `StoreContract`, say how to open one, and pytest runs the rest."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import Conflict, NotFound
from antiphon.events import (
    RunEvent,
    RunFinished,
    RunStarted,
    RunStatus,
    TextDelta,
    TextFinished,
    TextStarted,
    TurnFinished,
    Usage,
)
from antiphon.store.base import Store, UnfinishedRun
from antiphon.wire.lists import ChatListQuery, ListQuery

Scenario = Callable[[Any, Store], Awaitable[None]]

STREAM: list[RunEvent] = [
    TextStarted(block="0.0"),
    TextDelta(block="0.0", text="Grüß\u2028Gott \U0001f642\n"),
    TextFinished(block="0.0"),
    TurnFinished(turn=0, finish_reason="stop", usage=Usage(input_tokens=3, raw={"deep": [None, 1.5, 2**70]})),
]


def scenario(test: Scenario) -> Callable[[Any, Path], None]:
    """Make a pytest test of a coroutine: it gets a store of its own, which is closed after it."""

    # Not `functools.wraps`: pytest would follow it to the signature of the coroutine.
    @functools.partial(functools.update_wrapper, wrapped=test, assigned=("__name__", "__doc__"), updated=())
    def run(self: "OpensStore", tmp_path: Path) -> None:
        async def body() -> None:
            async with self.open(tmp_path) as store:
                await test(self, store)

        asyncio.run(body())

    del run.__wrapped__
    return run


def message(text: str, **fields: object) -> dict[str, object]:
    return {"type": "message", "role": "user", "content": text, **fields}


def started(run: str) -> RunStarted:
    return RunStarted(run=run, created_at_s=1_700_000_000, model="m", request={"input": run, "unknown": {"kept": True}})


def finished(status: RunStatus = "completed") -> RunFinished:
    return RunFinished(status=status, finished_at_s=1_700_000_009)


async def begin(store: Store, run: str, *, owner: str = "ada", parent: str | None = None, **fields: object) -> None:
    await store.begin(owner, started(run), parent=parent, input_items=[message(f"{run} asks", **fields)])


async def complete(
    store: Store, run: str, *, owner: str = "ada", parent: str | None = None, status: RunStatus = "completed"
) -> None:
    """A whole run: one item in, one item out."""
    await begin(store, run, owner=owner, parent=parent)
    await store.finish(owner, run, [finished(status)], finished(status), output_items=[message(f"{run} answers")])


async def chat(
    store: Store,
    run: str,
    *,
    owner: str = "ada",
    model: str = "m",
    metadata: dict[str, str] | None = None,
    status: RunStatus | None = "completed",
) -> None:
    """A chat completion that ended so, or goes on."""
    request = {"messages": [message(f"{run} asks")], "metadata": metadata}
    began = RunStarted(run=run, created_at_s=1_700_000_000, model=model, request=request, api="chat")
    await store.begin(owner, began, parent=None, input_items=[])
    if status is not None:
        await store.finish(owner, run, [finished(status)], finished(status), output_items=[])


async def chats(store: Store, *, owner: str = "ada", **query: Any) -> list[str]:
    """The ids of a page of chat completions."""
    page = await store.chats(owner, ChatListQuery(**query))
    return [each.events[0].run for each in page.chats if isinstance(each.events[0], RunStarted)]


async def texts(store: Store, run: str, *, owner: str = "ada") -> list[object]:
    return [item["content"] for item in await store.history(owner, run)]


class OpensStore:
    """What the suites know of a store: how to open one."""

    def open(self, data_dir: Path) -> AbstractAsyncContextManager[Store]:
        """An empty store; leaving the context closes it."""
        raise NotImplementedError


class StoreContract(OpensStore):
    """The contract suite of runs; that of conversations is `conversation_contract.ConversationContract`."""

    # --- the journal --------------------------------------------------------------------------

    @scenario
    async def test_a_journal_comes_back_as_it_was_written(self, store: Store) -> None:
        await begin(store, "r")
        await store.append("ada", "r", STREAM[:2])
        await store.append("ada", "r", [])
        assert await store.events("ada", "r") == [started("r"), *STREAM[:2]]
        await store.finish("ada", "r", [*STREAM[2:], finished()], finished(), output_items=[])
        assert await store.events("ada", "r") == [started("r"), *STREAM, finished()]

    @scenario
    async def test_appends_that_overlap_are_kept_in_the_order_of_their_calls(self, store: Store) -> None:
        await begin(store, "r")
        deltas = [TextDelta(block="0.0", text=str(n)) for n in range(50)]
        await asyncio.gather(*(store.append("ada", "r", [delta]) for delta in deltas))
        assert (await store.events("ada", "r"))[1:] == deltas

    @scenario
    async def test_segments_that_are_merged_keep_every_event_in_its_place(self, store: Store) -> None:
        await begin(store, "r")
        await begin(store, "other")
        for event in STREAM:
            await store.append("ada", "r", [event])
        await store.append("ada", "other", STREAM[:1])
        await store.append("ada", "r", STREAM[:2], merge_from=2)
        await store.append("ada", "r", STREAM[2:], merge_from=99)
        assert await store.events("ada", "r") == [started("r"), *STREAM, *STREAM]
        assert await store.events("ada", "other") == [started("other"), STREAM[0]]

    @scenario
    async def test_a_run_that_ended_takes_no_more_events(self, store: Store) -> None:
        await complete(store, "r")
        before = await store.events("ada", "r")
        with pytest.raises(Conflict, match="'r' has ended"):
            await store.append("ada", "r", STREAM)
        with pytest.raises(Conflict, match="'r' has ended"):
            await store.finish("ada", "r", [finished()], finished(), output_items=[message("twice")])
        assert await store.events("ada", "r") == before
        assert await texts(store, "r") == ["r asks", "r answers"]

    @scenario
    async def test_a_run_id_is_taken_once(self, store: Store) -> None:
        await begin(store, "r")
        with pytest.raises(Conflict, match="already"):
            await begin(store, "r")
        assert await store.events("ada", "r") == [started("r")]

    @scenario
    async def test_unfinished_runs_of_all_owners_are_listed_oldest_first(self, store: Store) -> None:
        await begin(store, "z")
        await complete(store, "m")
        await begin(store, "a", owner="bob")
        assert await store.unfinished() == [UnfinishedRun("ada", "z"), UnfinishedRun("bob", "a")]
        await store.finish("ada", "z", [finished("failed")], finished("failed"), output_items=[])
        assert await store.unfinished() == [UnfinishedRun("bob", "a")]

    @scenario
    async def test_a_run_that_goes_on_is_given_what_it_saw_first(self, store: Store) -> None:
        await complete(store, "root")
        await begin(store, "r", parent="root")
        await store.append("ada", "r", STREAM)
        context = await store.context("ada", "r")
        assert [item["content"] for item in context] == ["root asks", "root answers", "r asks"]
        with pytest.raises(NotFound):
            await store.context("bob", "r")
        await store.finish("ada", "r", [finished()], finished(), output_items=[message("r answers")])
        assert await store.context("ada", "r") == context

    @scenario
    async def test_what_a_failed_turn_said_before_it_was_asked_again_is_no_history(self, store: Store) -> None:
        await begin(store, "r")
        cut = message("half", status="completed", antiphon={"abandoned": True})
        end = finished("incomplete")
        await store.finish("ada", "r", [end], end, output_items=[cut, message("whole")])
        assert await texts(store, "r") == ["r asks", "whole"]

    # --- history ------------------------------------------------------------------------------

    @scenario
    async def test_two_runs_of_one_parent_keep_their_own_context(self, store: Store) -> None:
        await complete(store, "root")
        await complete(store, "left", parent="root")
        await complete(store, "right", parent="root")
        await complete(store, "leaf", parent="left")
        root = ["root asks", "root answers"]
        assert await texts(store, "right") == [*root, "right asks", "right answers"]
        assert await texts(store, "leaf") == [*root, "left asks", "left answers", "leaf asks", "leaf answers"]

    @scenario
    async def test_items_keep_their_order_and_every_field(self, store: Store) -> None:
        asked = [message(str(n), id=f"msg_{n}", odd=[{"n": n}]) for n in range(12)]
        said = [{"type": "function_call", "arguments": '{"a": "\u2028"}', "status": "completed"}, {"id": 7}, {}]
        await store.begin("ada", started("r"), parent=None, input_items=asked)
        await store.finish("ada", "r", [finished()], finished(), output_items=said)
        assert await store.history("ada", "r") == [*asked, *said]

    @scenario
    async def test_an_item_that_was_cut_off_is_kept_from_the_model(self, store: Store) -> None:
        await begin(store, "r", status="incomplete")  # what a client sends is its own business
        said = [message("whole", status="completed"), message("cut", status="incomplete")]
        await store.finish("ada", "r", [finished("failed")], finished("failed"), output_items=said)
        assert await texts(store, "r") == ["r asks", "whole"]

    @scenario
    async def test_text_that_ran_into_the_token_limit_stays_but_half_a_call_does_not(self, store: Store) -> None:
        await begin(store, "r")
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{", "status": "incomplete"}
        said = [message("cut", status="incomplete"), call]
        await store.finish("ada", "r", [finished("incomplete")], finished("incomplete"), output_items=said)
        assert await texts(store, "r") == ["r asks", "cut"]

    @scenario
    async def test_a_run_can_be_continued_only_once_it_ended(self, store: Store) -> None:
        await begin(store, "r")
        with pytest.raises(Conflict, match="has not ended"):
            await store.history("ada", "r")
        with pytest.raises(Conflict, match="has not ended"):
            await begin(store, "next", parent="r")
        with pytest.raises(NotFound):
            await store.events("ada", "next")

    @scenario
    async def test_an_unknown_parent_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound, match="'nobody'"):
            await begin(store, "r", parent="nobody")
        assert await store.unfinished() == []

    # --- deletion -----------------------------------------------------------------------------

    @scenario
    async def test_a_deleted_run_is_gone_for_every_method(self, store: Store) -> None:
        await complete(store, "root")
        await complete(store, "leaf", parent="root")
        await store.delete("ada", "root")  # kept as a mark, since the leaf builds on it
        await store.delete("ada", "leaf")
        await complete(store, "other")
        await complete(store, "child", parent="other")
        await store.delete("ada", "other")
        for run in ("root", "leaf", "other"):
            await self.assert_not_found(store, "ada", run)

    @scenario
    async def test_items_of_a_deleted_run_still_count_for_runs_that_build_on_it(self, store: Store) -> None:
        await complete(store, "root")
        await complete(store, "middle", parent="root")
        await complete(store, "leaf", parent="middle")
        await store.delete("ada", "root")
        await store.delete("ada", "middle")
        expected = ["root asks", "root answers", "middle asks", "middle answers", "leaf asks", "leaf answers"]
        assert await texts(store, "leaf") == expected

    @scenario
    async def test_deleting_a_run_leaves_those_it_was_built_on(self, store: Store) -> None:
        await complete(store, "root")
        await complete(store, "leaf", parent="root")
        await store.delete("ada", "leaf")
        assert await store.events("ada", "root") == [started("root"), finished()]
        assert await texts(store, "root") == ["root asks", "root answers"]

    @scenario
    async def test_a_run_that_is_going_cannot_be_deleted(self, store: Store) -> None:
        await begin(store, "r")
        with pytest.raises(Conflict, match="cancel it"):
            await store.delete("ada", "r")
        assert await store.events("ada", "r") == [started("r")]

    # --- owners and the end -------------------------------------------------------------------

    @scenario
    async def test_nobody_reaches_a_run_of_somebody_else(self, store: Store) -> None:
        await complete(store, "r", owner="ada")
        await self.assert_not_found(store, "bob", "r")
        assert await texts(store, "r") == ["r asks", "r answers"]

    @scenario
    async def test_owners_may_use_the_same_ids(self, store: Store) -> None:
        await complete(store, "r", owner="ada")
        await begin(store, "r", owner="bob")
        await store.finish("bob", "r", [finished()], finished(), output_items=[message("for bob")])
        await complete(store, "next", owner="bob", parent="r")
        assert await texts(store, "r", owner="ada") == ["r asks", "r answers"]
        assert await texts(store, "next", owner="bob") == ["r asks", "for bob", "next asks", "next answers"]
        await store.delete("ada", "r")
        assert await texts(store, "r", owner="bob") == ["r asks", "for bob"]

    @scenario
    async def test_closing_twice_is_harmless(self, store: Store) -> None:
        await store.close()
        await store.close()

    # --- chat completions ---------------------------------------------------------------------

    @scenario
    async def test_a_chat_completion_comes_back_with_its_journal_and_its_metadata(self, store: Store) -> None:
        await chat(store, "c", metadata={"k": "v"})
        found = await store.chat("ada", "c")
        assert (found.events[-1], found.metadata) == (finished(), {"k": "v"})
        await store.set_metadata("ada", "c", {"other": "w"})
        assert (await store.chat("ada", "c")).metadata == {"other": "w"}

    @scenario
    async def test_runs_of_the_two_apis_are_not_there_for_each_other(self, store: Store) -> None:
        await chat(store, "c")
        await complete(store, "r")
        for call in (
            store.begin("ada", started("new"), parent="c", input_items=[]),
            store.events("ada", "c"),
            store.history("ada", "c"),
            store.input_items("ada", "c", ListQuery()),
            store.delete("ada", "c"),
        ):
            with pytest.raises(NotFound, match="Response with id"):
                await call
        for call in (store.chat("ada", "r"), store.set_metadata("ada", "r", {}), store.delete("ada", "r", api="chat")):
            with pytest.raises(NotFound, match="Chat completion with id"):
                await call
        assert await chats(store) == ["c"]
        assert (await store.events("ada", "c", api="chat"))[-1] == finished()

    @scenario
    async def test_chat_completions_are_listed_by_page_model_and_metadata(self, store: Store) -> None:
        for n in range(5):
            await chat(store, str(n), model="odd" if n % 2 else "even", metadata={"n": str(n), "q": '"'})
        await chat(store, "not hers", owner="bob")
        assert await chats(store) == ["0", "1", "2", "3", "4"]
        assert await chats(store, order="desc", limit=2) == ["4", "3"]
        assert await chats(store, after="1", limit=2) == ["2", "3"]
        assert await chats(store, after="1", order="desc") == ["0"]
        assert await chats(store, model="odd") == ["1", "3"]
        assert await chats(store, metadata={"n": "3", "q": '"'}) == ["3"]
        assert await chats(store, metadata={"n": "3", "missing": "x"}) == []
        assert [(await store.chats("ada", ChatListQuery(limit=n))).has_more for n in (4, 5)] == [True, False]
        with pytest.raises(NotFound):
            await chats(store, after="not hers")

    @scenario
    async def test_only_chat_completions_with_an_answer_are_shown(self, store: Store) -> None:
        await chat(store, "going", status=None)
        for status in ("completed", "incomplete", "failed", "cancelled"):
            await chat(store, status, status=status)
        assert await chats(store) == ["completed", "incomplete"]
        for run in ("going", "failed", "cancelled"):
            with pytest.raises(NotFound):
                await store.chat("ada", run)
        assert await store.unfinished() == [UnfinishedRun("ada", "going", "chat")]
        await store.delete("ada", "completed", api="chat")
        assert await chats(store) == ["incomplete"]

    @scenario
    async def test_nobody_reaches_a_chat_completion_of_somebody_else(self, store: Store) -> None:
        await chat(store, "c", metadata={"k": "v"})
        for call in (
            store.chat("bob", "c"),
            store.set_metadata("bob", "c", {}),
            store.delete("bob", "c", api="chat"),
            store.events("bob", "c", api="chat"),
        ):
            with pytest.raises(NotFound):
                await call
        assert await chats(store, owner="bob") == []
        assert (await store.chat("ada", "c")).metadata == {"k": "v"}

    @scenario
    async def test_a_fork_begins_as_the_other_did_and_is_a_run_of_its_own(self, store: Store) -> None:
        await store.begin("ada", started("a"), parent=None, input_items=[message("one", id="item_1")])
        await store.finish("ada", "a", [finished()], finished(), output_items=[message("first")])
        await store.begin("ada", started("b"), parent="a", input_items=[message("two", id="item_2")])
        await store.finish("ada", "b", [finished()], finished(), output_items=[message("second")])
        await store.fork("ada", "b", [started("c"), *STREAM])
        assert await store.events("ada", "c") == [started("c"), *STREAM]
        assert [item["content"] for item in await store.context("ada", "c")] == ["one", "first", "two"]
        await store.delete("ada", "b")
        await store.finish("ada", "c", [finished()], finished(), output_items=[message("other")])
        assert [item["content"] for item in await store.history("ada", "c")] == ["one", "first", "two", "other"]

    @scenario
    async def test_a_fork_of_nothing_or_into_something_is_refused(self, store: Store) -> None:
        await store.begin("ada", started("a"), parent=None, input_items=[])
        with pytest.raises(NotFound):
            await store.fork("bob", "a", [started("b")])
        with pytest.raises(Conflict):
            await store.fork("ada", "a", [started("a")])

    async def assert_not_found(self, store: Store, owner: str, run: str) -> None:
        for call in (
            store.begin(owner, started("new"), parent=run, input_items=[]),
            store.append(owner, run, STREAM),
            store.finish(owner, run, [finished()], finished(), output_items=[]),
            store.events(owner, run),
            store.history(owner, run),
            store.fork(owner, run, [started("forked")]),
            store.delete(owner, run),
        ):
            with pytest.raises(NotFound):
                await call
