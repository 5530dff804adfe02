"""Recordings that nobody on this project made must say what two independent programs say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cassette_fakes import CORPUS, SEEDS, need

from antiphon.cassettes import read
from antiphon.cassettes.view import inspect
from antiphon.errors import CassetteError

# Where the expectation is held to be wrong: file -> the keys that differ, and why.
WRONG_EXPECTATIONS = {
    "pydantic-ai/tests/models/cassettes/test_snowflake/test_snowflake_thinking_streaming.yaml": (
        {"reasoning", "finish_reason"},
        "reasoning_details are reasoning (Q64); [DONE] without a finish reason is a stop (Q38)",
    ),
    "pydantic-ai/tests/models/cassettes/test_groq/test_groq_model_web_search_tool_stream.yaml": (
        {"role"},
        "the stream never names the role; an answer's is assistant",
    ),
    "vercel-ai/packages/mistral/src/__fixtures__/mistral-incremental-tool-call.chunks.txt": (
        {"role"},
        "the stream never names the role; an answer's is assistant",
    ),
}
NOT_HTTP = ("aimock-fixture", "pydantic-ws", "pydantic-xai-grpc")


def rows(name: str) -> Iterator[dict[str, Any]]:
    with need(CORPUS / name).open() as file:
        for line in file:
            yield json.loads(line)


def seen(path: Path) -> dict[int, dict[str, Any]]:
    return {each["interaction"]: each for each in inspect(path)}


def differing(expected: dict[str, Any], choice: dict[str, Any]) -> set[str]:
    """The keys of a choice in which it is not what was expected; what is not mentioned is nothing."""
    keys = ("index", "role", "content", "reasoning", "tool_calls", "finish_reason")
    return {key for key in keys if (expected.get(key) or None) != (choice[key] or None)}


SEED_NAMES = [
    "chunks.log",
    "chunks.jsonl",
    "multi_tool_streaming.yaml",
    "ogx_sequential_file_search.json",
    "ogx_streaming_multi_turn_tool_execution.json",
    "from_diff/Common_simple.yaml",
    "from_diff/Common_simple_streaming.yaml",
    "from_diff/Common_tool_streaming.yaml",
    "from_diff/Thinking_thinking-streaming.yaml",
]


@pytest.mark.parametrize("name", SEED_NAMES)
def test_a_seed_recording_says_what_is_expected(name: str) -> None:
    expected = json.loads(need(SEEDS / "expected.json").read_text())[name]
    interactions = expected.get("interactions", [expected])
    found = list(inspect(SEEDS / name))
    assert [each["interaction"] for each in found] == list(range(len(interactions)))
    for want, got in zip(interactions, found, strict=True):
        assert got["stream"] == want["stream"]
        assert got["usage"] == want["usage"]
        assert got["diagnostics"] == []
        assert len(got["choices"]) == len(want["choices"])
        for want_choice, choice in zip(want["choices"], got["choices"], strict=True):
            assert not differing(want_choice, choice)


@pytest.mark.slow
def test_every_http_recording_of_the_corpus_is_read() -> None:
    wrong = []
    for row in rows("MANIFEST.jsonl"):
        try:
            count: int | str = len(list(read(CORPUS / row["path"])))
        except CassetteError as error:
            count = str(error)
        is_http = not row["format"].startswith(NOT_HTTP)
        if (count != row["n_interactions"]) if is_http else ("not HTTP" not in str(count)):
            wrong.append((row["path"], count))
    assert wrong == []


@pytest.mark.slow
def test_every_recorded_chat_stream_says_what_is_expected() -> None:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    wrong = []
    for row in rows("expected.jsonl"):
        name = row["file"]
        got = found.setdefault(name, seen(CORPUS / name))[row["interaction"]]
        choice = next((each for each in got["choices"] if each["index"] == row["choice"]), None)
        keys = {"choice"} if choice is None else differing({**row, "index": row["choice"]}, choice)
        keys |= {key for key, right in (("stream", True), ("usage", row["usage"])) if got[key] != right}
        if keys - WRONG_EXPECTATIONS.get(name, (set(), ""))[0]:
            wrong.append((name, row["interaction"], keys))
    assert wrong == []


def shown(item: dict[str, Any], key: str) -> Any:
    """A value of an output item, as the expectations write it: texts as lists of strings."""
    lists = {"text": "content", "reasoning_text": "content", "summary": "summary"}
    if key in lists:
        return [part.get("text") for part in item.get(lists[key]) or []]
    return item.get(key)


@pytest.mark.slow
def test_every_recorded_responses_stream_folds_to_what_is_expected() -> None:
    wrong = []
    for row in rows("expected_responses.jsonl"):
        got = seen(CORPUS / row["file"])[row["interaction"]]["response"]
        want = row["final"]
        keys = {key for key in want if key != "output" and got.get(key) != want[key]}
        items = [
            {key: shown(item, key) for key in wanted}
            for item, wanted in zip(got["output"], want["output"], strict=False)
        ]
        if items != want["output"] or len(got["output"]) != len(items):
            keys.add("output")
        if keys:
            wrong.append((row["file"], row["interaction"], keys))
    assert wrong == []
