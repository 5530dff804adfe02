"""Recorded streams of many providers come to what two other programs agreed on, however their bytes are cut."""

import functools
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from assembly_streams import cut, feed, finished, told_calls
from stream_mutations import recorded

from antiphon.assembly.chat import assemble_chunks
from antiphon.events import (
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
)

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the recordings are not at {CORPUS}")

# Two programs that read neither field agreed that there was nothing in it.
READ_ELSEWHERE = {
    ("pydantic-ai/tests/models/cassettes/test_snowflake/test_snowflake_thinking_streaming.yaml", "reasoning"):
        "the text stands in reasoning_details (Q64)",
}  # fmt: skip


def read(name: str) -> Iterator[Any]:
    """The body of each interaction of a recording: bytes, or chunks; None where there is none to be read here."""
    path = CORPUS / name
    if path.suffix == ".yaml":
        for interaction in yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)["interactions"]:
            body = interaction["response"].get("body")
            body = body.get("string") if isinstance(body, dict) else body
            yield body.encode() if isinstance(body, str) else body
    elif path.suffix == ".json":
        body = json.loads(path.read_bytes())["response"]["body"]
        yield [part.get("__data__", part) for part in body] if isinstance(body, list) else None
    else:
        yield [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


@functools.cache
def expected() -> dict[tuple[str, int], list[dict[str, Any]]]:
    answers = defaultdict(list)
    for line in (CORPUS / "expected.jsonl").read_bytes().splitlines():
        answer = json.loads(line)
        answers[answer["file"], answer["interaction"]].append(answer)
    return answers


@functools.cache
def streams() -> list[tuple[str, int, bytes]]:
    found = []
    for name in sorted({name for name, _ in expected() if name.endswith(".yaml")}):
        for number, body in enumerate(read(name)):
            if (name, number) in expected() and isinstance(body, bytes) and body[:2] != b"\x1f\x8b":
                found.append((name, number, body))
    return found


def seen(events: list[ModelEvent], choice: int) -> dict[str, Any]:
    """One choice of an answer in the words of the expectations."""
    blocks = {event.block for event in events if getattr(event, "choice", None) == choice}
    end = finished(events)
    ids = {event.block: event for event in events if isinstance(event, ToolCallStarted) and event.block in blocks}
    whole = {event.block: event for event in events if isinstance(event, ToolCallFinished)}
    reason = end.provider_data.get("finish_reason", end.finish_reason)
    return {
        "content": "".join(e.text for e in events if isinstance(e, TextDelta) and e.block in blocks),
        "reasoning": "".join(e.text for e in events if isinstance(e, ReasoningDelta) and e.block in blocks),
        "tool_calls": [
            {"id": started.call_id, "name": started.name, "arguments": whole[block].arguments}
            for block, started in ids.items()
        ],
        "finish_reason": reason if choice == 0 else end.other_finish_reasons[choice],
        "usage": (end.usage and end.usage.raw) or None,
    }


def test_recorded_streams_come_to_what_was_expected() -> None:
    differences, count = [], 0
    for (name, number), answers in expected().items():
        body = list(read(name))[number] if not name.endswith(".yaml") else None
        if body is not None:
            bodies = [assemble_chunks(body)]
        else:
            bodies = [feed(data) for other, at, data in streams() if (other, at) == (name, number)]
        for events in bodies:
            for answer in answers:
                count += 1
                got = seen(events, answer["choice"])
                for field, value in got.items():
                    known = (name, field) in READ_ELSEWHERE
                    if (
                        value != (answer[field] or ("" if field in ("content", "reasoning") else answer[field]))
                        and not known
                    ):
                        differences.append((name, number, field, answer[field], value))
    assert differences == []
    assert count >= 600


def test_recorded_streams_are_the_same_wherever_they_are_cut() -> None:
    chance = random.Random(7)
    for _, _, body in streams()[::8]:
        whole = feed(body)
        for _ in range(3):
            places = [chance.randrange(len(body)) for _ in range(chance.randrange(1, 40))]
            assert feed(*cut(body, places)) == whole


def test_recorded_streams_that_break_off_are_never_whole() -> None:
    """Cut anywhere before the first finish reason, no stream is a success and no call is to be executed."""
    chance = random.Random(7)
    for _, _, body in streams()[::4]:
        sign = re.search(rb'"finish_reason": ?"|\[DONE\]', body)
        assert sign is not None
        events = feed(body[: chance.randrange(sign.start())])
        assert isinstance(events[-1], TurnFailed)
        assert all(status == "incomplete" for *_, status in told_calls(events))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_recorded_streams_are_the_same_at_200_cuts_and_byte_by_byte() -> None:
    """Every chat answer of the corpus of which the bytes were kept."""
    chance = random.Random(7)
    bodies = recorded(CORPUS)
    assert len(bodies) >= 600
    for body in bodies:
        whole = feed(body)
        assert msgspec.json.encode(whole)
        assert feed(*(body[at : at + 1] for at in range(len(body)))) == whole
        for _ in range(200):
            assert feed(*cut(body, [chance.randrange(len(body) + 1) for _ in range(8)])) == whole
