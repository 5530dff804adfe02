"""A chunk is read without being decoded only where decoding it would have given the same."""

import random
from typing import Any

import msgspec
import pytest
from assembly_streams import STOP, call, calls, chunk, sse, stream, text, told_calls
from hypothesis import given
from hypothesis import strategies as st
from stream_mutations import flip_bits, lose_a_piece

from antiphon.assembly import body as bodies
from antiphon.assembly.chat import ChatAssembler
from antiphon.assembly.pattern import ChunkPattern, pattern_of

decode = msgspec.json.decode
encode = msgspec.json.encode
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", '"}', "\u2028", '"content":']
)
PADDED = {**chunk({"content": "@"}), "obfuscation": "aB3x"}


def replaced(value: Any, text: str) -> Any:
    """The chunk with another text in the place of its own, and no padding."""
    changed = decode(encode(value))
    changed["choices"][0]["delta"]["content"] = text
    changed.pop("obfuscation", None)
    return changed


@given(texts, texts, texts)
def test_a_chunk_that_differs_only_in_its_text_and_padding_is_of_the_pattern(
    one: str, other: str, padding: str
) -> None:
    learned = encode({**PADDED, "choices": [{"index": 0, "delta": {"content": one}}]})
    pattern = pattern_of(learned, "content", one)
    if pattern is None:
        assert not one or b'"content' in encode(one), "the field seems to stand there twice"
        return
    like = {**PADDED, "choices": [{"index": 0, "delta": {"content": other}}], "obfuscation": padding}
    assert pattern.text_in(encode(like)) == (other or None)


@given(texts, st.booleans(), st.randoms(use_true_random=False), st.sampled_from([flip_bits, lose_a_piece]))
def test_what_is_taken_for_the_pattern_is_the_learned_chunk_with_this_text(
    other: str, padded: bool, chance: random.Random, damage: Any
) -> None:
    learned = PADDED if padded else chunk({"content": "@"})
    pattern = pattern_of(encode(learned), "content", "@")
    assert pattern is not None
    like = {**learned, "choices": [{**learned["choices"][0], "delta": {"content": other}}]}
    data = damage(encode(like), chance)
    if (found := pattern.text_in(data)) is not None:
        seen = decode(data)
        seen.pop("obfuscation", None)
        assert seen == replaced(learned, found)


@pytest.mark.parametrize(
    "data",
    [
        b'{"content":"a","choices":[{"delta":{"content":"a"}}]}',
        b'{"choices":[{"delta":{"cont\\u0065nt":"a","content":"a"}}]}',
        b'{"choices":[{"delta":{"content":"a"}}],"id":"\\n"}',
        b'{"choices":[{"delta":{"content":7}}]}',
        b'{"choices":[{"delta":{"content":"b"}}]}',
        b"{}",
    ],
)
def test_what_cannot_be_told_for_certain_is_no_pattern(data: bytes) -> None:
    assert pattern_of(data, "content", "a") is None


def test_a_pattern_does_not_fit_what_is_too_short_for_it() -> None:
    pattern = ChunkPattern(b'{"a":', b'},"p":', b"}")
    assert pattern.text_in(b'{"a":"x"},"p":"y"}') == "x"
    assert [pattern.text_in(data) for data in (b'{"a":}', b'{"a":"x"}', b'{"a":"x"},"p":}', b"")] == [None] * 4


def test_patterns_that_no_other_chunk_follows_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = []
    monkeypatch.setattr(bodies, "pattern_of", lambda *seen: learned.append(seen))
    stream(*({**chunk({"content": "a"}), "created": number} for number in range(100)), STOP)
    assert len(learned) == 8


def test_a_pattern_ends_with_the_block_it_belongs_to() -> None:
    a = [chunk({"content": "a"})] * 3
    b = [calls(call(0, "x", "get_time", ""))] + [calls(call(0, args=piece)) for piece in ('{"a"', ":", "1}")]
    events = stream(*a, *b, *a, chunk({"refusal": "no"}), *a, STOP)
    assert text(events) == "a" * 9
    assert told_calls(events) == [("get_time", '{"a":1}', "completed")]


def test_nothing_of_a_pattern_is_taken_after_the_finish_reason_without_a_word() -> None:
    late = [chunk({"content": "a"})] * 4
    events = stream(*late, chunk(finish="stop"), *late)
    assert {event.quirk for event in events if hasattr(event, "quirk")} == {"Q44"}
    assert text(events) == "a" * 8


def test_a_chunk_that_was_read_by_its_pattern_counts_wherever_the_body_is_cut() -> None:
    data = sse(*[chunk({"content": "a"})] * 6, STOP)
    for size in range(1, len(data)):
        assembler = ChatAssembler()
        events = [event for at in range(0, len(data), size) for event in assembler.feed(data[at : at + size])]
        assert text(events) == "a" * 6
