"""Whatever bytes come: nothing is raised, one event ends it, what DESIGN asks of assembly holds, memory is bounded.

Damaged recordings and bytes of no kind go through assembly and both renderings. `FUZZ_EXAMPLES` sets how many; the
default takes some seconds. The slow test takes a thousand times as many, from the whole corpus where it is there.
"""

import os
import random
from pathlib import Path

import msgspec
import pytest
from assembly_streams import TOOLS, cut, feed, told_calls
from chat_to_responses import check_stream, rendered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_mutations import MUTATIONS, RECORDINGS, SMALL, Mutation, recorded
from test_assembly_properties import check_calls, check_lifecycle

from antiphon.events import ModelEvent, TurnFailed
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
