"""What the conversations of every `Store` must do: see `store_contract`."""

import asyncio
from typing import Any

import pytest
from store_contract import OpensStore, begin, finished, message, scenario, started

from antiphon.errors import Conflict, DuplicateItem, NotFound
from antiphon.events import RunStatus
from antiphon.store.base import Store
from antiphon.wire.lists import ListQuery

EVERYTHING = ListQuery(limit=100, order="asc")


def items(*item_ids: str) -> list[dict[str, Any]]:
    return [message(f"text of {item_id}", id=item_id) for item_id in item_ids]


async def open_conversation(store: Store, *item_ids: str, owner: str = "ada", name: str = "c") -> None:
    await store.conversations.create(owner, name, metadata={}, items=items(*item_ids))


async def ids(store: Store, *, owner: str = "ada", name: str = "c") -> list[str]:
    return [item["id"] for item in (await store.conversations.items(owner, name, EVERYTHING)).items]


async def seen(store: Store, *, name: str = "c") -> list[str]:
    """The ids of what a model is shown."""
    return [item["id"] for item in (await store.conversations.history("ada", name)).items]


async def start(store: Store, run: str, *, owner: str = "ada", name: str = "c") -> None:
    past = await store.conversations.history(owner, name)
    await store.begin(owner, started(run), parent=None, input_items=items(f"{run}_in"), conversation=past)


async def end(store: Store, run: str, status: RunStatus = "completed", *, owner: str = "ada") -> None:
    await store.finish(owner, run, [finished(status)], finished(status), output_items=items(f"{run}_out"))


async def take(store: Store, run: str, *, name: str = "c") -> None:
    await start(store, run, name=name)
    await end(store, run)


class ConversationContract(OpensStore):
    """The contract suite of `Conversations`, and of runs that are made in them."""

    # --- the list -----------------------------------------------------------------------------

    @scenario
    async def test_a_conversation_comes_back_with_its_metadata_and_items(self, store: Store) -> None:
        given = [message("hi", id="a", odd={"n": [1.5, None]}), {"type": "x:y", "id": "b", "deep": "\u2028"}]
        made = await store.conversations.create("ada", "c", metadata={"topic": "tea"}, items=given)
        assert (made.id, made.metadata, made.created_at) == ("c", {"topic": "tea"}, 1_700_000_000)
        assert await store.conversations.get("ada", "c") == made
        assert (await store.conversations.items("ada", "c", EVERYTHING)).items == given
        assert await store.conversations.item("ada", "c", "b") == given[1]

    @scenario
    async def test_new_metadata_takes_the_place_of_the_old(self, store: Store) -> None:
        await store.conversations.create("ada", "c", metadata={"a": "1", "b": "2"}, items=[])
        assert (await store.conversations.update("ada", "c", {"b": "3"})).metadata == {"b": "3"}
        assert (await store.conversations.get("ada", "c")).metadata == {"b": "3"}

    @scenario
    async def test_items_keep_the_order_in_which_they_were_added(self, store: Store) -> None:
        await open_conversation(store, "a", "b")
        await store.conversations.add("ada", "c", items("d", "c"))
        await take(store, "r")
        await store.conversations.add("ada", "c", items("e"))
        assert await ids(store) == ["a", "b", "d", "c", "r_in", "r_out", "e"]
        assert await seen(store) == await ids(store)

    @scenario
    async def test_an_item_that_is_added_after_the_last_was_removed_comes_last(self, store: Store) -> None:
        await open_conversation(store, "a", "b", "c")
        await store.conversations.remove("ada", "c", "c")
        await store.conversations.add("ada", "c", items("d"))
        assert await ids(store) == ["a", "b", "d"]

    @scenario
    async def test_adding_an_item_that_is_there_adds_nothing(self, store: Store) -> None:
        await open_conversation(store, "a")
        with pytest.raises(DuplicateItem, match="found with id a"):
            await store.conversations.add("ada", "c", items("b", "a"))
        assert await ids(store) == ["a"]

    @scenario
    async def test_additions_that_overlap_do_not_mix(self, store: Store) -> None:
        await open_conversation(store)
        batches = [[f"{batch}_{n}" for n in range(5)] for batch in range(8)]
        await asyncio.gather(*(store.conversations.add("ada", "c", items(*batch)) for batch in batches))
        assert await ids(store) == [item_id for batch in batches for item_id in batch]

    @scenario
    async def test_a_page_that_begins_at_nothing_is_not_found(self, store: Store) -> None:
        await open_conversation(store, "a")
        for query in (ListQuery(after="nothing"), ListQuery(before="nothing")):
            with pytest.raises(NotFound, match="Item with id 'nothing'"):
                await store.conversations.items("ada", "c", query)

    # --- runs ---------------------------------------------------------------------------------

    @scenario
    async def test_what_a_run_adds_is_seen_when_it_ended_and_all_at_once(self, store: Store) -> None:
        await open_conversation(store, "a")
        await start(store, "r")
        assert await ids(store) == ["a"]
        await end(store, "r")
        assert await ids(store) == ["a", "r_in", "r_out"]

    @scenario
    async def test_runs_that_race_are_appended_whole_in_the_order_of_their_ends(self, store: Store) -> None:
        await open_conversation(store)
        runs = [f"r{n}" for n in range(6)]
        await asyncio.gather(*(start(store, run) for run in runs))
        await asyncio.gather(*(end(store, run) for run in reversed(runs)))
        assert await ids(store) == [f"{run}_{side}" for run in reversed(runs) for side in ("in", "out")]

    @scenario
    async def test_a_run_that_ran_into_its_limit_is_part_of_the_conversation(self, store: Store) -> None:
        await open_conversation(store)
        await start(store, "r")
        said = [message("half", id="m", status="incomplete")]
        said.append({"type": "function_call", "id": "f", "call_id": "1", "arguments": "{", "status": "incomplete"})
        await store.finish("ada", "r", [finished("incomplete")], finished("incomplete"), output_items=said)
        assert await ids(store) == ["r_in", "m", "f"]
        assert await seen(store) == ["r_in", "m"]  # nobody may answer half a call

    @scenario
    async def test_a_run_that_failed_or_was_cancelled_leaves_the_conversation_as_it_was(self, store: Store) -> None:
        await open_conversation(store, "a")
        statuses: list[RunStatus] = ["failed", "cancelled"]
        for status in statuses:
            await start(store, status)
            await end(store, status, status)
        assert await ids(store) == ["a"]

    @scenario
    async def test_an_item_is_taken_while_a_run_that_will_add_it_is_going(self, store: Store) -> None:
        await open_conversation(store, "a")
        await start(store, "r")
        past = await store.conversations.history("ada", "c")
        for item_id in ("a", "r_in"):
            with pytest.raises(DuplicateItem):
                await store.begin("ada", started("s"), parent=None, input_items=items(item_id), conversation=past)
            with pytest.raises(DuplicateItem):
                await store.conversations.add("ada", "c", items(item_id))
        await end(store, "r", "failed")
        await store.conversations.add("ada", "c", items("r_in"))
        assert await ids(store) == ["a", "r_in"]

    @scenario
    async def test_a_chain_that_began_in_a_conversation_keeps_to_that_moment(self, store: Store) -> None:
        await open_conversation(store, "a", "b")
        await start(store, "r")
        await take(store, "other")
        await end(store, "r")
        await begin(store, "child", parent="r", id="child_in")
        await end(store, "child")
        await store.conversations.add("ada", "c", items("later"))
        await store.conversations.remove("ada", "c", "b")
        history = await store.history("ada", "child")
        assert [item["id"] for item in history] == ["a", "r_in", "r_out", "child_in", "child_out"]

    @scenario
    async def test_a_run_whose_conversation_is_deleted_ends_all_the_same(self, store: Store) -> None:
        await open_conversation(store, "a")
        await start(store, "r")
        await store.conversations.delete("ada", "c")
        await end(store, "r")
        assert [item["id"] for item in await store.history("ada", "r")] == ["r_in", "r_out"]
        with pytest.raises(NotFound):
            await store.conversations.get("ada", "c")

    @scenario
    async def test_a_run_cannot_begin_in_a_conversation_that_is_gone(self, store: Store) -> None:
        await open_conversation(store)
        past = await store.conversations.history("ada", "c")
        await store.conversations.delete("ada", "c")
        with pytest.raises(NotFound, match="Conversation with id 'c'"):
            await store.begin("ada", started("r"), parent=None, input_items=[], conversation=past)
        assert await store.unfinished() == []

    # --- deletion -----------------------------------------------------------------------------

    @scenario
    async def test_an_item_that_is_removed_from_a_conversation_stays_with_its_run(self, store: Store) -> None:
        await open_conversation(store, "a")
        await take(store, "r")
        left = await store.conversations.remove("ada", "c", "r_out")
        assert left == await store.conversations.get("ada", "c")
        await store.conversations.remove("ada", "c", "a")
        assert await ids(store) == await seen(store) == ["r_in"]
        assert await store.items("ada", ["a", "r_out"]) == {"r_out": items("r_out")[0]}
        for item_id in ("a", "r_out"):
            with pytest.raises(NotFound, match=f"Item with id '{item_id}'"):
                await store.conversations.item("ada", "c", item_id)
            with pytest.raises(NotFound, match=f"Item with id '{item_id}'"):
                await store.conversations.remove("ada", "c", item_id)

    @scenario
    async def test_what_a_deleted_run_said_stays_in_the_conversation_until_it_is_removed(self, store: Store) -> None:
        await open_conversation(store)
        await take(store, "r")
        await store.delete("ada", "r")
        assert await ids(store) == ["r_in", "r_out"]
        await store.conversations.remove("ada", "c", "r_in")
        assert set(await store.items("ada", ["r_in", "r_out"])) == {"r_out"}
        await store.conversations.delete("ada", "c")
        assert await store.items("ada", ["r_in", "r_out"]) == {}
        await start_again(store, "r")

    @scenario
    async def test_deleting_a_conversation_leaves_its_runs(self, store: Store) -> None:
        await open_conversation(store, "a")
        await take(store, "r")
        await store.conversations.delete("ada", "c")
        assert [item["id"] for item in await store.history("ada", "r")] == ["r_in", "r_out"]
        assert set(await store.items("ada", ["a", "r_in", "r_out"])) == {"r_in", "r_out"}

    # --- items by id, and a run's input -------------------------------------------------------

    @scenario
    async def test_of_items_with_one_id_the_newest_is_found_and_no_half_a_call(self, store: Store) -> None:
        await begin(store, "r", id="msg")
        said = [{"type": "function_call", "id": "fc", "call_id": "1", "arguments": "{", "status": "incomplete"}]
        await store.finish("ada", "r", [finished("incomplete")], finished("incomplete"), output_items=said)
        await begin(store, "s", id="msg")
        found = await store.items("ada", ["msg", "fc", "nothing"])
        assert {item_id: item["content"] for item_id, item in found.items()} == {"msg": "s asks"}

    @scenario
    async def test_what_only_a_deleted_run_said_is_not_found_by_its_id(self, store: Store) -> None:
        await begin(store, "r", id="r_in")
        await end(store, "r")
        await begin(store, "child", parent="r", id="child_in")
        await store.delete("ada", "r")  # kept, since the child builds on it
        assert set(await store.items("ada", ["r_in", "r_out", "child_in"])) == {"child_in"}

    @scenario
    async def test_a_runs_input_is_its_own_and_goes_with_it(self, store: Store) -> None:
        await store.begin("ada", started("r"), parent=None, input_items=items("a", "b"))
        assert [item["id"] for item in (await store.input_items("ada", "r", EVERYTHING)).items] == ["a", "b"]
        with pytest.raises(Conflict):
            await store.delete("ada", "r")
        await end(store, "r")
        await begin(store, "child", parent="r", id="c")
        assert [item["id"] for item in (await store.input_items("ada", "child", EVERYTHING)).items] == ["c"]
        await store.delete("ada", "r")
        with pytest.raises(NotFound):
            await store.input_items("ada", "r", EVERYTHING)

    # --- owners -------------------------------------------------------------------------------

    @scenario
    async def test_nobody_reaches_a_conversation_of_somebody_else(self, store: Store) -> None:
        await open_conversation(store, "a")
        await take(store, "r")
        past = await store.conversations.history("ada", "c")
        for call in (
            store.conversations.get("bob", "c"),
            store.conversations.update("bob", "c", {}),
            store.conversations.delete("bob", "c"),
            store.conversations.add("bob", "c", items("b")),
            store.conversations.remove("bob", "c", "a"),
            store.conversations.item("bob", "c", "a"),
            store.conversations.items("bob", "c", EVERYTHING),
            store.conversations.history("bob", "c"),
            store.begin("bob", started("s"), parent=None, input_items=[], conversation=past),
            store.input_items("bob", "r", EVERYTHING),
        ):
            with pytest.raises(NotFound):
                await call
        assert await store.items("bob", ["a", "r_in", "r_out"]) == {}
        assert await ids(store) == ["a", "r_in", "r_out"]

    @scenario
    async def test_owners_may_use_the_same_ids_in_conversations(self, store: Store) -> None:
        for owner in ("ada", "bob"):
            await open_conversation(store, "a", owner=owner)
            await start(store, "r", owner=owner)
            await end(store, "r", owner=owner)
        await store.conversations.delete("ada", "c")
        assert await ids(store, owner="bob") == ["a", "r_in", "r_out"]


async def start_again(store: Store, run: str) -> None:
    """Nothing is left of a run if its id is free."""
    await store.begin("ada", started(run), parent=None, input_items=[])
