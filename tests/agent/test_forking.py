"""A stored run goes on live from one of its turns, as a run of its own; what came before is not done again."""

import asyncio
from typing import Any

import msgspec
import pytest

from antiphon.agent.acting import Tool
from antiphon.agent.comparison import first_difference
from antiphon.agent.effects import ToolCall
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.agent.turns import turns
from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import InvalidRequest, ModelNotFound, NotFound
from antiphon.events import ModelEvent, RunEvent, RunStarted, TurnStarted
from antiphon.rendering.responses import ResponsesRenderer, response_object
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.wire.lists import ListQuery
from antiphon.wire.responses import decode_request

STEP = {"type": "function", "name": "step", "parameters": {"type": "object", "properties": {}}}


class World:
    """A runner with one tool and two models, of which each has a script."""

    def __init__(self, *old: list[list[ModelEvent]], new: list[list[list[ModelEvent]]]) -> None:
        self.ran: list[str] = []
        self.keys: list[str] = []
        self.models = {"old": ScriptedProvider(*old, name="old"), "new": ScriptedProvider(*new, name="new")}
        self.store = SqliteStore.open(None, clock=FakeClock())
        self.runner = Runner(
            store=self.store,
            resolve=self._resolve,
            clock=FakeClock(),
            ids=CountingIds(),
            tools={"step": Tool(self._step)},
        )

    def _resolve(self, model: str) -> list[Target]:
        if model not in self.models:
            raise ModelNotFound(model)
        return [Target(self.models[model], model)]

    async def _step(self, call: ToolCall) -> str:
        self.ran.append(call.arguments)
        self.keys.append(call.idempotency_key)
        return f"done {call.arguments}"

    async def ask(self, **fields: Any) -> list[RunEvent]:
        body = msgspec.json.encode({"model": "old", "input": "go", "tools": [STEP], **fields})
        return [event async for batch in self.runner.run("me", decode_request(body)) for event in batch]

    async def fork(self, run: list[RunEvent], at: int, model: str | None = "new") -> list[RunEvent]:
        batches = self.runner.fork("me", name(run), at=at, model=model)
        return [event async for batch in batches for event in batch]


def name(events: list[RunEvent]) -> str:
    started = events[0]
    assert isinstance(started, RunStarted)
    return started.run


def call(number: int) -> list[list[ModelEvent]]:
    return tool_turn((f"c{number}", "step", f'{{"n":{number}}}'), turn=number)


def three_steps(*new: list[list[ModelEvent]]) -> World:
    return World(call(0), call(1), call(2), text_turn("old end", turn=3), new=[*new])


def test_the_turns_before_are_kept_and_their_tools_not_run_again() -> None:
    async def run() -> tuple[list[RunEvent], list[RunEvent], World]:
        world = three_steps(text_turn("new end", turn=2))
        old = await world.ask()
        world.ran.clear()
        return old, await world.fork(old, 2), world

    old, new, world = asyncio.run(run())
    assert world.ran == []
    assert [turn.rows for turn in turns(new)[:2]] == [turn.rows for turn in turns(old)[:2]]
    assert [item["type"] for item in response_object(new)["output"]][-1] == "message"
    assert [call.turn for call in world.models["new"].calls] == [2]
    assert [item.get("output") for item in world.models["new"].calls[0].items if "output" in item] == [
        'done {"n":0}',
        'done {"n":1}',
    ]


def test_a_fork_is_a_response_of_its_own_that_says_where_it_comes_from() -> None:
    async def run() -> tuple[list[RunEvent], list[RunEvent], list[RunEvent]]:
        world = three_steps(text_turn("new end", turn=1))
        old = await world.ask()
        new = await world.fork(old, 1)
        return old, new, await world.runner.events("me", name(new))

    old, new, stored = asyncio.run(run())
    shown = response_object(new)
    assert shown["antiphon"] == {"forked_from": {"response": name(old), "turn": 1}}
    assert (shown["model"], shown["status"]) == ("new", "completed")
    assert shown["id"] != name(old)
    assert stored == new
    assert "antiphon" not in response_object(old)
    ids = {item["id"] for item in shown["output"]} & {item["id"] for item in response_object(old)["output"]}
    assert not ids, "items of two responses share no id"


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_fork_goes_on_from_every_turn(at: int) -> None:
    async def run() -> tuple[list[RunEvent], list[str]]:
        world = three_steps(*(call(turn) for turn in range(at, 3)), text_turn("new end", turn=3))
        old = await world.ask()
        world.ran.clear()
        return await world.fork(old, at), world.ran

    new, ran = asyncio.run(run())
    assert ran == [f'{{"n":{number}}}' for number in range(at, 3)]
    models = [event.model for event in new if isinstance(event, TurnStarted)]
    assert models == ["old"] * at + ["new"] * (4 - at)
    assert ResponsesRenderer().render(new)[-1].type == "response.completed"


def test_calls_after_the_fork_have_keys_of_their_own() -> None:
    async def run() -> list[str]:
        world = three_steps(call(0), text_turn("end", turn=1))
        await world.fork(await world.ask(), 0)
        return world.keys

    keys = asyncio.run(run())
    assert len(set(keys)) == len(keys) == 4, "a call of the fork is another call"


def test_a_fork_follows_the_same_response_and_can_be_continued() -> None:
    async def run() -> tuple[list[Any], list[Any]]:
        world = World(
            text_turn("first"), text_turn("second"), new=[text_turn("other second"), text_turn("third", turn=0)]
        )
        first = await world.ask(input="one")
        old = await world.ask(input="two", previous_response_id=name(first))
        new = await world.fork(old, 0)
        await world.ask(input="three", model="new", previous_response_id=name(new))
        own = await world.store.input_items("me", name(new), ListQuery())
        return [said(item) for item in own.items], [said(item) for item in world.models["new"].calls[1].items]

    own, seen = asyncio.run(run())
    assert own == ["two"]
    assert seen == ["one", "first", "two", "other second", "three"]


def said(item: dict[str, Any]) -> str:
    return "".join(part["text"] for part in item["content"])


def test_a_conversation_stays_with_the_run_that_was_made_in_it() -> None:
    async def run() -> tuple[list[str], list[str]]:
        world = World(text_turn("first"), text_turn("second"), new=[text_turn("other")])
        await world.store.conversations.create("me", "conv_1", metadata={}, items=[])
        await world.ask(input="one", conversation="conv_1")
        old = await world.ask(input="two", conversation="conv_1")
        await world.fork(old, 0)
        page = await world.store.conversations.items("me", "conv_1", ListQuery(order="asc"))
        return [said(item) for item in page.items], [said(item) for item in world.models["new"].calls[0].items]

    held, seen = asyncio.run(run())
    assert held == ["one", "first", "two", "second"]
    assert seen == ["one", "first", "two"]


def test_what_cannot_be_forked_is_said_before_anything_begins() -> None:
    async def run() -> tuple[str, list[Any]]:
        world = three_steps()
        old = await world.ask()
        with pytest.raises(InvalidRequest, match="Its last turn is 3") as refused:
            await world.fork(old, 4)
        with pytest.raises(ModelNotFound):
            await world.fork(old, 1, "nobody")
        with pytest.raises(NotFound):
            await anext(world.runner.fork("somebody else", name(old), at=0))
        return refused.value.message, await world.store.unfinished()

    message, left = asyncio.run(run())
    assert "cannot be forked at turn 4" in message
    assert left == []


def test_the_first_difference_of_two_runs_is_found() -> None:
    async def run() -> tuple[list[RunEvent], list[RunEvent], list[RunEvent]]:
        world = three_steps(text_turn("new end", turn=2), *(call(2), text_turn("old end", turn=3)))
        old = await world.ask()
        return old, await world.fork(old, 2), await world.fork(old, 2)

    old, new, same = asyncio.run(run())
    found = first_difference(old, new)
    assert str(found) == 'turn 2\n  - calls step({"n":2})\n  + assistant new end'
    assert first_difference(old, same) is None
