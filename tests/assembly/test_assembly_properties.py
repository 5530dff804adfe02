"""What holds for every stream, however it is made and however it is cut."""

import msgspec
from assembly_streams import chunk, cut, feed, sse
from hypothesis import given
from hypothesis import strategies as st

from antiphon.assembly.calls import ToolCalls
from antiphon.assembly.chat import ChatAssembler, assemble_chunks
from antiphon.assembly.choice import Choice
from antiphon.dialects import OPENAI, AnswerRules, Dialect
from antiphon.events import (
    Diagnostic,
    ItemReceived,
    ModelEvent,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
)

OFFERED = {"f": {"type": "object", "properties": {}}, "foo": {"properties": {"a": {}}}, "bar": {}}

nothing = st.sampled_from([None, ""])
pieces = st.sampled_from(["", "a", " <think>", "</think>", "ü🙂", "\u2028"])
arguments = st.sampled_from(["", "{", "}", '{"a":', "1}", "{}", '{"a":1}', "null", None, {"a": 1}, 7])
entries = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 1, 2, None]),
        "id": st.sampled_from(["", "x", "y", "z", None]),
        "type": st.sampled_from(["function", "", None]),
        "function": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(["f", "oo", "foo", "bar", "", None]), "arguments": arguments}
        ),
        "extra": st.sampled_from([None, {"signature": "s"}]),
    },
)
details = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.encrypted"])},
    optional={"index": st.sampled_from([0, 1]), "text": pieces, "signature": st.just("s"), "data": st.just("d")},
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["assistant", "", None]),
        "content": st.one_of(nothing, pieces, pieces, st.just([{"type": "text", "text": "p"}])),
        "reasoning_content": st.one_of(nothing, pieces),
        "reasoning": st.one_of(nothing, pieces),
        "refusal": st.one_of(nothing, pieces),
        "tool_calls": st.one_of(st.none(), st.lists(entries, max_size=3), st.lists(entries, min_size=1, max_size=1)),
        "reasoning_details": st.lists(details, max_size=2),
        "annotations": st.lists(st.just({"type": "url_citation", "url": "u"}), max_size=1),
        "channel": st.sampled_from([None, "c"]),
        "content[].thinking": st.sampled_from(["c"]),
    },
)
choices = st.fixed_dictionaries(
    {"delta": deltas},
    optional={
        "index": st.sampled_from([0, 0, 0, 1, None]),
        "finish_reason": st.sampled_from([None, None, None, "", "stop", "length", "tool_calls", "error"]),
        "logprobs": st.sampled_from([None, {"content": [{"token": "a"}]}]),
        "native": st.sampled_from([None, 1]),
    },
)
chunks = st.fixed_dictionaries(
    {"choices": st.one_of(st.lists(choices, min_size=1, max_size=1), st.lists(choices, max_size=2))},
    optional={
        "id": st.sampled_from(["c1", ""]),
        "usage": st.sampled_from([None, {"prompt_tokens": 1}]),
        "service_tier": st.sampled_from([None, "a", "b"]),
        "other": st.sampled_from([None, 1, 2]),
    },
)
plain = st.sampled_from(
    [chunk({"content": "a"}), chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1"}}]})]
)
streams = st.tuples(st.lists(st.one_of(chunks, plain), max_size=12), st.booleans())
garbage = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [b"data: ", b"\n\n", b"event: error\n", b"{", b"}", b'"choices":', b"[", b"]", b"[DONE]", b": ping\n", b"<"]
        ),
        chunks.map(msgspec.json.encode),
    ),
    max_size=12,
).map(b"".join)


def check_lifecycle(events: list[ModelEvent]) -> None:
    """Each block is started once, before its deltas, and finished once, after them; one event ends the turn."""
    open_blocks: set[str] = set()
    seen: set[str] = set()
    for place, event in enumerate(events):
        name = str(event.__struct_config__.tag)
        if isinstance(event, TurnFinished | TurnFailed):
            assert place == len(events) - 1
            assert not open_blocks
        elif isinstance(event, Diagnostic):
            assert event.seen is not None
        elif isinstance(event, ItemReceived):
            assert event.block not in seen
            seen.add(event.block)
        elif name.endswith(".started"):
            assert event.block not in seen
            open_blocks.add(event.block)
            seen.add(event.block)
        elif name.endswith(".finished"):
            open_blocks.remove(event.block)
        else:
            assert event.block in open_blocks
    assert isinstance(events[-1], TurnFinished | TurnFailed)


def check_calls(events: list[ModelEvent]) -> None:
    """No call without a name, no two with one id, and none whole that is not JSON or whose stream failed."""
    started = {event.block: event for event in events if isinstance(event, ToolCallStarted)}
    assert all(event.name for event in started.values())
    assert len({event.call_id for event in started.values()}) == len(started)
    for event in events:
        if isinstance(event, ToolCallFinished) and event.status == "completed":
            assert not isinstance(events[-1], TurnFailed)
            msgspec.json.decode(event.arguments)
            sent = "".join(e.arguments for e in events if isinstance(e, ToolCallDelta) and e.block == event.block)
            assert sent or event.arguments == "{}"


ODD = AnswerRules(think_tags=("think",), tool_markup=("hermes",), mends_argument_tail=True)
dialects = st.sampled_from([OPENAI, Dialect(answers=ODD)])


@given(streams, dialects, st.lists(st.integers(0, 10_000), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_were_cut(
    made: tuple[list[object], bool], dialect: Dialect, places: list[int]
) -> None:
    data = sse(*made[0], done=made[1])
    whole = feed(data, offered=OFFERED, dialect=dialect)
    check_lifecycle(whole)
    assert feed(*cut(data, places), offered=OFFERED, dialect=dialect) == whole
    assert feed(*(bytes([byte]) for byte in data), offered=OFFERED, dialect=dialect) == whole


@given(streams)
def test_every_stream_gives_well_formed_events_and_calls(made: tuple[list[object], bool]) -> None:
    events = feed(sse(*made[0], done=made[1]), offered=OFFERED)
    check_lifecycle(events)
    check_calls(events)
    assert msgspec.json.decode(msgspec.json.encode(events), type=list[ModelEvent]) == events


@given(streams)
def test_the_short_ways_change_nothing(made: tuple[list[object], bool]) -> None:
    data = sse(*made[0], done=made[1])
    quick = feed(data, offered=OFFERED)
    ways = [(ChatAssembler, "_take_more"), (Choice, "take_more"), (ToolCalls, "take_more")]
    kept = [getattr(*way) for way in ways]
    try:
        for owner, name in ways:
            setattr(owner, name, lambda *_: False)
        assert feed(data, offered=OFFERED) == quick
    finally:
        for (owner, name), method in zip(ways, kept, strict=True):
            setattr(owner, name, method)


@given(streams)
def test_a_stream_without_a_terminal_signal_is_never_a_success(made: tuple[list[dict[str, object]], bool]) -> None:
    bare = [{**one, "choices": [{**c, "finish_reason": None} for c in one["choices"]]} for one in made[0]]  # type: ignore[attr-defined]
    assert isinstance(feed(sse(*bare, done=False))[-1], TurnFailed)


@given(streams)
def test_logged_chunks_give_the_events_of_their_stream(made: tuple[list[dict[str, object]], bool]) -> None:
    assert assemble_chunks(made[0], offered=OFFERED) == feed(sse(*made[0], done=False), offered=OFFERED) or not made[0]  # type: ignore[arg-type]


@given(garbage, st.lists(st.integers(0, 10_000), max_size=8))
def test_no_bytes_raise_anything_and_all_end_the_turn(data: bytes, places: list[int]) -> None:
    whole = feed(data)
    check_lifecycle(whole)
    check_calls(whole)
    assert feed(*cut(data, places)) == whole
    assert msgspec.json.encode(whole)


KEYS = """choices delta message index content tool_calls function arguments name error usage type reasoning_details
text annotations finish_reason detail base_resp code logprobs"""


def nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)
)
json_values = st.recursive(scalars, nested, max_leaves=12)


@given(st.lists(json_values, max_size=4), st.booleans())
def test_no_json_raises_anything(values: list[object], done: bool) -> None:
    events = feed(sse(*values, done=done))
    check_lifecycle(events)
    assert msgspec.json.encode(events)
    assert msgspec.json.encode(assemble_chunks(values))  # type: ignore[arg-type]
