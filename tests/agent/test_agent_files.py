"""Files as a tool of an agent: added, searched, cited."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, VectorStore
from antiphon.errors import ExtractionError, NotFound, UsageError
from antiphon.events import AnnotationAdded, ModelEvent
from antiphon.testing import ScriptedProvider, text_turn, tool_turn

TEA = b"# Tea\n\nGreen tea is steeped at eighty degrees.\n"
COFFEE = b"# Coffee\n\nEspresso is brewed under nine bars.\n"


def searching(query: str) -> list[list[ModelEvent]]:
    return tool_turn(("c1", "file_search", f'{{"query": "{query}"}}'), kind="file_search")


async def filled(path: Path, **options: Any) -> VectorStore:
    store = VectorStore(path, **options)
    await store.add(TEA, name="tea.md", attributes={"kind": "tea"})
    await store.add(COFFEE, name="coffee.md", attributes={"kind": "coffee"})
    return store


def test_an_agent_answers_from_files_and_cites_them(tmp_path: Path) -> None:
    async def run() -> Any:
        store = await filled(tmp_path)
        tea = (await store.search("how hot is green tea")).hits[0].file_id
        scripts = [searching("green tea"), text_turn("Eighty degrees <|", f"{tea}|>.", turn=1)]
        async with Agent("m", provider=ScriptedProvider(*scripts), tools=[store]) as agent:
            return tea, await agent.run("How hot is green tea?")

    tea, result = asyncio.run(run())
    assert result.text == "Eighty degrees."
    assert [item["type"] for item in result.items] == ["file_search_call", "message"]
    (cited,) = [event.annotation for event in result.events if isinstance(event, AnnotationAdded)]
    assert (cited["file_id"], cited["filename"]) == (tea, "tea.md")


def test_what_was_added_is_found_by_the_next_process_and_what_was_removed_is_not(tmp_path: Path) -> None:
    async def run() -> list[list[str]]:
        async with await filled(tmp_path) as store:
            await store.remove("coffee.md")
        async with VectorStore(tmp_path) as again:
            found = [[hit.filename for hit in (await again.search(query)).hits] for query in ("green tea", "espresso")]
            with pytest.raises(NotFound):
                await again.remove("coffee.md")
        return found

    assert asyncio.run(run()) == [["tea.md"], []]


def test_filters_hold_for_what_the_model_may_find(tmp_path: Path) -> None:
    async def run() -> list[str]:
        only_tea = {"type": "eq", "key": "kind", "value": "tea"}
        async with await filled(tmp_path, filters=only_tea) as store:
            return [hit.filename for hit in (await store.search("tea espresso")).hits]

    assert asyncio.run(run()) == ["tea.md"]


def test_a_search_that_fails_is_told_and_is_no_empty_result(tmp_path: Path) -> None:
    broken = {"type": "like", "key": "kind", "value": "tea"}

    async def run() -> Any:
        store = await filled(tmp_path, filters=broken)
        scripts = [searching("green tea"), text_turn("I cannot search.", turn=1)]
        async with Agent("m", provider=ScriptedProvider(*scripts), tools=[store]) as agent:
            return await agent.run("?")

    call = asyncio.run(run()).items[0]
    assert call["status"] == "failed"


def test_what_cannot_be_added_says_why(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    with pytest.raises(UsageError, match="needs a name"):
        asyncio.run(store.add(b"x"))
    with pytest.raises(ExtractionError):
        asyncio.run(store.add(b"\x00\x01\x02\xff", name="junk.txt"))


def test_two_searches_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Two searches are called 'file_search'"):
        Agent("m", provider=ScriptedProvider(), tools=[VectorStore(tmp_path / "a"), VectorStore(tmp_path / "b")])
