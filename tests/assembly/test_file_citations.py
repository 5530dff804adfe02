import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.assembly.file_citations import MAX_MARKER_CHARS, FileCitations
from antiphon.events import (
    AnnotationAdded,
    Diagnostic,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallStarted,
)

FILES = {"file-abc123": "bread.txt", "file_0a1b2c": "salt.pdf", "doc7": "oil.md"}
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "ogx"


def stream(pieces: list[str], files: dict[str, str] = FILES) -> list[ModelEvent]:
    """What is left of a text in pieces, each a batch of its own."""
    citations = FileCitations(files)
    batches: list[list[ModelEvent]] = [
        [TextStarted(block="0.0")],
        *([TextDelta(block="0.0", text=piece)] for piece in pieces if piece),
        [TextFinished(block="0.0")],
    ]
    return [event for batch in batches for event in citations.let_through(batch)]


def said(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def cited(events: list[ModelEvent]) -> list[tuple[str, int]]:
    annotations = [event.annotation for event in events if isinstance(event, AnnotationAdded)]
    assert all(each["type"] == "file_citation" for each in annotations)
    assert all(each["filename"] == FILES[each["file_id"]] for each in annotations)
    return [(each["file_id"], each["index"]) for each in annotations]


def disclosed(events: list[ModelEvent]) -> list[str]:
    return [event.seen for event in events if isinstance(event, Diagnostic)]


# --- what is a marker ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marker",
    [
        "<|file-abc123|>",
        "<| file-abc123 |>",
        "<|file-abc123>",
        "<file-abc123|>",
        "<file-abc123>",
        "<|file_id|file-abc123|>",
        "<|file_id: file-abc123|>",
        "<|file-id|file-abc123|>",
        "<|cite|file-abc123|>",
        "<|source: file-abc123|>",
        "<|bread.txt|>",
        "<|file-abc123|bread.txt|>",
        "【file-abc123】",
        "【file-abc123†L1-L5】",
        "【0†bread.txt】",
        "【bread.txt】",
    ],
)
def test_what_models_make_of_a_marker_is_a_citation(marker: str) -> None:
    events = stream([f"A fact {marker}. More."])
    assert said(events) == "A fact. More."
    assert cited(events) == [("file-abc123", 6)]
    assert disclosed(events) == []


def test_several_files_in_a_marker_or_in_a_row_are_cited_each() -> None:
    events = stream(["One <|file-abc123|><|file_0a1b2c|>, two <|doc7, file-abc123|> <|doc7|>"])
    assert said(events) == "One, two"
    assert cited(events) == [("file-abc123", 3), ("file_0a1b2c", 3), ("file-abc123", 8), ("doc7", 8), ("doc7", 8)]


@pytest.mark.parametrize(
    "marker", ["<|file-xyz|>", "<|file-id|>", "<|file_99aabbcc|>", "【4:0†source】", "【file-xyz】"]
)
def test_a_marker_of_a_file_that_is_not_known_is_cut_and_disclosed(marker: str) -> None:
    events = stream([f"A fact {marker}."])
    assert (said(events), cited(events), disclosed(events)) == ("A fact.", [], [marker])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b and c > d",
        "cat <file_name> | wc",
        "<file-xyz>",
        "x <| f <| y",
        "<|im_end|>",
        "<|file_sep|> is a token",
        "<|source|>",
        "<|file-abc123\n|>",
        "【重要】お知らせ",
        "【未完",
        "<p>file-abc123</p>",
        "ends with a blank ",
        "ends with <",
        "ends with <|",
        "ends with <|file-abc123",
        "ends with <|file-abc123|",
        "<|file-" + "a" * MAX_MARKER_CHARS + "|>",
        "【" + "†" * MAX_MARKER_CHARS + "】",
    ],
)
def test_what_is_no_marker_stays_as_it_is(text: str) -> None:
    for pieces in ([text], list(text)):
        events = stream(pieces)
        assert said(events) == text
        assert not cited(events)
        assert not disclosed(events)


def test_without_known_files_markers_are_cut_too() -> None:
    assert said(stream(["A <|file-abc123|>."], {})) == "A."


# --- however it is split ------------------------------------------------------------------------

alphabet = st.sampled_from(
    [
        *(
            "<|file-abc123|>",
            " <|file_0a1b2c|>",
            "<file-abc123>",
            "【1†source】",
            "【doc7】",
            "<|file-xyz|>",
            "<|doc7|>",
        ),
        *("<", "|", ">", "【", "】", "†", " ", "\n", "file-abc123", "file", "a", "word ", ".", "<|file-", "<|", "doc7"),
    ]
)


@given(st.lists(alphabet, max_size=14).map("".join), st.data())
def test_any_split_gives_the_same_text_and_the_same_citations(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = stream([text])
    for split in (pieces, list(text)):
        events = stream(split)
        assert said(events) == said(expected)
        assert cited(events) == cited(expected)
        assert disclosed(events) == disclosed(expected)


markers = st.sampled_from(
    ["<|file-abc123|>", " <|file_0a1b2c|>", "<file-abc123>", "【1†source】", "【doc7】", "<|file-xyz|>"]
)
prose = st.sampled_from(["word", " ", ".", "\n", " a word of prose", "file-abc123", "†"])


@given(st.lists(st.one_of(markers, prose), max_size=14).map("".join), st.data())
def test_nobody_ever_sees_any_of_a_marker(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    citations = FileCitations(FILES)
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        shown = said(citations.let_through([TextDelta(block="0.0", text=text[start:end])]))
        assert not set("<>【】|") & set(shown)


@given(st.lists(alphabet, max_size=10).map("".join))
def test_citations_stand_within_the_text(text: str) -> None:
    events = stream(list(text))
    clean = said(events)
    assert all(0 <= index <= len(clean) for _, index in cited(events))


# --- what stays around it -----------------------------------------------------------------------


def test_deltas_without_markers_go_on_as_they_are() -> None:
    citations = FileCitations(FILES)
    events: list[ModelEvent] = [TextStarted(block="0.0"), TextDelta(block="0.0", text=" hello,")]
    assert citations.let_through(events) is events


def test_text_is_held_back_no_longer_than_needed() -> None:
    citations = FileCitations(FILES)
    pieces = ["see <", "b> or", " <|", "fil", "m|> or 【", "重要】"]
    shown = [said(citations.let_through([TextDelta(block="0.0", text=piece)])) for piece in pieces]
    assert shown == ["see", " <b> or", "", "", " <|film|> or", " 【重要】"]


def test_an_index_counts_all_of_the_text_before_it() -> None:
    events = stream(["Plain. ", "Also plain", " <|doc7|>", " and more 🥖", " <|doc7|>"])
    text = said(events)
    assert text == "Plain. Also plain and more 🥖"
    assert cited(events) == [("doc7", 17), ("doc7", len(text))]


def test_texts_side_by_side_do_not_mix() -> None:
    citations = FileCitations(FILES)
    events: list[ModelEvent] = [
        TextDelta(block="0.0", text="one <|do"),
        TextDelta(block="0.1", text="two <|file-"),
        ReasoningDelta(block="0.2", text="<|doc7|>"),
        ToolCallStarted(block="0.3", call_id="c", name="n"),
        TextDelta(block="0.0", text="c7|>"),
        TextDelta(block="0.1", text="abc123|>"),
    ]
    passed = citations.let_through(events)
    assert [event.text for event in passed if isinstance(event, TextDelta)] == ["one", "two"]
    assert events[2] in passed
    assert [(event.block, event.annotation["index"]) for event in passed if isinstance(event, AnnotationAdded)] == [
        ("0.0", 3),
        ("0.1", 3),
    ]


def logprobs(*tokens: str) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": -1.0} for token in tokens]


def test_log_probabilities_go_with_their_tokens_and_those_of_a_marker_are_dropped() -> None:
    citations = FileCitations(FILES)
    events: list[ModelEvent] = [
        TextDelta(block="0.0", text="fact <|", logprobs=logprobs("fact", " <", "|")),
        TextDelta(block="0.0", text="doc7|>. ", logprobs=logprobs("doc", "7", "|>", ".", " ")),
        TextFinished(block="0.0"),
    ]
    passed = citations.let_through(events)
    kept = [entry["token"] for event in passed if isinstance(event, TextDelta) for entry in event.logprobs]
    assert kept == ["fact", ".", " "]


@given(st.lists(st.sampled_from(["a", " ", "<", "|", "file", " b", "<|fi", "【"]), min_size=1, max_size=9))
def test_no_log_probability_is_lost_where_nothing_is_cut(tokens: list[str]) -> None:
    citations = FileCitations(FILES)
    events: list[ModelEvent] = [TextDelta(block="0.0", text=token, logprobs=logprobs(token)) for token in tokens]
    passed = citations.let_through([*events, TextFinished(block="0.0")])
    assert [entry["token"] for event in passed if isinstance(event, TextDelta) for entry in event.logprobs] == tokens


def test_citations_of_the_upstream_keep_their_places() -> None:
    citations = FileCitations(FILES)
    url = {"type": "url_citation", "url": "u", "start_index": 16, "end_index": 20, "title": ""}
    events: list[ModelEvent] = [
        TextDelta(block="0.0", text="fact <|doc7|>. And more"),
        AnnotationAdded(block="0.0", annotation=url),
    ]
    passed = citations.let_through(events)
    moved = passed[-1]
    assert isinstance(moved, AnnotationAdded)
    assert (
        "fact <|doc7|>. And more"[16:20]
        == said(passed)[moved.annotation["start_index"] : moved.annotation["end_index"]]
    )


# --- what models really wrote -------------------------------------------------------------------


def recorded_texts() -> Iterator[list[str]]:
    for path in sorted(CORPUS.rglob("recordings/*.json")):
        raw = path.read_text(encoding="utf-8")
        if "<|file-" not in raw:
            continue
        body = json.loads(raw)["response"]["body"]
        chunks = [chunk["__data__"] for chunk in body if isinstance(chunk, dict) and "__data__" in chunk]
        yield [
            choice["delta"].get("content") or ""
            for chunk in chunks
            for choice in chunk.get("choices", ())[:1]
            if "delta" in choice
        ]


@pytest.mark.skipif(not CORPUS.exists(), reason="the recordings of others are not here")
def test_no_recorded_answer_keeps_a_marker() -> None:
    texts = [pieces for pieces in recorded_texts() if "<|file-" in "".join(pieces)]
    assert len(texts) > 50
    for pieces in texts:
        raw = "".join(pieces)
        files = {part.partition("|>")[0]: "a.txt" for part in raw.split("<|") if part.startswith("file-")}
        events = stream(pieces, files)
        assert "<|" not in said(events)
        assert " ." not in said(events)
        assert len([event for event in events if isinstance(event, AnnotationAdded)]) == raw.count("<|file-")
