"""A chat completion is a run of the same loop, without tools or items of the server's."""

import asyncio
import json
from typing import Any

import pytest

from antiphon.agent.acting import Tool
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.errors import NotFound
from antiphon.events import RunEvent, RunFinished, RunStarted
from antiphon.rendering.chat import chat_completion
from antiphon.rendering.items import output_items
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.wire.chat_requests import CreateChatCompletion, decode_chat_request
from antiphon.wire.lists import ChatListQuery


def request(**fields: Any) -> CreateChatCompletion:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return decode_chat_request(json.dumps(body).encode())


def runner(store: SqliteStore, provider: ScriptedProvider, **options: Any) -> Runner:
    def resolve(model: str) -> list[Target]:
        return [Target(provider, model)]

    return Runner(store=store, resolve=resolve, clock=FakeClock(), ids=CountingIds(), **options)


async def events_of(runner: Runner, request: CreateChatCompletion) -> list[RunEvent]:
    return [event async for batch in runner.complete("ada", request) for event in batch]


def test_a_tool_of_the_servers_own_is_the_clients_in_a_chat() -> None:
    async def add(_: Any) -> str:
        raise AssertionError("nobody asked the server to")

    async def main() -> None:
        provider = ScriptedProvider(tool_turn(("c", "add", "{}")))
        made = runner(SqliteStore.open(None, clock=FakeClock()), provider, tools={"add": Tool(add)})
        completion = chat_completion(await events_of(made, request()))
        assert completion["choices"][0]["finish_reason"] == "tool_calls"

    asyncio.run(main())


def test_a_run_says_which_api_it_was_asked_by_and_keeps_the_whole_request() -> None:
    async def main() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        asked = request(store=True, vendor={"kept": True})
        events = await events_of(runner(store, ScriptedProvider(text_turn("hello"))), asked)
        started = events[0]
        assert isinstance(started, RunStarted)
        assert (started.api, started.request) == ("chat", asked.raw)
        assert (await store.chat("ada", started.run)).events == events

    asyncio.run(main())


def test_a_chat_is_stored_only_if_that_was_asked_for() -> None:
    async def main() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        made = runner(store, ScriptedProvider(text_turn("hello"), text_turn("hello")))
        for asked in (request(), request(store=False)):
            await events_of(made, asked)
        assert (await store.chats("ada", ChatListQuery())).chats == []

    asyncio.run(main())


def test_a_chat_has_no_items_that_a_response_could_refer_to() -> None:
    async def main() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        events = await events_of(runner(store, ScriptedProvider(text_turn("hello"))), request(store=True))
        started = events[0]
        assert isinstance(started, RunStarted)
        (item,) = output_items(events, started.run)
        assert await store.items("ada", [item["id"]]) == {}

    asyncio.run(main())


def test_a_chat_that_a_dead_process_left_is_failed_and_not_shown() -> None:
    async def main() -> None:
        store = SqliteStore.open(None, clock=FakeClock())
        started = RunStarted(run="chatcmpl_1", created_at_s=1, model="m", request=request().raw, api="chat")
        await store.begin("ada", started, parent=None, input_items=[])
        assert await runner(store, ScriptedProvider()).recover() == 1
        last = (await store.events("ada", "chatcmpl_1", api="chat"))[-1]
        assert isinstance(last, RunFinished)
        assert last.status == "failed"
        with pytest.raises(NotFound):
            await store.chat("ada", "chatcmpl_1")

    asyncio.run(main())


def test_a_chat_that_goes_is_no_response_to_be_followed() -> None:
    async def main() -> None:
        made = runner(SqliteStore.open(None, clock=FakeClock()), ScriptedProvider(text_turn("hello")))
        batches = made.complete("ada", request(store=True))
        started = (await anext(batches))[0]
        assert isinstance(started, RunStarted)
        with pytest.raises(NotFound):
            await anext(made.follow("ada", started.run))
        await batches.aclose()

    asyncio.run(main())
