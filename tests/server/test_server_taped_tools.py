"""Calls of the server's tools are interactions: recorded beside the model's, played, or made live and compared."""

import json
from pathlib import Path
from typing import Any

import chat_upstream
import openai
import pytest
from mcp_workflows import Served, calling, dev, served, spoken, tools_over

from antiphon.cassettes import read

ALICE = ("get_user_id", '{"username": "alice"}')
BOTH = [calling(ALICE, ("get_user_permissions", '{"user_id": "user_12345"}')), spoken("Done.")]


def ask(server: Served, *tools: dict[str, Any]) -> Any:
    return server.client.responses.create(model="gpt-4o", input="?", tools=[*tools] or [dev()])  # type: ignore[list-item]


def told(response: Any) -> list[str | None]:
    return [item.output for item in response.output if item.type == "mcp_call"]


def tools_in(cassette: Path) -> list[str]:
    return [each.tool.name for each in read(cassette) if each.tool is not None]


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Two calls side by side, recorded."""
    with tools_over("http") as toml, served(tmp_path, BOTH, toml=toml, mode="auto", live=()) as server:
        assert told(ask(server)) == ["user_12345", "read,write"]
    return tmp_path / "turns.jsonl"


def test_lists_and_calls_are_recorded_beside_the_calls_of_the_model(cassette: Path) -> None:
    assert sorted(tools_in(cassette)) == ["dev/get_user_id", "dev/get_user_permissions", "dev:tools/list"]
    found = next(each.tool for each in read(cassette) if each.tool and each.tool.name == "dev/get_user_id")
    assert (found.arguments, found.result["output"]) == ({"username": "alice"}, "user_12345")


def test_a_replay_needs_no_server_of_tools_and_no_word_of_it_in_the_configuration(cassette: Path) -> None:
    with served(cassette.parent, [], live=()) as server:
        response = ask(server)
    assert told(response) == ["user_12345", "read,write"]
    assert response.output_text == "Done."


def test_a_tool_that_is_to_be_called_live_is_and_what_it_gives_now_is_compared(cassette: Path) -> None:
    was = cassette.read_text()
    cassette.write_text(was.replace('"output":"user_12345"', '"output":"old"').replace("read,write", "nothing"))
    with tools_over("http") as toml, served(cassette.parent, [], toml=toml, live=["dev/get_user_id"]) as server:
        response = ask(server)
    assert told(response) == ["user_12345", "nothing"], "the one live, the other recorded"
    [divergence] = [line for line in server.differences if "gave something else live" in line]
    assert divergence.startswith("dev/get_user_id(")
    assert '"old"' in divergence


def test_a_call_that_was_not_recorded_is_said_with_what_would_help(tmp_path: Path) -> None:
    with served(tmp_path, BOTH, live=()) as server, pytest.raises(openai.APIStatusError) as refused:
        ask(server)
    assert "dev:tools/list" in str(refused.value)
    assert "[tools] live" in str(refused.value)


def test_a_failure_of_a_tool_is_recorded_and_comes_again_in_the_same_words(tmp_path: Path) -> None:
    turns = [calling(("fail", '{"words": "The disk is full."}')), spoken("Sorry.")]
    tool = dev(allowed_tools=["fail"])
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml, mode="auto", live=()) as server:
        first = ask(server, tool)
    with served(tmp_path, [], live=()) as server:
        second = ask(server, tool)
    assert first.output[1].error == second.output[1].error
    assert "The disk is full." in str(second.output[1].error)


def test_record_writes_calls_of_tools_too_and_no_secret_of_theirs(tmp_path: Path) -> None:
    cassette, config = tmp_path / "run.jsonl", tmp_path / "antiphon.toml"
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": ALICE[0], "arguments": ALICE[1]}}
    with tools_over("http") as toml:
        config.write_text(toml + 'headers = {"x-key" = "s3cret-of-the-server"}\n')
        with chat_upstream.served(tmp_path, toml=config, record=str(cassette)) as server:
            server.say(chat_upstream.chunk(chat_upstream.delta(tool_calls=[call], finish_reason="tool_calls")))
            server.say(chat_upstream.chunk(chat_upstream.delta(content="Done.", finish_reason="stop")))
            server.client.responses.create(model="m", input="?", tools=[dev()])  # type: ignore[list-item]
    assert [each.kind for each in read(cassette)] == ["tool", "http", "tool", "http"]
    assert "s3cret-of-the-server" not in cassette.read_text()


def test_a_file_search_is_recorded_and_played_without_a_store(tmp_path: Path) -> None:
    turns = [calling(("file_search", '{"query": "maverick"}')), spoken("128.")]
    with served(tmp_path, turns, mode="auto", live=()) as server:
        file = server.client.files.create(file=("notes.txt", b"maverick has 128 experts"), purpose="assistants")
        store = server.client.vector_stores.create()
        server.client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, poll_interval_ms=20)
        first = ask(server, {"type": "file_search", "vector_store_ids": [store.id]})
    assert tools_in(tmp_path / "turns.jsonl") == ["file_search"]
    for path in [*tmp_path.glob("antiphon.db*")]:
        path.unlink()
    with served(tmp_path, [], live=()) as server:
        second = ask(server, {"type": "file_search", "vector_store_ids": [store.id]})
    assert first.output_text == second.output_text == "128."
    assert "128 experts" in json.dumps(server.sent[1]["messages"][-1])
