"""Any provider's Responses stream, whole or cut, becomes one Response object."""

import copy
import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from event_sequences import few
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rendering.fold import HANDLERS as HANDLED
from antiphon.rendering.fold import fold
from antiphon.sse import SSEDecoder

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
LISTED = CORPUS / "expected_responses.jsonl"
EXPECTED = [json.loads(line) for line in LISTED.read_text().splitlines()] if LISTED.exists() else []
# Where the streamed items do not add up to the final ones, by the corpus's own account (responses_mismatches.jsonl):
# other ids, an item fewer, other text.
UNLIKE = {
    "test_openai_responses_raw_cot_stream_openrouter",
    "azure-reasoning-encrypted-content.1.chunks",
    "github-copilot-id-rotation.1.chunks",
    "openai-reasoning-encrypted-content.1.chunks",
    "openai-shell-container.1.chunks",
}

in_progress = {"id": "resp_1", "status": "in_progress", "output": []}
created = {"type": "response.created", "response": in_progress}


def delta(kind: str, text: str, **place: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "delta": text, **place}


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def test_no_events_amount_to_nothing() -> None:
    assert fold([]) == {}


def test_the_terminal_event_has_the_last_word() -> None:
    whole = {"id": "resp_1", "status": "completed", "output": [{"type": "message", "id": "m"}]}
    assert fold([created, added(0, {"id": "other"}), {"type": "response.completed", "response": whole}]) == whole


def test_a_terminal_event_without_output_gets_the_streamed_items() -> None:
    item = {"type": "message", "id": "m"}
    for output in ({}, {"output": None}, {"output": []}):
        last = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", **output}}
        assert fold([created, added(0, item), last])["output"] == [item]


def test_a_cut_stream_keeps_what_came_and_is_incomplete() -> None:
    message = {"type": "message", "id": "m", "status": "in_progress", "role": "assistant", "content": []}
    folded = fold(
        [
            created,
            added(1, message),
            delta("output_text", "Hel", output_index=1, content_index=0),
            delta("output_text", "lo", output_index=1, content_index=0),
            added(0, {"type": "function_call", "id": "f", "arguments": ""}),
            delta("function_call_arguments", '{"a', output_index=0),
        ]
    )
    assert folded["status"] == "incomplete"
    assert folded["incomplete_details"] == {"reason": "stream_ended"}
    call, text = folded["output"]
    assert call["arguments"] == '{"a'
    assert text["content"] == [{"type": "output_text", "text": "Hello"}]
    assert message["content"] == []


@pytest.mark.parametrize("nested", [True, False])
def test_an_error_event_makes_the_response_failed(nested: bool) -> None:
    error = {"code": "server_error", "message": "boom"}
    event = {"type": "error", "error": error} if nested else {"type": "error", **error}
    assert fold([created, event]) == {**in_progress, "status": "failed", "error": error}


def test_events_without_an_output_index_find_their_item_by_its_id() -> None:
    events = [
        {"type": "response.output_item.added", "item": {"type": "message", "id": "m", "content": []}},
        delta("refusal", "No", item_id="m"),
        delta("refusal", ".", item_id="m"),
        delta("custom_tool_call_input", "x", item_id="c"),
    ]
    message, call = fold(events)["output"]
    assert message["content"] == [{"type": "refusal", "refusal": "No."}]
    assert call == {"id": "c", "input": "x"}


def test_absurd_places_and_types_neither_fail_nor_fill_the_memory() -> None:
    events = [
        added(0, {"type": "tool_search_call", "arguments": {"query": "x"}}),
        delta("function_call_arguments", "{", output_index=0),
        {"type": "response.output_item.added", "output_index": 1, "item": "m"},
        delta("output_text", "far", output_index=1, content_index=10**12),
        delta("output_text", " out", output_index=1, content_index=10**12),
        delta("output_text", None, output_index=1, content_index=None),  # type: ignore[arg-type]
        {"type": "response.content_part.done", "output_index": 1, "content_index": -1, "part": 7},
        {"type": 7},
        {"type": "response.in_progress", "response": None},
    ]
    folded = fold(events)
    assert folded["output"][0]["arguments"] == {"query": "x"}
    assert folded["output"][1]["content"][0] == {"type": "output_text", "text": "far out"}


def test_an_item_that_is_announced_again_starts_anew() -> None:
    message = {"type": "message", "id": "m"}
    again = {**message, "content": [{"type": "output_text", "text": "new"}]}
    place = {"output_index": 0, "content_index": 0}
    events = [
        added(0, message),
        delta("output_text", "old", **place),
        added(0, again),
        delta("output_text", "er", **place),
    ]
    (item,) = fold(events)["output"]
    assert item["content"] == [{"type": "output_text", "text": "newer"}]
    assert again["content"] == [{"type": "output_text", "text": "new"}]


members = st.none() | st.integers(-1, 2) | st.just("m") | st.just({"type": "message", "content": "x"}) | st.just([7])
kinds = [*sorted(HANDLED), "response.created", "response.completed", "error", None]
names = ("response", "output_index", "content_index", "item", "item_id", "part", "delta", "text", "error")
wild_events = st.fixed_dictionaries({"type": st.sampled_from(kinds)}, optional=dict.fromkeys(names, members))


@few
@given(st.lists(wild_events))
def test_no_stream_of_objects_however_wrong_makes_it_fail(events: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(events)
    assert isinstance(fold(events), dict)
    assert events == before


# --- recordings ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def interactions(file: str) -> list[list[dict[str, Any]]]:
    """The decoded events of each interaction of a recording."""
    text = (CORPUS / file).read_text()
    if not file.endswith(".yaml"):
        return [[json.loads(line) for line in text.splitlines() if line.strip()]]
    recorded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [decoded(one["response"].get("body")) for one in recorded["interactions"]]


def decoded(body: Any) -> list[dict[str, Any]]:
    if isinstance(body, dict):
        body = body.get("string")
    raw = (body or "").encode() if isinstance(body, (str, type(None))) else body
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    decoder = SSEDecoder()
    events = decoder.feed(raw) + decoder.flush()
    return [json.loads(event.data) for event in events if event.data.startswith(b"{")]


def sketch(item: dict[str, Any]) -> dict[str, Any]:
    """An item as the corpus describes it."""
    shown = {
        name: item[name] for name in ("type", "id", "status", "call_id", "name", "arguments", "code") if name in item
    }
    if item["type"] == "message":
        shown["text"] = [part["text"] for part in item["content"] if part["type"] == "output_text"]
    for parts, name in (("summary", "summary"), ("content", "reasoning_text")):
        if item["type"] == "reasoning" and item.get(parts):
            shown[name] = [part["text"] for part in item[parts]]
    return {name: value for name, value in shown.items() if value is not None}


@pytest.mark.skipif(not EXPECTED, reason=f"no recordings at {CORPUS}")
@pytest.mark.parametrize(
    "expected", EXPECTED, ids=lambda expected: f"{Path(expected['file']).stem}-{expected['interaction']}"
)
def test_a_recorded_stream_folds_to_the_response_it_ended_with(expected: dict[str, Any]) -> None:
    events = interactions(expected["file"])[expected["interaction"]]
    folded, final = fold(events), expected["final"]
    assert {name: folded.get(name) for name in final if name != "output"} == {
        name: value for name, value in final.items() if name != "output"
    }
    assert [sketch(item) for item in folded["output"]] == final["output"]
    assert folded["output"] == events[-1]["response"]["output"]

    cut = fold(event for event in events if event["type"] not in ("response.completed", "response.output_item.done"))
    assert cut["status"] == "incomplete"
    if Path(expected["file"]).stem not in UNLIKE:
        kept = [item for item in cut["output"] if item["type"] in ("message", "function_call")]
        whole = [item for item in final["output"] if item["type"] in ("message", "function_call")]
        for mine, other in zip(kept, whole, strict=True):
            assert sketch({**mine, "status": None}) == sketch({**other, "status": None} | text_of(other))


def text_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "output_text", "text": text} for text in item.get("text", [])]}
