"""Segments give back what was packed, however it was cut, and say what is wrong when they cannot."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_contract import STREAM, finished, started

from antiphon.errors import SchemaOutOfDate, StoreError
from antiphon.events import RunEvent, TextDelta, ToolCallFinished
from antiphon.store import segments
from antiphon.store.segments import zstd

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
events = st.lists(
    st.one_of(
        st.sampled_from([started("r"), finished(), *STREAM]),
        st.builds(TextDelta, block=text, text=text),
        st.builds(ToolCallFinished, block=text, arguments=text, provider_data=st.dictionaries(text, st.integers())),
    ),
    max_size=20,
)


@given(events)
def test_unpacking_what_was_packed_gives_it_back(written: list[RunEvent]) -> None:
    assert segments.unpack(segments.pack(written)) == written


@given(st.lists(events, max_size=4), events)
def test_a_merged_segment_holds_all_events_in_order(earlier: list[list[RunEvent]], last: list[RunEvent]) -> None:
    merged = segments.pack(last, after=[segments.pack(batch) for batch in earlier])
    assert segments.unpack(merged) == [event for batch in [*earlier, last] for event in batch]


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_another_journal(place: int, flip: int) -> None:
    packed = bytearray(segments.pack(STREAM))
    packed[place % len(packed)] ^= flip
    with contextlib.suppress(StoreError):
        assert segments.unpack(bytes(packed)) == STREAM  # some bits of the frame's header say nothing


@pytest.mark.parametrize("damage", [lambda blob: blob[:-1], lambda blob: blob[:20] + b"?" + blob[21:], lambda _: b"no"])
def test_a_damaged_segment_names_its_run(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StoreError, match="'r' is damaged"):
        segments.unpack(damage(segments.pack(STREAM)), run="r")
    with pytest.raises(StoreError, match="'r' is damaged"):
        segments.pack(STREAM, after=[damage(segments.pack(STREAM))], run="r")


def test_an_event_of_a_newer_version_is_named() -> None:
    future = zstd.compress(b'{"type":"text.delta","block":"0.0","text":"\xe2\x80\xa8"}\n{"type":"dream.started"}\n')
    with pytest.raises(SchemaOutOfDate, match=r"'dream\.started'.*Update Antiphon"):
        segments.unpack(future, run="r")


@pytest.mark.parametrize("lines", [b'{"type":"text.delta"}', b'{"type":"text.del', b"{}", b"7"])
def test_lines_that_are_no_events_are_damage(lines: bytes) -> None:
    with pytest.raises(StoreError, match="'r' is damaged") as caught:
        segments.unpack(zstd.compress(lines), run="r")
    assert not isinstance(caught.value, SchemaOutOfDate)
