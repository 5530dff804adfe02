"""Whatever bytes come: nothing is raised, one event ends it, what DESIGN asks of assembly holds, memory is bounded.

Damaged recordings and bytes of no kind go through assembly and both renderings. `FUZZ_EXAMPLES` sets how many; the
default takes some seconds. The slow test takes a thousand times as many, from the whole corpus where it is there.
"""

import itertools
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from assembly_streams import TOOLS, chunk, cut, feed, sse, told_calls
from chat_to_responses import check_stream, rendered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_mutations import MUTATIONS, RECORDINGS, SMALL, Mutation, recorded
from test_assembly_properties import check_calls, check_lifecycle

from antiphon.assembly.chat import ChatAssembler
from antiphon.events import ModelEvent, TurnFailed, TurnFinished
from antiphon.rendering.chat import chat_choices

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"

fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
chances = st.randoms(use_true_random=False)
damages = st.lists(st.tuples(st.sampled_from(MUTATIONS), chances), max_size=6)


def check(data: bytes, **options: object) -> list[ModelEvent]:
    """Everything that must hold for an answer of these bytes."""
    events = feed(data, **options)
    check_lifecycle(events)
    check_calls(events)
    assert msgspec.json.decode(msgspec.json.encode(events), type=list[ModelEvent]) == events
    check_stream(rendered(events))
    msgspec.json.encode(chat_choices(events))
    if isinstance(events[-1], TurnFailed):
        assert all(status == "incomplete" for *_, status in told_calls(events))
    return events


@fuzz
@given(st.sampled_from([*SMALL, *recorded(RECORDINGS)]), damages, st.booleans())
def test_damaged_recordings_keep_every_rule(
    body: bytes, damaged: list[tuple[Mutation, random.Random]], offered: bool
) -> None:
    for mutate, chance in damaged:
        body = mutate(body, chance)
    check(body, offered=TOOLS if offered else None)


@fuzz
@given(st.sampled_from(SMALL), damages, chances)
def test_damaged_streams_are_the_same_however_they_are_cut(
    body: bytes, damaged: list[tuple[Mutation, random.Random]], chance: random.Random
) -> None:
    for mutate, mutation_chance in damaged:
        body = mutate(body, mutation_chance)
    places = [chance.randrange(len(body) + 1) for _ in range(chance.randrange(1, 20))]
    assert feed(*cut(body, places)) == feed(body)


@fuzz
@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"{", b"}", b"[", b'"', b":"])).map(b"".join)
)
def test_bytes_of_no_kind_keep_every_rule(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_numbers_that_no_journal_can_hold_are_null(number: bytes) -> None:
    events = check(sse(chunk({"content": "a"}, "stop", timings=[7])).replace(b"7", number))
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].provider_data["timings"] == [None]


# --- memory ----------------------------------------------------------------------------------

MAX_BODY_BYTES = 1 << 18


def event(delta: dict[str, object], **more: object) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta}], **more}, done=False)


def argument(index: int, **more: object) -> bytes:
    function = {"name": "f", "arguments": "{}"} if more else {"arguments": "a"}
    return event({"tool_calls": [{"index": index, "function": function, **more}]})


# What never ends -> its pieces, and the most that it may take: bytes for each byte of the body.
ENDLESS: dict[str, tuple[Callable[[], Iterator[bytes]], float]] = {
    "a line": (lambda: itertools.chain([b"data: {"], itertools.repeat(b"x" * 4096)), 2.5),
    "an event": (lambda: itertools.repeat(b"data: x\n" * 100), 8),
    "a JSON body": (lambda: itertools.chain([b'{"a":"'], itertools.repeat(b"x" * 4096)), 2.5),
    "comments": (lambda: itertools.repeat(b": ping\n\n" * 100), 0.25),
    "text": (lambda: itertools.repeat(event({"content": "words"})), 0.25),
    "blocks": (lambda: itertools.cycle([event({"content": "a"}), event({"refusal": "b"})]), 0.25),
    "arguments": (lambda: itertools.chain([argument(0, id="a")], itertools.repeat(argument(0))), 2),
    "calls": (lambda: (argument(n, id=f"c{n}") for n in itertools.count()), 8),
    "unknown keys": (lambda: (event({f"d{n}": n}, **{f"k{n}": n}) for n in itertools.count()), 1),
    "choices": (lambda: (sse({"choices": [{"index": n, "delta": {}}]}, done=False) for n in itertools.count()), 8),
    "citations": (lambda: itertools.repeat(event({"annotations": [{"url": "u"}]})), 8),
    "opaque parts": (
        lambda: (event({"reasoning_details": [{"index": n, "data": "d"}]}) for n in itertools.count()),
        16,
    ),
    "empty objects": (lambda: itertools.repeat(sse({"k": [{}] * 5000, "choices": []}, done=False)), 32),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_body_that_never_ends_is_ended_and_takes_no_more_memory_than_is_said(what: str) -> None:
    pieces, most = ENDLESS[what]
    assembler = ChatAssembler(max_body_bytes=MAX_BODY_BYTES)
    fed = 0
    tracemalloc.start()
    try:
        for piece in pieces():
            fed += len(piece)
            events = assembler.feed(piece)
            if events and isinstance(events[-1], TurnFailed):
                break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert events[-1].error.code == "limit_exceeded"
    assert fed < MAX_BODY_BYTES + 20_000
    assert peak < most * MAX_BODY_BYTES


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_times_more_damaged_recordings_keep_every_rule() -> None:
    """Each is known by its seed: the message shows it."""
    bodies = [*SMALL, *recorded(RECORDINGS), *(recorded(CORPUS) if CORPUS.is_dir() else [])]
    for seed in range(1000 * EXAMPLES):
        chance = random.Random(seed)
        body = chance.choice(bodies)
        for _ in range(chance.randrange(1, 7)):
            body = chance.choice(MUTATIONS)(body, chance)
        try:
            check(body, offered=TOOLS)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
